"""What a database's catalogue says of the tables, in a form that two databases share."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, inspect

from slack_agents_sqlalchemy.models import TABLE_PREFIX, VERSION_TABLE


def describe_schema(connection: Connection) -> dict[str, dict[str, Any]]:
    """Describe each of our tables but the one of versions."""
    inspector = inspect(connection)
    return {
        table: {
            "columns": [
                (column["name"], repr(column["type"]), column["nullable"], column["default"])
                for column in inspector.get_columns(table)
            ],
            "primary key": inspector.get_pk_constraint(table),
            "unique": sorted(inspector.get_unique_constraints(table), key=by_name),
            "indexes": sorted(map(in_words, inspector.get_indexes(table)), key=by_name),
            "foreign keys": inspector.get_foreign_keys(table),
            "options": inspector.get_table_options(table),
        }
        for table in table_names(connection)
        if table != VERSION_TABLE
    }


def table_names(connection: Connection) -> list[str]:
    """Name our tables."""
    names = inspect(connection).get_table_names()
    return sorted(name for name in names if name.startswith(TABLE_PREFIX))


def in_words(index: Any) -> dict[str, Any]:
    options = {name: str(value) for name, value in index.get("dialect_options", {}).items()}
    return {**index, "dialect_options": options}


def by_name(named: Any) -> str:
    return str(named["name"])
