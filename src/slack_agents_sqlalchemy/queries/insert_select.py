"""The INSERT that finds its parent: one round trip stores the row, or finds no parent for it."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Table, bindparam, insert, select

from slack_agents_sqlalchemy.dialects import InsertSelect


def insert_select(
    parent: ColumnElement[int],
    table: Table,
    *,
    copied: Mapping[str, ColumnElement[Any]],
    given: Sequence[str],
    source: FromClause,
) -> InsertSelect:
    """Build the INSERT of a row under its parent, which stores nothing where there is none.

    Args:
        parent: The parent's id, which the parameter ``parent_id`` names.
        table: What gets the row.
        copied: Columns of the new row, and where their values come from.
        given: Columns of the new row that are parameters of the same name.
        source: What to select from.
    """
    values = [bindparam(name, type_=table.c[name].type) for name in given]
    row = (
        select(*copied.values(), *values)
        .select_from(source)
        .where(parent == bindparam("parent_id"))
    )
    statement = insert(table).from_select([*copied, *given], row, include_defaults=False)
    # Whether a row was made is all the answer there is, and not every driver keeps it on its own.
    statement = statement.execution_options(preserve_rowcount=True)
    find = (
        select(*(column.label(name) for name, column in copied.items()))
        .select_from(source)
        .where(parent == bindparam("parent_id"))
    )
    return InsertSelect(statement, find, insert(table), given)
