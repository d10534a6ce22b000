"""What an operator does to a database: each module has functions of a `Database`."""
