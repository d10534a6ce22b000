"""What to ask the database: statements built once from the tables, and their parameters."""
