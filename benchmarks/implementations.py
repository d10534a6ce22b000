"""What is compared: this provider, its base class's defaults, and the framework's own providers."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from slack_agents.storage import postgres, sqlite
from slack_agents.storage.base import BaseStorageProvider
from sqlalchemy import Connection, exists, make_url, select, text
from sqlalchemy.util import greenlet_spawn

from benchmarks.harness import Implementation, Session
from slack_agents_sqlalchemy import Provider
from slack_agents_sqlalchemy.models import metadata

OURS = "this provider"
OURS_NORMAL = "this provider, synchronous=NORMAL"
BUILT_IN = "built-in"
DEFAULTS = "primitives only"

#: What a server does by itself some time after many writes, which must not fall into a measurement.
_SETTLING = {
    "postgresql": "VACUUM ANALYZE {}",
    "mariadb": "ANALYZE TABLE {}",
    "mysql": "ANALYZE TABLE {}",
    "sqlite": "PRAGMA wal_checkpoint(TRUNCATE)",
}

#: What says when a write is acknowledged: before or after it is on the disk.
_DURABILITY = {
    "postgresql": ("SHOW synchronous_commit", "SHOW fsync"),
    "sqlite": ("PRAGMA journal_mode", "PRAGMA synchronous"),
}
_SYNCHRONOUS = {"1": "NORMAL", "2": "FULL"}

_BUILT_IN_TABLES = (
    "conversations",
    "messages",
    "agent_heartbeats",
    "kv_store",
    "list_store",
    "oauth_tokens",
    "oauth_clients",
)
#: The built-in PostgreSQL provider's tables; the SQLite one has one table of blocks.
POSTGRESQL_TABLES = (
    *_BUILT_IN_TABLES,
    "text_blocks",
    "file_blocks",
    "tool_blocks",
    "usage_blocks",
)


class PrimitivesOnly(Provider):
    """The provider that this package would be if it overrode no domain method.

    Same engine, pool and primitives; conversations, messages and blocks are JSON in lists.
    """

    supports_export = BaseStorageProvider.supports_export
    get_or_create_conversation = BaseStorageProvider.get_or_create_conversation  # type: ignore[assignment] # ids are text there
    has_conversation = BaseStorageProvider.has_conversation
    create_message = BaseStorageProvider.create_message  # type: ignore[assignment] # ids are text there
    get_message_blocks = BaseStorageProvider.get_message_blocks
    append_text_block = BaseStorageProvider.append_text_block
    append_file_block = BaseStorageProvider.append_file_block  # type: ignore[assignment] # ids are text there
    append_tool_block = BaseStorageProvider.append_tool_block  # type: ignore[assignment] # ids are text there
    append_usage_block = BaseStorageProvider.append_usage_block
    get_tool_call = BaseStorageProvider.get_tool_call
    upsert_heartbeat = BaseStorageProvider.upsert_heartbeat
    get_heartbeat = BaseStorageProvider.get_heartbeat
    get_conversations_for_export = BaseStorageProvider.get_conversations_for_export
    get_messages_with_blocks = BaseStorageProvider.get_messages_with_blocks


def durable(url: str) -> dict[str, Any]:
    """Return options with which a power failure loses nothing, as with the built-in provider."""
    return {"synchronous": "FULL"} if make_url(url).get_backend_name() == "sqlite" else {}


@asynccontextmanager
async def ours(url: str, name: str = OURS, **options: Any) -> AsyncIterator[Implementation]:
    """Open this package's provider, by the name of its defaults without its overrides."""
    kind = PrimitivesOnly if name == DEFAULTS else Provider
    another = partial(kind, url=url, **(options or durable(url)))
    provider = another()
    await provider.initialize()
    settling = _SETTLING[provider.engine.dialect.name]

    def empty(connection: Connection) -> None:
        filled = [
            table.name
            for table in reversed(metadata.sorted_tables)
            if connection.execute(select(exists(select(1).select_from(table)))).scalar_one()
        ]
        if connection.dialect.name == "postgresql":  # deleted rows would stay in the way
            if filled:
                connection.execute(text(f"TRUNCATE {', '.join(filled)} CASCADE"))
            return
        for table in filled:
            connection.execute(text(f"DELETE FROM {table}"))

    def settle(connection: Connection) -> None:
        for table in metadata.sorted_tables:
            connection.execute(text(settling.format(table.name)))

    async def scalar(statement: str) -> Any:
        found = []

        def execute(connection: Connection) -> None:
            result = connection.exec_driver_sql(statement)
            found.append(result.scalar() if result.returns_rows else None)

        await run(provider, execute)
        return found[0]

    try:
        yield Implementation(
            name,
            provider,
            another,
            scalar,
            partial(run, provider, empty),
            partial(run, provider, settle),
        )
    finally:
        await provider.close()


