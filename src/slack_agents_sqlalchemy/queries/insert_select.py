"""The insert-select under a parent row: one statement finds the parent and inserts the row."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, bindparam, insert, select
from sqlalchemy.orm import InstrumentedAttribute

from slack_agents_sqlalchemy.dialects import InsertSelect
from slack_agents_sqlalchemy.models import Base


def insert_select(
    model: type[Base],
    *,
    parent: InstrumentedAttribute[int],
    source: type[Base] | FromClause,
    copied: Mapping[str, InstrumentedAttribute[int] | ColumnElement[Any]],
    given: Sequence[str],
) -> InsertSelect:
    """Return the insertion of a row under its parent row, which inserts nothing without one.

    Args:
        model: The model of the new row.
        parent: The parent row's id, which the parameter ``parent_id`` gives.
        source: What to select from.
        copied: Columns of the new row, and where their values come from.
        given: Columns of the new row that are parameters of the same name.
    """
    table = model.__table__
    find: Select[*tuple[Any, ...]] = (
        select(*(column.label(name) for name, column in copied.items()))
        .select_from(source)
        .where(parent == bindparam("parent_id"))
    )
    row = find.add_columns(*(bindparam(name, type_=table.c[name].type) for name in given))
    statement = insert(table).from_select([*copied, *given], row, include_defaults=False)
    # The row count is the only answer, and not every driver keeps it without this option.
    statement = statement.execution_options(preserve_rowcount=True)
    return InsertSelect(statement, find, insert(table), given)
