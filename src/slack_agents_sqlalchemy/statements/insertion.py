"""The INSERT that finds its parent: one round trip stores the row, or finds no parent for it."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import FromClause, Insert, bindparam, insert, select
from sqlalchemy.orm import InstrumentedAttribute

from slack_agents_sqlalchemy.models import Base


def insert_under(
    parent: InstrumentedAttribute[int],
    model: type[Base],
    *,
    copied: Mapping[str, InstrumentedAttribute[Any]],
    given: Sequence[str],
    source: FromClause,
) -> Insert:
    """Build ``INSERT … SELECT`` from the parent's row, which stores nothing where there is none.

    Args:
        parent: The parent's id, which the parameter ``parent_id`` names.
        model: Whose table gets the row.
        copied: Columns of the new row, and where their values come from.
        given: Columns of the new row that are parameters of the same name.
        source: What to select from.
    """
    columns = model.__table__.c
    values = [bindparam(name, type_=columns[name].type) for name in given]
    row = (
        select(*copied.values(), *values)
        .select_from(source)
        .where(parent == bindparam("parent_id"))
    )
    statement = insert(model).from_select([*copied, *given], row, include_defaults=False)
    # Whether a row was made is all the answer there is, and not every driver keeps it on its own.
    return statement.execution_options(preserve_rowcount=True)
