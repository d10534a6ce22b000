"""Drivers' errors told as this package's own: by SQLSTATE or number, never by their text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from slack_agents_sqlalchemy.dialects import Backend, Fault, driver_error
from slack_agents_sqlalchemy.errors import (
    AccessRefusedError,
    ConfigurationError,
    DatabaseError,
    DatabaseTimeoutError,
    DatabaseUnavailableError,
    DuplicateKeyError,
    StorageError,
)


@dataclass
class Attempt:
    """How far a call has come.

    Attributes:
        connected: It has a connection.
        sent: The values of the statement that was sent on the driver's own connection.
        lost: That connection was lost.
    """

    connected: bool = False
    sent: Sequence[Any] = ()
    lost: bool = False


def translate(  # noqa: PLR0911 - one for each meaning
    error: Exception, backend: Backend, where: str, attempt: Attempt
) -> StorageError | None:
    """Return what an error means to a caller, or None where it is not the database's.

    Args:
        error: What SQLAlchemy or a driver raised; drivers raise past SQLAlchemy in ``connect()``.
        backend: The dialect, which knows its codes.
        where: The database's URL without its password.
        attempt: How far the call had come when it was raised.
    """
    if isinstance(error, StatementError) and isinstance(error.orig, StorageError):
        return error.orig  # a column type refused a value before it was sent
    cause = driver_error(error)
    what = _first_line(cause)
    match _fault(error, cause, backend, attempt):
        case Fault.UNAVAILABLE:
            return DatabaseUnavailableError(
                f"cannot reach {where}: {what}. Is the database running, and is the URL right?"
            )
        case Fault.ACCESS_REFUSED:
            return AccessRefusedError(
                f"{where} refuses access: {what}. Check user, password, database name and rights."
            )
        case Fault.TIMED_OUT:
            return DatabaseTimeoutError(f"{where} did not answer in time: {what}")
        case Fault.OTHER if not attempt.connected and isinstance(error, TypeError):
            return ConfigurationError(
                f"{where} is opened by a driver that takes no such argument, "
                f"in the URL or in connect_args: {error}"
            )
        case _ if isinstance(error, IntegrityError) or backend.is_duplicate(cause):
            return DuplicateKeyError(f"{where} refused a row: {what}")
        case _ if isinstance(error, SQLAlchemyError) or backend.error_code(cause) is not None:
            return DatabaseError(f"{where} refused a statement: {what}")
    return None


def presentable(error: Exception, backend: Backend) -> Exception | None:
    """Return the error as the cause of another, or None where its text repeats a row."""
    of_data = isinstance(error, IntegrityError | DataError) or backend.repeats_row(error)
    return None if of_data else error


def _fault(error: Exception, cause: BaseException, backend: Backend, attempt: Attempt) -> Fault:
    if isinstance(error, PoolTimeoutError):
        return Fault.TIMED_OUT
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    if lost or attempt.lost or isinstance(cause, OSError):
        return Fault.UNAVAILABLE
    fault = backend.classify(cause)
    if fault is Fault.OTHER and not attempt.connected and isinstance(error, DBAPIError):
        return Fault.UNAVAILABLE  # some drivers give no code before they are connected
    return fault


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines[0] else type(error).__name__
