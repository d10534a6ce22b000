"""The kinds of database errors, by the SQLSTATE of the SQL standard."""

import re
from enum import Enum, auto

from sqlalchemy.exc import DBAPIError, OperationalError

_SQLSTATE = re.compile("[0-9A-Z]{5}")


class ErrorKind(Enum):
    """The meaning of a driver's error for a caller."""

    UNAVAILABLE = auto()  # no connection, or a lost one
    ACCESS_REFUSED = auto()  # the user, the password or a missing right
    NO_DATABASE = auto()  # the server has no database of that name
    TIMED_OUT = auto()  # statement timeout
    LOCKED = auto()  # lock timeout: another transaction held the lock for longer
    CONFLICT = auto()  # a deadlock or a serialization failure
    FULL = auto()  # no disk space is left
    OTHER = auto()


def driver_error(error: BaseException) -> BaseException:
    """Return the driver's error that SQLAlchemy wrapped, or the error itself."""
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def sqlstate(error: BaseException) -> str | None:
    """Return the SQLSTATE of a driver's error; None where it has none."""
    for attribute in ("sqlstate", "pgcode"):
        code = getattr(error, attribute, None)
        if code:
            return str(code)
    first = error.args[0] if error.args else None  # ODBC's drivers have it there
    is_state = isinstance(first, str) and _SQLSTATE.fullmatch(first)
    return first if is_state else None


def kind_of_sqlstate(code: str | int | None) -> ErrorKind:
    """Return the kind of an error by its SQLSTATE; the number of an unknown database is OTHER."""
    match code:
        case str() if code.startswith("08"):  # connection exception
            return ErrorKind.UNAVAILABLE
        case str() if code.startswith("28"):  # invalid authorization
            return ErrorKind.ACCESS_REFUSED
        case str() if code.startswith("40"):  # transaction rollback
            return ErrorKind.CONFLICT
        case "53100":  # disk full
            return ErrorKind.FULL
        case _:
            return ErrorKind.OTHER


def is_transient(error: DBAPIError, code: str | int | None) -> bool:
    """Return whether a transaction that got this error may succeed when it is retried.

    Args:
        error: SQLAlchemy's error.
        code: The code of the driver's error, if there is one.
    """
    if code is None:  # PEP 249: an OperationalError is not the programmer's fault
        return isinstance(error, OperationalError)
    return str(code).startswith("40")  # SQLSTATE: transaction rollback
