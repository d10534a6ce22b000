"""Dialect adapters: what differs between databases. Only this module compares dialect names.

To add a dialect, write a subclass of :class:`DialectAdapter` in ``dialects/<name>.py``, add a case
to :func:`adapter_for`, and add the database to the list in ``tests/conftest.py``.
"""

from functools import cache

from slack_agents_sqlalchemy.dialects.base import (
    DialectAdapter,
    TemporaryDatabase,
    migration_lock_error,
)
from slack_agents_sqlalchemy.dialects.driver_calls import (
    AsyncDriverCalls,
    DriverCalls,
    TransactionCalls,
)
from slack_agents_sqlalchemy.dialects.error_kinds import ErrorKind, driver_error
from slack_agents_sqlalchemy.dialects.insert_select import InsertSelect
from slack_agents_sqlalchemy.dialects.timestamps import Timestamp
from slack_agents_sqlalchemy.dialects.transactions import pause
from slack_agents_sqlalchemy.dialects.upserts import Upsert

__all__ = [
    "AsyncDriverCalls",
    "DialectAdapter",
    "DriverCalls",
    "ErrorKind",
    "InsertSelect",
    "TemporaryDatabase",
    "Timestamp",
    "TransactionCalls",
    "Upsert",
    "adapter_for",
    "driver_error",
    "migration_lock_error",
    "pause",
]


@cache
def adapter_for(name: str) -> DialectAdapter:
    """Return the adapter for the SQLAlchemy dialect ``name``: the portable fallback if unknown."""
    # Imported on demand: a new process imports the one dialect that it uses.
    match name:
        case "postgresql" | "postgres":
            from slack_agents_sqlalchemy.dialects.postgresql import PostgreSQL

            return PostgreSQL()
        case "mysql" | "mariadb":
            from slack_agents_sqlalchemy.dialects.mysql import MySQL

            return MySQL()
        case "sqlite":
            from slack_agents_sqlalchemy.dialects.sqlite import SQLite

            return SQLite()
        case _:
            return DialectAdapter()
