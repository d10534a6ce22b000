"""Insert a row under its parent row, or none where there is no parent row."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Insert, Select
from sqlalchemy.engine import Connection


class InsertSelect(NamedTuple):
    """The insertion of a row under its parent row, which gives it some of its columns.

    Attributes:
        statement: ``INSERT … SELECT`` from the parent row, which inserts nothing without one.
        find: ``SELECT`` of the parent row's columns, under their names in the new row.
        create: ``INSERT`` of a row whose columns are known.
        given: Columns of the new row that are parameters of the same name.
    """

    statement: Insert
    find: Select[Any]
    create: Insert
    given: Sequence[str]


def select_then_insert(
    connection: Connection, insertion: InsertSelect, row: Mapping[str, Any]
) -> int:
    """Insert a row under its parent row by two statements; return the row count."""
    # Some databases refuse a parameter as a column of a SELECT: it has no type.
    parent = connection.execute(insertion.find, row).mappings().first()
    if parent is None:
        return 0
    given = {name: row[name] for name in insertion.given}
    connection.execute(insertion.create, {**parent, **given})
    return 1
