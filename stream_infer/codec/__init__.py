"""codec: bytes to columns and back."""
