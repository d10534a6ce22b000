"""The portable search for a text in a column: LIKE."""

from sqlalchemy import ColumnElement, Text, bindparam
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

# Characters that LIKE may not take literally: its wildcards, the [ of SQL Server and Sybase, and
# the backslash, which escapes on some databases. Each becomes the wildcard for one character. No
# escape character is portable: some databases refuse one before a character that is no wildcard.
_SPECIAL = str.maketrans(dict.fromkeys("%_[\\", "_"))


class LikePattern(TypeDecorator[str]):
    """A pattern for LIKE that matches every text that contains a value, and may match more."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else f"%{value.translate(_SPECIAL)}%"


def like(column: ColumnElement[str], parameter: str) -> ColumnElement[bool]:
    """Return a condition that is true for every text that contains the parameter's value."""
    return column.like(bindparam(parameter, type_=LikePattern))
