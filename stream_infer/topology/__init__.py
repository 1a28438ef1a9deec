"""topology: from a YAML file to a checked plan."""
