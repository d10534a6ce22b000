"""Rows that the framework's built-in storage provider has left in the same database."""

import logging

from sqlalchemy import func, inspect, literal, select, table
from sqlalchemy.engine import Connection

from slack_agents_sqlalchemy.engine.database import Database

_log = logging.getLogger(__name__)

_BUILT_IN = frozenset(
    {"conversations", "messages", "agent_heartbeats", "kv_store", "list_store", "oauth_tokens"}
)
"""Tables of the framework's built-in providers; together they are nobody else's."""

_TABLES_WITH_ROWS = ("conversations", "messages", "kv_store", "list_store", "oauth_tokens")
_ROWS_COUNTED = 10_000  # of each table: a count of all rows reads the whole table
_TIMEOUT = 5.0  # seconds that the look for the built-in provider's tables may take


async def warn_of_rows(database: Database) -> None:
    """Log a warning where an agent leaves rows of the framework's built-in provider behind."""
    try:
        rows = await database.run(_count_rows, timeout=_TIMEOUT)
    except Exception:  # noqa: BLE001 - advice: any dialect's error here must not fail a start
        _log.debug("could not look for the tables of the built-in provider", exc_info=True)
        return
    if rows:
        counted = ", ".join(
            f"{name} ({count:,}{'+' if count == _ROWS_COUNTED else ''})"
            for name, count in rows.items()
        )
        _log.warning(
            "The tables of slack-agents-sqlalchemy are new and empty, and the same database has "
            "rows of the framework's built-in storage provider: %s. Nothing was copied: agents "
            "that switch to this provider start without these conversations. The old tables are "
            "not changed. See docs/switching.md, 'Switching from the built-in storage'.",
            counted,
        )


def _count_rows(connection: Connection) -> dict[str, int]:
    """Return the built-in provider's tables that have rows, with the number of rows up to a limit.

    They are looked for where this connection looks, and in the schema ``public``, which the
    built-in provider uses on PostgreSQL while the option ``schema`` names another one.
    """
    inspector = inspect(connection)
    places = [None, *({"public"} & set(inspector.get_schema_names()))]
    for schema in places:
        if set(inspector.get_table_names(schema=schema)) >= _BUILT_IN:
            break
    else:
        return {}
    found = {}
    for name in _TABLES_WITH_ROWS:
        some = select(literal(1).label("one")).select_from(table(name, schema=schema))
        rows = some.limit(_ROWS_COUNTED).subquery()
        if count := connection.execute(select(func.count()).select_from(rows)).scalar_one():
            found[name] = count
    return found