async def run(provider: Provider, work: Callable[[Connection], None]) -> None:
    """Do something with a connection of the provider's engine."""
    engine = provider.engine

    def connected() -> None:
        with engine.connect() as connection:
            work(connection)

    await (greenlet_spawn(connected) if engine.dialect.is_async else asyncio.to_thread(connected))


def has_built_in(session: Session) -> bool:
    """Return whether the framework has a provider for the database, and note where it has none."""
    name = make_url(session.url).get_backend_name()
    if name in ("postgresql", "sqlite"):
        return True
    session.notes.append(f"{BUILT_IN} is not measured: the framework has no provider for {name}")
    return False


def beside(url: str) -> tempfile.TemporaryDirectory[str]:
    """Make a temporary folder on the disk of a SQLite database: all are measured on one disk."""
    database = make_url(url).database
    is_file = database and ":memory:" not in database and Path(database).parent.is_dir()
    return tempfile.TemporaryDirectory(dir=Path(database).parent if database and is_file else None)


async def note_durability(session: Session, implementations: Iterable[Implementation]) -> None:
    """Note what each database does before it acknowledges a write."""
    for one in implementations:
        statements = _DURABILITY.get(make_url(session.url).get_backend_name(), ())
        answers = [str(await one.scalar(statement)) for statement in statements]
        if answers:
            names = (statement.split()[-1] for statement in statements)
            settings = ", ".join(
                f"{name} {_SYNCHRONOUS.get(answer, answer)}"
                for name, answer in zip(names, answers, strict=True)
            )
            session.notes.append(f"{one.name}: {settings}")


@asynccontextmanager
async def built_in(url: str) -> AsyncIterator[Implementation]:
    """Open the framework's provider: in tables of its own, on SQLite in a file of its own."""
    if make_url(url).get_backend_name() == "postgresql":
        async with _postgresql(url) as implementation:
            yield implementation
        return
    with beside(url) as folder:
        async with _sqlite(Path(folder) / "built-in.db") as implementation:
            yield implementation


@asynccontextmanager
async def _postgresql(url: str) -> AsyncIterator[Implementation]:
    another = partial(postgres.Provider, plain(url))
    provider = another()
    await provider.initialize()

    async def empty() -> None:
        filled = [
            table
            for table in POSTGRESQL_TABLES
            if await provider.pool.fetchval(f"SELECT EXISTS (SELECT 1 FROM {table})")
        ]
        if filled:
            await provider.pool.execute(f"TRUNCATE {', '.join(filled)} CASCADE")

    async def settle() -> None:
        await provider.pool.execute(f"VACUUM ANALYZE {', '.join(POSTGRESQL_TABLES)}")

    try:
        yield Implementation(BUILT_IN, provider, another, provider.pool.fetchval, empty, settle)
    finally:
        await provider.close()


@asynccontextmanager
async def _sqlite(file: Path) -> AsyncIterator[Implementation]:
    another = partial(sqlite.Provider, str(file))
    provider = another()
    await provider.initialize()
    database = provider._db
    assert database is not None

    async def empty() -> None:
        for table in ("blocks", *reversed(_BUILT_IN_TABLES)):
            await database.execute(f"DELETE FROM {table}")
        await database.commit()

    async def scalar(statement: str) -> Any:
        async with database.execute(statement) as cursor:
            row = await cursor.fetchone()
        return row and row[0]

    try:
        yield Implementation(BUILT_IN, provider, another, scalar, empty, database.commit)
    finally:
        await provider.close()


def plain(url: str) -> str:
    """Return the URL without a driver's name, as the framework and drivers take it."""
    parsed = make_url(url)
    return parsed.set(drivername=parsed.get_backend_name()).render_as_string(hide_password=False)
