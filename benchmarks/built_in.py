"""How this provider compares with the framework's built-in ones, which are hand-written SQL.

Every call of the contract, on the same server or on a SQLite file beside the other's: each provider
in its own tables, from empty. MariaDB has no built-in provider, and is passed over.
"""

from __future__ import annotations

import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from slack_agents.storage import postgres, sqlite
from sqlalchemy import make_url

from benchmarks.calls import CASES, PRIMITIVE_CASES
from benchmarks.harness import Contender, Session, contender
from slack_agents_sqlalchemy import Provider

_TABLES = (
    "conversations",
    "messages",
    "agent_heartbeats",
    "kv_store",
    "list_store",
    "oauth_tokens",
    "oauth_clients",
)
_POSTGRESQL_BLOCKS = ("text_blocks", "file_blocks", "tool_blocks", "usage_blocks")


async def measure(session: Session) -> None:
    """Compare the two in all calls."""
    dialect = make_url(session.url).get_backend_name()
    if dialect not in ("postgresql", "sqlite"):
        return
    async with AsyncExitStack() as opened:
        opened.enter_context(session.on_one_cpu())
        ours = Provider(url=session.url)
        await ours.initialize()
        opened.push_async_callback(ours.close)
        if dialect == "postgresql":
            theirs = await _postgresql(session.url, opened)
        else:
            folder = opened.enter_context(tempfile.TemporaryDirectory())
            theirs = await _sqlite(Path(folder) / "built-in.db", opened)
        contenders = [theirs, contender("this provider", ours)]
        await session.compare([*PRIMITIVE_CASES, *CASES], contenders)


async def _postgresql(url: str, opened: AsyncExitStack) -> Contender:
    provider = postgres.Provider(url)
    await provider.initialize()
    opened.push_async_callback(provider.close)
    tables = ", ".join((*_TABLES, *_POSTGRESQL_BLOCKS))

    async def empty() -> None:
        await provider.pool.execute(f"TRUNCATE {tables}")

    async def settle() -> None:
        await provider.pool.execute(f"VACUUM ANALYZE {tables}")

    return Contender("built-in", provider, empty, settle)


async def _sqlite(file: Path, opened: AsyncExitStack) -> Contender:
    provider = sqlite.Provider(str(file))
    await provider.initialize()
    opened.push_async_callback(provider.close)

    async def empty() -> None:
        for table in ("blocks", *reversed(_TABLES)):
            await provider._db.execute(f"DELETE FROM {table}")
        await provider._db.commit()

    async def settle() -> None:
        await provider._db.commit()

    return Contender("built-in", provider, empty, settle)
