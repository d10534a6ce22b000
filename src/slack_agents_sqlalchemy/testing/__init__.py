"""The contract suite on any database: its pytest plug-in, and the run for ``verify-backend``."""
