"""The execution of statements on one database."""
