"""Insert a row or, where its key is there, replace columns; the database settles the race."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Executable, Table, bindparam, insert, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

type Upsert = Executable | Callable[[Connection, dict[str, Any]], None]
"""One statement where the dialect has one for it, else a function of a connection and the row."""

_ATTEMPTS = 20  # each but the first needs another caller that makes or deletes the row


def update_else_insert(
    table: Table, replaced: Sequence[str], is_duplicate_key: Callable[[DBAPIError], bool]
) -> Upsert:
    """Return the upsert of any database: update, else insert, else (another was first) again.

    Args:
        table: Where the row goes; its primary key tells whether it is there.
        replaced: Names of the columns that an existing row gets anew.
        is_duplicate_key: Whether an error says that a row is there already.
    """
    # A column's own name is taken by the values of an UPDATE: the key's parameters get another.
    is_row = [column == bindparam(f"key_{column.name}") for column in table.primary_key]
    change = update(table).where(*is_row).values({name: bindparam(name) for name in replaced})
    look = select(*table.primary_key.columns).where(*is_row)
    create = insert(table)

    def run(connection: Connection, row: dict[str, Any]) -> None:
        key = {f"key_{column.name}": row[column.name] for column in table.primary_key}
        known = {name: row[name] for name in replaced} | key
        for attempt in range(1, _ATTEMPTS + 1):
            if connection.execute(change, known).rowcount > 0:
                return
            # Drivers may count the rows that became different, or not at all (-1).
            if attempt > 1 and connection.execute(look, key).first() is not None:
                return
            try:
                connection.execute(create, row)
            except DBAPIError as exc:
                if attempt == _ATTEMPTS or not is_duplicate_key(exc):
                    raise
                connection.rollback()  # the other's row is seen by a new transaction only
            else:
                return

    return run


def upsert_on_conflict(create: Any, table: Table, replaced: Sequence[str]) -> Executable:
    """Return the upsert of PostgreSQL, and of SQLite which took it over.

    Args:
        create: The dialect's own ``INSERT`` into the table.
        table: Where the row goes.
        replaced: Names of the columns that an existing row gets anew.
    """
    statement: Executable = create.on_conflict_do_update(
        index_elements=table.primary_key.columns,
        set_={name: create.excluded[name] for name in replaced},
    )
    return statement
