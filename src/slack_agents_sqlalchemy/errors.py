"""What can go wrong, by name: one root, and each error is also the builtin a caller would catch."""


class StorageError(Exception):
    """Root of every error that this package raises on purpose."""


class ConfigurationError(StorageError, ValueError):
    """The URL or an option of the provider is missing, misspelt or unusable."""


class DriverMissingError(ConfigurationError, ImportError):
    """The database driver that the URL asks for is not installed."""


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
    """The database answers, and refuses this user, the password, or a right that is needed."""


class DatabaseTimeoutError(DatabaseError, TimeoutError):
    """The database did not answer within the time limit."""


class DatabaseFullError(DatabaseError, OSError):
    """The database has no room left. The last try of the call stored nothing."""


class DatabaseConflictError(DatabaseError):
    """Another transaction won, time and again: a deadlock or a serialization failure."""


class LockTimeoutError(DatabaseConflictError, DatabaseTimeoutError):
    """Another transaction held a row for longer, time and again, than the server lets one wait."""


class DuplicateKeyError(DatabaseError):
    """A row with this key is there already; the provider meets it with another id.

    Attributes:
        was_stored: It is the very row: a lost connection hid that it was stored.
    """

    was_stored = False


class SchemaError(StorageError, RuntimeError):
    """The tables in the database are not those that this version of the package works with."""


class SchemaOutdatedError(SchemaError):
    """The schema is missing or older than the package: it must be upgraded first."""


class SchemaTooNewError(SchemaError):
    """The schema is newer than the package: the package must be updated first."""


class UnsupportedDatabaseError(SchemaError):
    """The database is too old, or cannot hold what agents write; the message says what it lacks."""


class MigrationLockedError(SchemaError, TimeoutError):
    """Another process held the migration lock for longer than the time limit."""
