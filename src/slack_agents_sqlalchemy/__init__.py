"""A storage provider for python-slack-agents on any SQLAlchemy database."""

from slack_agents_sqlalchemy._version import __version__
from slack_agents_sqlalchemy.errors import (
    AccessRefusedError,
    ConfigurationError,
    DatabaseError,
    DatabaseTimeoutError,
    DatabaseUnavailableError,
    DriverMissingError,
    InvalidTypeError,
    InvalidValueError,
    MigrationLockedError,
    NotFoundError,
    NotInitializedError,
    SchemaError,
    SchemaOutdatedError,
    SchemaTooNewError,
    StorageError,
)
from slack_agents_sqlalchemy.provider import Provider

__all__ = [
    "AccessRefusedError",
    "ConfigurationError",
    "DatabaseError",
    "DatabaseTimeoutError",
    "DatabaseUnavailableError",
    "DriverMissingError",
    "InvalidTypeError",
    "InvalidValueError",
    "MigrationLockedError",
    "NotFoundError",
    "NotInitializedError",
    "Provider",
    "SchemaError",
    "SchemaOutdatedError",
    "SchemaTooNewError",
    "StorageError",
    "__version__",
]
