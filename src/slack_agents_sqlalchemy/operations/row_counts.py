"""Count the rows of each table."""

from functools import cache
from typing import Any

from sqlalchemy import Select, func, select

from slack_agents_sqlalchemy.engine.executor import Executor
from slack_agents_sqlalchemy.models import metadata


async def count_rows(executor: Executor) -> dict[str, int]:
    """Return the number of rows of each table, by the table's name."""
    statement = _count_all()
    [counts] = await executor.fetch(statement, {})
    return dict(zip(statement.selected_columns.keys(), counts, strict=True))


@cache
def _count_all() -> Select[Any]:
    """Return the statement; a start does not build it."""
    return select(
        *(
            select(func.count()).select_from(table).scalar_subquery().label(table.name)
            for table in metadata.sorted_tables
        )
    )
