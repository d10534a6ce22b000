"""Column types that keep values exactly on every database."""
