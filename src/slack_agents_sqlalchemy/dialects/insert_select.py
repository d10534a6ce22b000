"""Insert a row under its parent, or none where there is no parent."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Insert, Select
from sqlalchemy.engine import Connection


class InsertSelect(NamedTuple):
    """How a row is inserted under its parent, which gives it some of its columns.

    Attributes:
        statement: ``INSERT … SELECT`` from the parent, which makes no row where there is none.
        find: The parent's columns, by the names that they have in the new row.
        create: The ``INSERT`` of a row whose columns are known.
        given: Columns of the new row that are parameters of the same name.
    """

    statement: Insert
    find: Select[Any]
    create: Insert
    given: Sequence[str]


def select_then_insert(
    connection: Connection, insertion: InsertSelect, row: Mapping[str, Any]
) -> int:
    """Look for the parent, then insert the row; return 0 where there is no parent."""
    # A parameter that stands for a column of a SELECT has no type, which some refuse.
    copied = connection.execute(insertion.find, row).mappings().first()
    if copied is None:
        return 0
    given = {name: row[name] for name in insertion.given}
    connection.execute(insertion.create, {**copied, **given})
    return 1
