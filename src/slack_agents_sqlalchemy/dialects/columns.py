"""How times and texts are kept in columns, and how columns are indexed and searched."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, MetaData, Text, UnicodeText, text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Timestamp:
    """Microseconds since 1970 in an integer column: exact on every database."""

    def column_type(self) -> TypeEngine[Any]:
        """Return the type of the column."""
        return BigInteger()

    def to_database(self, value: datetime) -> Any:
        """Convert an aware UTC time to what the column takes."""
        return (value - _EPOCH) // timedelta(microseconds=1)

    def from_database(self, value: Any) -> datetime:
        """Convert what the column gives to an aware UTC time."""
        return _EPOCH + timedelta(microseconds=int(value))


# What LIKE may not take literally: its wildcards, SQL Server's and Sybase's [, and the backslash,
# with which some databases escape. Each becomes the wildcard for one character: there is no escape
# for all, as some databases refuse one before a character that is no wildcard of theirs.
_SPECIAL = str.maketrans(dict.fromkeys("%_[\\", "_"))


class LikePattern(TypeDecorator[str]):
    """A pattern for LIKE that matches whatever contains a text, and may match more."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else f"%{value.translate(_SPECIAL)}%"


def largest_text_type(dialect: Dialect) -> TypeEngine[Any]:
    """Return the largest text type of a dialect, of those that hold any sign."""
    # TEXT is that type nearly everywhere; what has a LONGTEXT has it because TEXT ends early.
    known: dict[str, type[TypeEngine[Any]]] = getattr(dialect, "ischema_names", {})
    return known.get("longtext", UnicodeText)()


def declare_partial_indexes(metadata: MetaData, dialect: str) -> None:
    """Leave out of an index the rows that its ``info["where"]`` leaves out."""
    for table in metadata.tables.values():
        for index in table.indexes:
            if "where" in index.info:
                index.dialect_options[dialect]["where"] = text(index.info["where"])
