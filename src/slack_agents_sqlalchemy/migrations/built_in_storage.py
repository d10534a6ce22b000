"""Warn of rows that the framework's built-in storage provider left in the same database."""

import logging

from sqlalchemy import func, inspect, literal, select, table
from sqlalchemy.engine import Connection

from slack_agents_sqlalchemy.engine.database import Database

_log = logging.getLogger(__name__)

_BUILT_IN = frozenset(
    {"conversations", "messages", "agent_heartbeats", "kv_store", "list_store", "oauth_tokens"}
)
"""Tables that the framework's built-in providers share; no other program has all of them."""

_TABLES_WITH_ROWS = ("conversations", "messages", "kv_store", "list_store", "oauth_tokens")
_MAX_ROWS_COUNTED = 10_000  # of each table: a count of all rows reads the whole table
_TIMEOUT = 5.0  # seconds that the search may take


async def warn_of_rows(database: Database) -> None:
    """Log a warning if the database has rows of the framework's built-in provider."""
    try:
        rows = await database.run(_count_rows, timeout=_TIMEOUT)
    except Exception:  # noqa: BLE001 - a warning is optional: no error may fail the start
        _log.debug("the search for tables of the built-in provider failed", exc_info=True)
        return
    if rows:
        counted = ", ".join(
            f"{name} ({count:,}{'+' if count == _MAX_ROWS_COUNTED else ''})"
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

    Searched are the connection's own schema and ``public``: on PostgreSQL the built-in provider
    uses ``public`` even if the option ``schema`` names another one.
    """
    inspector = inspect(connection)
    for schema in (None, *({"public"} & set(inspector.get_schema_names()))):
        if set(inspector.get_table_names(schema=schema)) >= _BUILT_IN:
            break
    else:
        return {}
    found = {}
    for name in _TABLES_WITH_ROWS:
        rows = select(literal(1).label("one")).select_from(table(name, schema=schema))
        limited = rows.limit(_MAX_ROWS_COUNTED).subquery()
        if count := connection.execute(select(func.count()).select_from(limited)).scalar_one():
            found[name] = count
    return found
