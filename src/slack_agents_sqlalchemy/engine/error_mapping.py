"""The mapping of errors: a driver's error by its SQLSTATE or number, never by its text."""

from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    ProgrammingError,
    SQLAlchemyError,
    StatementError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from slack_agents_sqlalchemy.dialects import DialectAdapter, ErrorKind, driver_error
from slack_agents_sqlalchemy.errors import (
    AccessRefusedError,
    ConfigurationError,
    DatabaseConflictError,
    DatabaseError,
    DatabaseFullError,
    DatabaseTimeoutError,
    DatabaseUnavailableError,
    DuplicateKeyError,
    LockTimeoutError,
    StorageError,
    UnsupportedDatabaseError,
)

_MEANINGS: dict[ErrorKind, tuple[type[DatabaseError], str]] = {
    ErrorKind.UNAVAILABLE: (DatabaseUnavailableError, "cannot reach {where}: {what}. {if_away}"),
    ErrorKind.ACCESS_REFUSED: (AccessRefusedError, "{where} refuses access: {what}. {if_refused}"),
    ErrorKind.NO_DATABASE: (
        DatabaseUnavailableError,
        "{where} does not exist: {what}. Create it (CREATE DATABASE), or correct the URL",
    ),
    ErrorKind.TIMED_OUT: (DatabaseTimeoutError, "{where} did not answer in time: {what}"),
    ErrorKind.LOCKED: (
        LockTimeoutError,
        "another transaction on {where} holds a lock: {what}",
    ),
    ErrorKind.CONFLICT: (
        DatabaseConflictError,
        "a conflict with another transaction on {where}: {what}",
    ),
    ErrorKind.FULL: (
        DatabaseFullError,
        "{where} has no disk space left: {what}; free some, and the next call works",
    ),
}


class ErrorMapping:
    """The mapping of the errors of one database.

    Args:
        adapter: The dialect's, which knows its codes.
        where: The redacted URL of the database.
    """

    def __init__(self, adapter: DialectAdapter, where: str) -> None:
        self._adapter = adapter
        self.where = where

    def map(self, error: Exception, *, connecting: bool = False) -> Exception:
        """Return an error as one of this package's; one that is not the database's as it is.

        Args:
            error: What SQLAlchemy or a driver raised; drivers raise past SQLAlchemy in
                ``connect()``.
            connecting: Whether it was raised before there was a connection.
        """
        if isinstance(error, StorageError):
            return error.with_traceback(None)  # it shows the frames of a pool and of a greenlet
        mapped = self._map(error, connecting=connecting)
        return error if mapped is None else self.caused_by(error, mapped)

    def caused_by(self, error: Exception, mapped: StorageError) -> StorageError:
        """Return the mapped error with its cause: the driver's own error, where it may be shown."""
        mapped.__cause__ = presentable(error, self._adapter)
        return mapped

    def _map(self, error: Exception, *, connecting: bool) -> StorageError | None:
        adapter, where = self._adapter, self.where
        if isinstance(error, StatementError) and isinstance(error.orig, StorageError):
            return error.orig  # a column type refused a value before it was sent
        cause = driver_error(error)
        what = _name(cause, adapter) if adapter.error_shows_values(cause) else _first_line(cause)
        if connecting and (refusal := _refusal_to_connect(error, adapter, where)):
            return refusal
        kind = _kind(error, cause, adapter, connecting=connecting)
        if kind in _MEANINGS:
            error_type, text = _MEANINGS[kind]
            advice = {
                "if_away": adapter.unreachable_hint,
                "if_refused": adapter.access_refused_hint,
            }
            return error_type(text.format(where=where, what=what, **advice))
        if isinstance(error, IntegrityError) or adapter.is_duplicate_key(cause):
            return DuplicateKeyError(f"{where} refused a row: {what}")
        if isinstance(error, SQLAlchemyError) or adapter.error_code(cause) is not None:
            return DatabaseError(f"{where} refused a statement: {what}{adapter.hint(cause)}")
        return None


def _refusal_to_connect(
    error: Exception, adapter: DialectAdapter, where: str
) -> ConfigurationError | UnsupportedDatabaseError | None:
    """Return what an error that is not the database's means before there is a connection."""
    if isinstance(error, AssertionError):  # of SQLAlchemy's dialect, which knows no such version
        return UnsupportedDatabaseError(
            f"{where} is not a server that SQLAlchemy's dialect of that name works with ({error}): "
            "begin the URL with the name of the server's own dialect, as cockroachdb"
        )
    return unusable(where, error) if _is_of_arguments(error, adapter) else None


def unusable(where: str, error: Exception) -> ConfigurationError:
    """Return the error of an argument that no driver can connect with."""
    if isinstance(error, TypeError):
        return ConfigurationError(
            f"the driver of {where} refuses an argument, which is in the URL, in connect_args or "
            f"in engine_options: {error}"
        )
    # Without its text, which may be about the password and repeat a part of it.
    return ConfigurationError(
        f"no connection can be made to {where}, as it is written ({type(error).__name__}): look at "
        "its host, port, user, password and database, at what follows the ?, and at connect_args"
    )


def presentable(error: BaseException, adapter: DialectAdapter) -> BaseException | None:
    """Return the driver's own error, to be the only cause of another.

    Returns:
        The error without SQLAlchemy's errors around it, or None where it repeats a row or a
        password. Its traceback shows no frame, as they are the driver's and SQLAlchemy's.
    """
    cause = _innermost(error)
    of_data = isinstance(error, IntegrityError | DataError) or adapter.error_shows_values(cause)
    if of_data or isinstance(cause, StorageError) or _is_of_arguments(error, adapter):
        return None
    cause.__cause__ = None  # what it says is in the message; this hides its context too
    return cause.with_traceback(None)


def _innermost(error: BaseException) -> BaseException:
    """Return the error that SQLAlchemy's errors are about."""
    while type(error).__module__.startswith("sqlalchemy.") and error.__cause__ is not None:
        error = error.__cause__
    return error


def _is_of_arguments(error: BaseException, adapter: DialectAdapter) -> bool:
    """Return whether a driver could not take its arguments; the text may repeat a part of them."""
    cause = _innermost(error)
    if isinstance(cause, OSError):  # of a certificate, which is a ValueError too
        return False
    of_libpq = isinstance(error, ProgrammingError) and adapter.error_code(cause) is None
    return of_libpq or isinstance(cause, TypeError | ValueError | OverflowError | AttributeError)


def _kind(
    error: Exception, cause: BaseException, adapter: DialectAdapter, *, connecting: bool
) -> ErrorKind:
    if isinstance(error, PoolTimeoutError):
        return ErrorKind.TIMED_OUT
    is_lost = isinstance(error, DBAPIError) and error.connection_invalidated
    if is_lost or isinstance(cause, OSError):
        return ErrorKind.UNAVAILABLE
    kind = adapter.error_kind(cause)
    if kind is ErrorKind.OTHER and connecting and isinstance(error, DBAPIError):
        return ErrorKind.UNAVAILABLE  # some drivers give no code before they are connected
    return kind


def _name(error: BaseException, adapter: DialectAdapter) -> str:
    """Return the name of an error whose text may show what was to be stored."""
    return f"{type(error).__name__} {adapter.error_code(error)}"


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines() or [""]
    line = f"{type(error).__name__}: {lines[0][:300]}" if lines[0] else type(error).__name__
    reason = error.__cause__  # aiomysql says only there why it could not connect
    is_missing = isinstance(reason, OSError) and str(reason) not in line
    return f"{line} ({reason})" if is_missing else line
