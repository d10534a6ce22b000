"""One module for each aggregate: statements, their parameters and the row mappers."""
