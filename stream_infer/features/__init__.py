"""features: what is known about a key, kept up to date in log order."""
