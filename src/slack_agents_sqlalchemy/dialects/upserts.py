"""Upserts: insert a row or, where its key exists, replace columns; the database settles races."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Executable, Table, bindparam, insert, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

if TYPE_CHECKING:  # each dialect imports its own
    from sqlalchemy.dialects import postgresql, sqlite

type Upsert = Executable | Callable[[Connection, dict[str, Any]], None]
"""One statement where the dialect has one for it, else a function of a connection and the row."""

_ATTEMPTS = 20  # each retry needs another caller that inserts or deletes the row


def update_else_insert(
    table: Table, replaced: Sequence[str], is_duplicate_key: Callable[[BaseException], bool]
) -> Upsert:
    """Return the portable upsert: update, else insert, else (another caller was first) retry.

    Args:
        table: The table of the row; its primary key is the row's key.
        replaced: Names of the columns that are replaced in an existing row.
        is_duplicate_key: Returns whether an error says that the key exists.
    """
    # The values of an UPDATE take the parameters named like columns: the key's get other names.
    is_row = [column == bindparam(f"key_{column.name}") for column in table.primary_key]
    change = update(table).where(*is_row).values({name: bindparam(name) for name in replaced})
    find = select(*table.primary_key.columns).where(*is_row)
    create = insert(table)

    def run(connection: Connection, row: dict[str, Any]) -> None:
        key = {f"key_{column.name}": row[column.name] for column in table.primary_key}
        changes = {name: row[name] for name in replaced} | key
        for attempt in range(1, _ATTEMPTS + 1):
            if connection.execute(change, changes).rowcount > 0:
                return
            # Some drivers count only rows whose values changed; some count nothing (-1).
            if attempt > 1 and connection.execute(find, key).first() is not None:
                return
            try:
                connection.execute(create, row)
            except DBAPIError as exc:
                if attempt == _ATTEMPTS or not is_duplicate_key(exc):
                    raise
                connection.rollback()  # only a new transaction sees the row of the other caller
            else:
                return

    return run


def insert_on_conflict(
    create: "postgresql.Insert | sqlite.Insert", table: Table, replaced: Sequence[str]
) -> Executable:
    """Return the upsert of PostgreSQL and of SQLite: ``INSERT … ON CONFLICT DO UPDATE``.

    Args:
        create: The dialect's own ``INSERT`` into the table.
        table: The table of the row; its primary key is the row's key.
        replaced: Names of the columns that are replaced in an existing row.
    """
    return create.on_conflict_do_update(
        index_elements=table.primary_key.columns,
        set_={name: create.excluded[name] for name in replaced},
    )
