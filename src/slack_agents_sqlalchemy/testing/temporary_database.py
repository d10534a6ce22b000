"""Create a temporary database beside one that is in use, and remove it."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import Column, Integer, MetaData, Table, exists, inspect
from sqlalchemy.engine import URL, Connection
from sqlalchemy.schema import CreateTable

from slack_agents_sqlalchemy import dialects
from slack_agents_sqlalchemy.engine.database import Database
from slack_agents_sqlalchemy.errors import ConfigurationError, StorageError
from slack_agents_sqlalchemy.models import TABLE_PREFIX, VERSION_TABLE, metadata
from slack_agents_sqlalchemy.options import Options
from slack_agents_sqlalchemy.urls import redact


class TemporaryDatabase(NamedTuple):
    """The database in which the suite keeps its tables.

    Attributes:
        url: Its URL.
        schema: The schema that contains the tables, None for the default.
        marker: A table with one row that only this run created, None in memory. A connection that
            does not find the table is connected to another database or schema.
    """

    url: URL
    schema: str | None
    marker: Table | None

    @property
    def is_in_memory(self) -> bool:
        """Whether each provider has a database of its own in memory."""
        return self.marker is None

    @property
    def provider_options(self) -> dict[str, Any]:
        """The options of a provider that uses it."""
        return {} if self.schema is None else {"schema": self.schema}

    def empty_tables(self) -> None:
        """Delete all rows.

        Each statement requires the marker, so that it fails in another database.
        """
        if self.marker is not None:
            marker = self.marker
            self.run(lambda connection: _delete_rows(connection, marker))

    def run[T](self, operation: Callable[[Connection], T]) -> T:
        """Run an operation on a connection that is opened as the suite's are."""
        return _run(self.url, operation, Options(schema=self.schema))


@contextmanager
def create(plan: dialects.TemporaryDatabase, url: URL, name: str) -> Iterator[TemporaryDatabase]:
    """Create a temporary database, and remove it in any case.

    Args:
        plan: How the dialect creates it.
        url: The database that the user named.
        name: The name of the temporary one.

    Raises:
        ConfigurationError: The dialect has no temporary databases and the database that the user
            named is in use; or connections are not led to the temporary one.
        StorageError: The database cannot be used, or the temporary one cannot be removed.
    """
    if dialects.adapter_for(url.get_backend_name()).is_in_memory(url):
        yield TemporaryDatabase(plan.url, None, None)
        return
    if plan.drop is None and plan.url == url:
        found = _run(url, _own_tables)  # raises if the database cannot be reached
        if found:
            raise ConfigurationError(
                f"{redact(url)} holds tables of this package already ({', '.join(found)}), and "
                "this dialect has no temporary databases beside it: name an empty database"
            )
    marker_name = name.removeprefix(TABLE_PREFIX)
    marker = _marker(marker_name, None)
    temporary = TemporaryDatabase(plan.url, plan.schema, marker)
    try:
        if plan.create is not None:
            _run(url, lambda connection: connection.exec_driver_sql(str(plan.create)))
        created = _marker(marker_name, plan.schema)
        _run(plan.url, lambda connection: connection.execute(CreateTable(created)))
        _run(plan.url, lambda connection: connection.execute(created.insert(), {"id": 1}))
        if not temporary.run(lambda connection: inspect(connection).has_table(marker_name)):
            raise ConfigurationError(
                f"connections to {redact(url)} do not use the schema {plan.schema} that they "
                "ask for: does a pooler ignore search_path? No table was touched"
            )
        yield temporary
    finally:
        _remove(plan, url, marker)


def _marker(name: str, schema: str | None) -> Table:
    return Table(
        name,
        MetaData(),
        Column("id", Integer, primary_key=True, autoincrement=False),
        schema=schema,
    )


def _remove(plan: dialects.TemporaryDatabase, url: URL, marker: Table) -> None:
    try:
        if plan.drop is not None:
            _run(url, lambda connection: connection.exec_driver_sql(str(plan.drop)))
        elif plan.url == url:
            _run(url, lambda connection: _drop_tables(connection, marker))
    except StorageError as exc:
        command = plan.drop or f"drop the tables {TABLE_PREFIX}* and {marker.name}"
        raise StorageError(
            f"what the tests created is left behind on {redact(url)}: {exc}. "
            f"Remove it yourself: {command}"
        ) from exc


def _run[T](url: URL, operation: Callable[[Connection], T], options: Options | None = None) -> T:
    async def run() -> T:
        database = Database(url, options or Options())
        await database.open()
        try:
            return await database.run(operation)
        finally:
            await database.close()

    return asyncio.run(run())


def _own_tables(connection: Connection) -> list[str]:
    names = inspect(connection).get_table_names()
    return sorted(name for name in names if name.startswith(TABLE_PREFIX))


def _delete_rows(connection: Connection, marker: Table) -> None:
    for table in reversed(metadata.sorted_tables):
        connection.execute(table.delete().where(exists(marker.select())))


def _drop_tables(connection: Connection, marker: Table) -> None:
    for table in (*reversed(metadata.sorted_tables), Table(VERSION_TABLE, MetaData()), marker):
        table.drop(connection, checkfirst=True)
