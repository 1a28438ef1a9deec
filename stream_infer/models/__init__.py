"""models: what a model is, and how one is loaded safely."""
