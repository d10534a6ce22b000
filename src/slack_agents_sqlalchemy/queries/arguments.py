"""Arguments of callers: each function returns the value to store, or raises."""

import math
import reprlib
from datetime import UTC, datetime

from slack_agents_sqlalchemy.errors import InvalidTypeError, InvalidValueError

_FIRST_MOMENT = datetime(1, 1, 1, tzinfo=UTC)
_LAST_MOMENT = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
_INT64 = range(-(2**63), 2**63)


def texts(**values: object) -> dict[str, str]:
    """Return the values, by the names of their arguments, if each is a ``str``."""
    for name, value in values.items():
        if not isinstance(value, str):
            raise InvalidTypeError(f"{name} must be a str, not {type(value).__name__}")
    return values  # type: ignore[return-value] # the loop has checked it


def optional_text(name: str, value: object) -> str | None:
    """Return ``value`` if it is a ``str`` or None."""
    return None if value is None else texts(**{name: value})[name]


def integer(name: str, value: object) -> int:
    """Return ``value`` if it is an ``int`` of 64 bits."""
    if not isinstance(value, int):
        raise InvalidTypeError(f"{name} must be an int, not {type(value).__name__}")
    if value not in _INT64:
        raise InvalidValueError(f"{name} must fit 64 bits, and {reprlib.repr(value)} does not")
    return int(value)


def optional_integer(name: str, value: object) -> int | None:
    """Return ``value`` if it is an ``int`` of 64 bits or None."""
    return None if value is None else integer(name, value)


def number(name: str, value: object) -> float:
    """Return ``value`` as a finite ``float``."""
    if not isinstance(value, int | float):
        raise InvalidTypeError(f"{name} must be a float, not {type(value).__name__}")
    try:
        converted = float(value)
    except OverflowError:
        converted = math.inf
    if not math.isfinite(converted):
        raise InvalidValueError(f"{name} must be a finite number, not {reprlib.repr(value)}")
    return converted


def optional_number(name: str, value: object) -> float | None:
    """Return ``value`` as a finite ``float``, or None."""
    return None if value is None else number(name, value)


def moment(name: str, value: object) -> datetime | None:
    """Return a point in time as an aware UTC ``datetime``, or None.

    Args:
        name: The argument's name, for the message.
        value: A ``datetime`` or ISO 8601 text; a naive one is UTC.
    """
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as exc:
            raise InvalidValueError(
                f"{name} must be a date in ISO 8601, as 2026-01-31T12:00:00+00:00, "
                f"not {reprlib.repr(value)}"
            ) from exc
    if not isinstance(value, datetime):
        raise InvalidTypeError(f"{name} must be a datetime or a str, not {type(value).__name__}")
    if value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    try:
        return value.astimezone(UTC)
    except OverflowError:  # within a day of the first or last year: no message is beyond it
        return _LAST_MOMENT if value.year > 1 else _FIRST_MOMENT
