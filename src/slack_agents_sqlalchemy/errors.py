"""The errors: one root class; each one is also the builtin that a caller would catch."""


class StorageError(Exception):
    """Root of the errors of this package."""


class ConfigurationError(StorageError, ValueError):
    """The URL or an option of the provider is missing, misspelt or invalid."""


class DriverMissingError(ConfigurationError, ImportError):
    """The database driver of the URL is not installed, or cannot be loaded."""


class NotInitializedError(StorageError, RuntimeError):
    """A call was made before ``initialize()`` or after ``close()``."""


class InvalidValueError(StorageError, ValueError):
    """An argument holds a value that cannot be stored exactly. Nothing was stored."""


class InvalidTypeError(StorageError, TypeError):
    """An argument is of the wrong type. Nothing was stored."""


class NotFoundError(StorageError, LookupError):
    """The conversation, message or block that a call names does not exist. Nothing was stored."""


class DatabaseError(StorageError):
    """The database refused a statement; the driver's own error is the cause."""


class DatabaseUnavailableError(DatabaseError, ConnectionError):
    """The database does not exist or cannot be reached, or the connection to it was lost."""


class AccessRefusedError(DatabaseError, PermissionError):
    """The database refuses the user or the password, or the user lacks a right."""


class DatabaseTimeoutError(DatabaseError, TimeoutError):
    """The database did not answer within the time limit."""


class DatabaseFullError(DatabaseError, OSError):
    """The database has no disk space left. The last attempt of the call stored nothing."""


class DatabaseConflictError(DatabaseError):
    """The transaction met a deadlock or a serialization failure at each attempt."""


class LockTimeoutError(DatabaseConflictError, DatabaseTimeoutError):
    """Another transaction held a lock for longer than the lock timeout, at each attempt."""


class DuplicateKeyError(DatabaseError):
    """A row with this key exists; the provider retries with another id.

    Attributes:
        was_stored: The row is that of this call: its connection was lost after the row was stored.
    """

    was_stored = False


class SchemaError(StorageError, RuntimeError):
    """The tables in the database do not fit this version of the package."""


class SchemaOutdatedError(SchemaError):
    """The schema is missing or older than the package: upgrade the schema."""


class SchemaTooNewError(SchemaError):
    """The schema is newer than the package: update the package."""


class UnsupportedDatabaseError(SchemaError):
    """The database is too old, or cannot store what agents write; the message gives the reason."""


class MigrationLockedError(SchemaError, TimeoutError):
    """Another process held the migration lock for longer than the time limit."""
