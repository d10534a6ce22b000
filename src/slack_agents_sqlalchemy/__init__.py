"""A storage provider for python-slack-agents on any SQLAlchemy database."""

from slack_agents_sqlalchemy._version import __version__
from slack_agents_sqlalchemy.errors import (
    AccessRefusedError,
    ConfigurationError,
    DatabaseConflictError,
    DatabaseError,
    DatabaseFullError,
    DatabaseTimeoutError,
    DatabaseUnavailableError,
    DriverMissingError,
    InvalidTypeError,
    InvalidValueError,
    LockTimeoutError,
    MigrationLockedError,
    NotFoundError,
    NotInitializedError,
    SchemaError,
    SchemaOutdatedError,
    SchemaTooNewError,
    StorageError,
    UnsupportedDatabaseError,
)
from slack_agents_sqlalchemy.provider import Provider

__all__ = [
    "AccessRefusedError",
    "ConfigurationError",
    "DatabaseConflictError",
    "DatabaseError",
    "DatabaseFullError",
    "DatabaseTimeoutError",
    "DatabaseUnavailableError",
    "DriverMissingError",
    "InvalidTypeError",
    "InvalidValueError",
    "LockTimeoutError",
    "MigrationLockedError",
    "NotFoundError",
    "NotInitializedError",
    "Provider",
    "SchemaError",
    "SchemaOutdatedError",
    "SchemaTooNewError",
    "StorageError",
    "UnsupportedDatabaseError",
    "__version__",
]
