"""The tables of a database: SQL of a test's own, and a description that two databases share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, create_engine, inspect

from slack_agents_sqlalchemy.models import TABLE_PREFIX, VERSION_TABLE
from tests.support.sql import synchronous


def run_on[T](url: str, operation: Callable[[Connection], T]) -> T:
    """Run a function in a transaction on a database, without a provider."""
    engine = create_engine(synchronous(url))
    try:
        with engine.begin() as connection:
            return operation(connection)
    finally:
        engine.dispose()


def describe_schema(connection: Connection) -> dict[str, dict[str, Any]]:
    """Return a description of each table of this package but the version table."""
    inspector = inspect(connection)
    return {
        table: {
            "columns": [
                (column["name"], repr(column["type"]), column["nullable"], column["default"])
                for column in inspector.get_columns(table)
            ],
            "primary key": inspector.get_pk_constraint(table),
            "unique": sorted(inspector.get_unique_constraints(table), key=by_name),
            "indexes": sorted(map(with_text_options, inspector.get_indexes(table)), key=by_name),
            "foreign keys": inspector.get_foreign_keys(table),
            "options": inspector.get_table_options(table),
        }
        for table in table_names(connection)
        if table != VERSION_TABLE
    }


def table_names(connection: Connection) -> list[str]:
    """Return the names of this package's tables."""
    names = inspect(connection).get_table_names()
    return sorted(name for name in names if name.startswith(TABLE_PREFIX))


def with_text_options(index: Any) -> dict[str, Any]:
    options = {name: str(value) for name, value in index.get("dialect_options", {}).items()}
    return {**index, "dialect_options": options}


def by_name(named: Any) -> str:
    return str(named["name"])
