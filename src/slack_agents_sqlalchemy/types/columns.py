"""Column types that store text, JSON and times exactly on every database."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Integer, String, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import operators
from sqlalchemy.types import DateTime, TypeDecorator, TypeEngine

from slack_agents_sqlalchemy.dialects import adapter_for
from slack_agents_sqlalchemy.errors import InvalidTypeError
from slack_agents_sqlalchemy.identifiers import DIGEST_LENGTH
from slack_agents_sqlalchemy.types import exact

# A standard type: foreign keys of a user's tables copy it, and alembic writes it into migrations.
# SQLite makes a column its ROWID only if its type is exactly INTEGER.
Id = BigInteger().with_variant(Integer(), "sqlite")
"""A 64-bit integer that the client generates."""


class Digest(TypeDecorator[str]):
    """The digest of a key: ASCII text of fixed length, compared byte by byte."""

    impl = String(DIGEST_LENGTH)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return adapter_for(dialect.name).ascii_type(DIGEST_LENGTH)


class ExactText(TypeDecorator[str]):
    """Text of any length and content, in the database's largest text type.

    Other tools can read it. Only the characters that a database cannot store (NUL, lone surrogates)
    are escaped.
    """

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return adapter_for(dialect.name).large_text_type(dialect)

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value == "" and adapter_for(dialect.name).empty_text_is_null:
            return exact.MARKED_EMPTY_TEXT
        return None if value is None else exact.encode_text(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else exact.decode_text(value)


_COMPARES_VALUES = (
    operators.eq,
    operators.ne,
    operators.in_op,
    operators.not_in_op,
    operators.is_distinct_from,
    operators.is_not_distinct_from,
)


class _JSONComparator(TypeDecorator.Comparator[Any], Text.Comparator[Any]):
    """The operators of JSON that is stored as text."""

    def operate(self, op: Any, *other: Any, **kwargs: Any) -> ColumnElement[Any]:
        if op is operators.getitem:
            raise InvalidTypeError(
                f"{self.expr} is JSON that is stored as text, and SQL cannot read its fields: "
                "select the rows and read the value in Python, or select fewer rows by their text "
                f"first, as in {self.expr}.contains('…')"
            )
        return super().operate(op, *other, **kwargs)


class ExactJSON(TypeDecorator[Any]):
    """A JSON value that is stored as text, which keeps key order, big integers and NUL.

    JSON's ``null`` is a text; NULL means that there is no value.
    """

    impl = Text
    cache_ok = True
    comparator_factory = _JSONComparator

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return adapter_for(dialect.name).large_text_type(dialect)

    def coerce_compared_value(self, op: Any, value: object) -> TypeEngine[Any]:
        return self if op in _COMPARES_VALUES else Text()  # LIKE compares the text

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        if isinstance(value, exact.WrittenJSON):
            return value.text
        return None if value is None else exact.dump_json(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else exact.load_json(value)


class UTCDateTime(TypeDecorator[datetime]):
    """An aware UTC time with microseconds.

    On an unknown dialect the column is an integer: microseconds since 1970.
    """

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return adapter_for(dialect.name).timestamp.column_type()

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | int | None:
        if value is None:
            return None
        stored: datetime | int = adapter_for(dialect.name).timestamp.to_database(
            value.astimezone(UTC)
        )
        return stored

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return adapter_for(dialect.name).timestamp.from_database(value)
