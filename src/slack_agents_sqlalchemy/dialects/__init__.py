"""What differs between databases, each in its own module; the only place that compares names."""

from functools import cache

from slack_agents_sqlalchemy.dialects.base import (
    DialectAdapter,
    TemporaryDatabase,
    migration_lock_error,
)
from slack_agents_sqlalchemy.dialects.columns import Timestamp
from slack_agents_sqlalchemy.dialects.driver_calls import DriverCalls
from slack_agents_sqlalchemy.dialects.error_kinds import ErrorKind, driver_error
from slack_agents_sqlalchemy.dialects.insert_select import InsertSelect
from slack_agents_sqlalchemy.dialects.transactions import pause
from slack_agents_sqlalchemy.dialects.upserts import Upsert

__all__ = [
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
    """Return what is known about the SQLAlchemy dialect ``name``; generic where nothing is."""
    # Imported when asked for: a health check pays for the one dialect it uses.
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
