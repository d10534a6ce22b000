"""Column types for times, with microseconds on every database."""

from abc import ABC, abstractmethod
from datetime import UTC, datetime, timedelta

from sqlalchemy import BigInteger
from sqlalchemy.types import TypeEngine

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Timestamp[T: (int, datetime)](ABC):
    """A column type for times, and the conversion to and from the values of its driver."""

    @abstractmethod
    def column_type(self) -> TypeEngine[T]:
        """Return the type of the column."""

    @abstractmethod
    def to_database(self, value: datetime) -> T:
        """Return the column's value for an aware UTC time."""

    @abstractmethod
    def from_database(self, value: T) -> datetime:
        """Return the aware UTC time for a value of the column."""


class EpochMicroseconds(Timestamp[int]):
    """Microseconds since 1970 in an integer column: exact on an unknown dialect too."""

    def column_type(self) -> TypeEngine[int]:
        return BigInteger()

    def to_database(self, value: datetime) -> int:
        return (value - _EPOCH) // timedelta(microseconds=1)

    def from_database(self, value: int) -> datetime:
        return _EPOCH + timedelta(microseconds=int(value))  # some drivers return a Decimal
