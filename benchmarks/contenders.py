"""Who takes part: this provider, its base class's defaults, and the framework's own providers."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from slack_agents.storage import postgres, sqlite
from slack_agents.storage.base import BaseStorageProvider
from sqlalchemy import Connection, exists, make_url, select, text
from sqlalchemy.util import greenlet_spawn

from benchmarks.harness import Contender
from slack_agents_sqlalchemy import Provider
from slack_agents_sqlalchemy.tables import metadata

OURS = "this provider"
BUILT_IN = "built-in"
DEFAULTS = "primitives only"

#: What a server does by itself some time after many writes, which must not fall into a measurement.
_SETTLING = {
    "postgresql": "VACUUM ANALYZE {}",
    "mariadb": "ANALYZE TABLE {}",
    "mysql": "ANALYZE TABLE {}",
    "sqlite": "PRAGMA wal_checkpoint(TRUNCATE)",
}

_BUILT_IN_TABLES = (
    "conversations",
    "messages",
    "agent_heartbeats",
    "kv_store",
    "list_store",
    "oauth_tokens",
    "oauth_clients",
)
_POSTGRESQL_BLOCKS = ("text_blocks", "file_blocks", "tool_blocks", "usage_blocks")


class PrimitivesOnly(Provider):
    """The provider that this package would be if it overrode no domain method.

    Same engine, pool and primitives; conversations, messages and blocks are JSON in lists.
    """

    supports_export = BaseStorageProvider.supports_export
    get_or_create_conversation = BaseStorageProvider.get_or_create_conversation
    has_conversation = BaseStorageProvider.has_conversation
    create_message = BaseStorageProvider.create_message
    get_message_blocks = BaseStorageProvider.get_message_blocks
    append_text_block = BaseStorageProvider.append_text_block
    append_file_block = BaseStorageProvider.append_file_block
    append_tool_block = BaseStorageProvider.append_tool_block
    append_usage_block = BaseStorageProvider.append_usage_block
    get_tool_call = BaseStorageProvider.get_tool_call
    upsert_heartbeat = BaseStorageProvider.upsert_heartbeat
    get_heartbeat = BaseStorageProvider.get_heartbeat
    get_conversations_for_export = BaseStorageProvider.get_conversations_for_export
    get_messages_with_blocks = BaseStorageProvider.get_messages_with_blocks


@asynccontextmanager
async def ours(url: str, name: str = OURS) -> AsyncIterator[Contender]:
    """Open this package's provider, by the name of its defaults without its overrides."""
    another = partial(PrimitivesOnly if name == DEFAULTS else Provider, url=url)
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

    try:
        yield Contender(
            name, provider, another, partial(run, provider, empty), partial(run, provider, settle)
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


def has_built_in(url: str) -> bool:
    """Return whether the framework has a provider for such a database."""
    return make_url(url).get_backend_name() in ("postgresql", "sqlite")


@asynccontextmanager
async def built_in(url: str) -> AsyncIterator[Contender]:
    """Open the framework's provider: in tables of its own, on SQLite in a file of its own."""
    if make_url(url).get_backend_name() == "postgresql":
        async with _postgresql(url) as contender:
            yield contender
        return
    with tempfile.TemporaryDirectory() as folder:
        async with _sqlite(Path(folder) / "built-in.db") as contender:
            yield contender


@asynccontextmanager
async def _postgresql(url: str) -> AsyncIterator[Contender]:
    another = partial(postgres.Provider, plain(url))
    provider = another()
    await provider.initialize()
    tables = (*_BUILT_IN_TABLES, *_POSTGRESQL_BLOCKS)

    async def empty() -> None:
        filled = [
            table
            for table in tables
            if await provider.pool.fetchval(f"SELECT EXISTS (SELECT 1 FROM {table})")
        ]
        if filled:
            await provider.pool.execute(f"TRUNCATE {', '.join(filled)} CASCADE")

    async def settle() -> None:
        await provider.pool.execute(f"VACUUM ANALYZE {', '.join(tables)}")

    try:
        yield Contender(BUILT_IN, provider, another, empty, settle)
    finally:
        await provider.close()


@asynccontextmanager
async def _sqlite(file: Path) -> AsyncIterator[Contender]:
    another = partial(sqlite.Provider, str(file))
    provider = another()
    await provider.initialize()

    async def empty() -> None:
        for table in ("blocks", *reversed(_BUILT_IN_TABLES)):
            await provider._db.execute(f"DELETE FROM {table}")
        await provider._db.commit()

    async def settle() -> None:
        await provider._db.commit()

    try:
        yield Contender(BUILT_IN, provider, another, empty, settle)
    finally:
        await provider.close()


def plain(url: str) -> str:
    """Return the URL without a driver's name, as the framework and drivers take it."""
    parsed = make_url(url)
    return parsed.set(drivername=parsed.get_backend_name()).render_as_string(hide_password=False)
