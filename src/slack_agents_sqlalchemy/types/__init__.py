"""Column types that store values exactly on every database."""
