"""URLs with other drivers, and SQL of a test's own on the engine of a provider."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import URL, Connection, event, make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from slack_agents_sqlalchemy import Provider

_SYNCHRONOUS = {
    "sqlite": "pysqlite",
    "postgresql": "psycopg2",
    "mariadb": "pymysql",
    "mysql": "pymysql",
}

both_paths = pytest.mark.parametrize("watch", [False, True], ids=["fast", "ordinary"])
"""Run a test on the fast path, and on the ordinary one, to which a listener moves every call."""


def with_driver(url: str | URL, driver: str, **changes: Any) -> str:
    """Return a URL with another driver, and other parts where they are given."""
    parsed = make_url(url)
    changed = parsed.set(drivername=f"{parsed.get_backend_name()}+{driver}", **changes)
    return changed.render_as_string(hide_password=False)


def synchronous(url: str | URL) -> str:
    """Return a URL with a synchronous driver for the same database."""
    return with_driver(url, _SYNCHRONOUS[make_url(url).get_backend_name()])


async def run[T](storage: Provider, operation: Callable[[Connection], T]) -> T:
    """Run a function of a connection on the engine of a provider, as its user would."""
    engine = storage.engine
    if engine.dialect.is_async:
        async with AsyncEngine(engine).connect() as connection:
            return await connection.run_sync(operation)

    def connect_and_run() -> T:
        with engine.connect() as connection:
            return operation(connection)

    return await asyncio.to_thread(connect_and_run)


async def scalar(storage: Provider, statement: str) -> Any:
    """Run a statement on the engine of a provider; return its first value, None without a row."""

    def execute(connection: Connection) -> Any:
        result = connection.exec_driver_sql(statement)
        return result.scalar() if result.returns_rows else None

    return await run(storage, execute)


def watch_engine(storage: Provider) -> list[str]:
    """Listen to the engine of a provider; return the list that every statement is added to."""
    seen: list[str] = []
    event.listen(storage.engine, "before_cursor_execute", _noted_in(seen))
    return seen


@contextmanager
def watched(storage: Provider) -> Iterator[list[str]]:
    """Listen to the engine of a provider for a while; yield the list of its statements."""
    seen: list[str] = []
    note = _noted_in(seen)
    event.listen(storage.engine, "before_cursor_execute", note)
    yield seen
    event.remove(storage.engine, "before_cursor_execute", note)


def _noted_in(seen: list[str]) -> Callable[..., None]:
    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    return note
