"""What to ask the database: statements built once from the models, and their parameters."""
