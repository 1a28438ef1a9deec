"""decide: which model answers, and with what probability."""
