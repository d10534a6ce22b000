"""What an error means, told by the SQLSTATE that the standard or the driver gives it."""

import re
from enum import Enum, auto

from sqlalchemy.exc import DBAPIError, OperationalError

_SQLSTATE = re.compile("[0-9A-Z]{5}")


class ErrorKind(Enum):
    """What a driver's error means to a caller."""

    UNAVAILABLE = auto()  # no connection, or it was lost
    ACCESS_REFUSED = auto()  # user, password or a missing right
    NO_DATABASE = auto()  # the server has no database of that name
    TIMED_OUT = auto()  # the statement took longer than allowed
    LOCKED = auto()  # another transaction held a lock for longer than the server waits
    CONFLICT = auto()  # a deadlock, or a serialization failure: another transaction won
    FULL = auto()  # no room is left
    OTHER = auto()


def driver_error(error: BaseException) -> BaseException:
    """Return the driver's own error that SQLAlchemy wrapped, or the error itself."""
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def sqlstate(error: BaseException) -> str | None:
    """Return the SQLSTATE of a driver's error, where it has one."""
    for attribute in ("sqlstate", "pgcode"):
        code = getattr(error, attribute, None)
        if code:
            return str(code)
    first = error.args[0] if error.args else None  # where ODBC's drivers have it
    is_state = isinstance(first, str) and _SQLSTATE.fullmatch(first)
    return first if is_state else None


def kind_of_sqlstate(code: str | int | None) -> ErrorKind:
    """Tell what an error means, by its SQLSTATE; another database's number tells nothing."""
    match code:
        case str() if code.startswith("08"):
            return ErrorKind.UNAVAILABLE
        case str() if code.startswith("28"):
            return ErrorKind.ACCESS_REFUSED
        case str() if code.startswith("40"):
            return ErrorKind.CONFLICT
        case "53100":
            return ErrorKind.FULL
        case _:
            return ErrorKind.OTHER


def is_transient(error: DBAPIError, code: str | int | None) -> bool:
    """Return whether a transaction that got this error may succeed when it is run again.

    Args:
        error: As SQLAlchemy raised it.
        code: The driver's code of it, if there is one.
    """
    if code is None:  # PEP 249 has that class for faults that are not the statement's
        return isinstance(error, OperationalError)
    return str(code).startswith("40")  # SQLSTATE: transaction rollback
