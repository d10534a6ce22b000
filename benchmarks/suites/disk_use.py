"""How many bytes on disk the same conversations take.

The same conversations of a hundred messages, five blocks to a message, written by each provider
into empty tables: a question of 240 characters, a tool call of 800, an answer of 936, a file of
one byte and the usage. Indexes count. Large files take the same room everywhere, so there is none.
Measured as written (SQLite: with the write-ahead log moved into the file), and after the database
has packed its tables (``VACUUM``, on PostgreSQL ``VACUUM FULL``).
"""

from __future__ import annotations

from contextlib import AsyncExitStack

from sqlalchemy import make_url

from benchmarks import samples
from benchmarks.harness import Comparison, Implementation, Session
from benchmarks.implementations import BUILT_IN, POSTGRESQL_TABLES, built_in, has_built_in, ours
from slack_agents_sqlalchemy.models import metadata

MESSAGES = 20_000

_MESSAGES_EACH = 100
_CASES = ("as written", "after VACUUM")
_OUR_TABLES = tuple(table.name for table in metadata.sorted_tables)
_SQLITE_PAGES = "PRAGMA page_count", "PRAGMA freelist_count", "PRAGMA page_size"


async def measure(session: Session) -> None:
    """Write the conversations, and ask the database for the size of its tables."""
    messages = max(session.profile.size(MESSAGES), _MESSAGES_EACH)
    blocks = messages * len(samples.EXCHANGE)
    wanted = [case for case in _CASES if session.wants(case)]
    if not wanted:
        return
    name = make_url(session.url).get_backend_name()
    if name not in ("postgresql", "sqlite"):
        session.notes.append(f"there is no query for the size of the tables of {name}")
        return
    sizes: dict[str, dict[str, list[list[float]]]] = {case: {} for case in wanted}
    async with AsyncExitStack() as opened:
        implementations = [await opened.enter_async_context(ours(session.url))]
        if has_built_in(session):
            implementations.insert(0, await opened.enter_async_context(built_in(session.url)))
        for one in implementations:
            session.show(f"{one.name}: writing {blocks:,} blocks")
            await one.empty()
            try:
                await _write(one, name, messages)
                for case in wanted:
                    if case != _CASES[0]:
                        await _pack(one, name)
                    await one.settle()
                    sizes[case][one.name] = [[float(await _size(one, name))]]
            finally:
                await one.empty()
    for case, rounds in sizes.items():
        of = f"{messages:,} messages, {blocks:,} blocks"
        session.comparisons.append(Comparison(f"{of}, {case}", rounds, unit="bytes"))


async def _write(implementation: Implementation, database: str, messages: int) -> None:
    if database == "sqlite":  # the size does not depend on whether a call waits for the disk
        await implementation.scalar("PRAGMA synchronous = OFF")
    await samples.fill(
        _converse(implementation, f"{number}.0") for number in range(messages // _MESSAGES_EACH)
    )


async def _converse(implementation: Implementation, thread: str) -> None:
    opened = await samples.conversation(implementation.storage, thread)
    await samples.exchanges(implementation.storage, opened, _MESSAGES_EACH, f"toolu_{thread}")


async def _pack(implementation: Implementation, database: str) -> None:
    tables = ", ".join(_tables(implementation))
    await implementation.scalar(f"VACUUM FULL {tables}" if database == "postgresql" else "VACUUM")


async def _size(implementation: Implementation, database: str) -> int:
    if database == "sqlite":
        pages, free, page_size = [int(await implementation.scalar(one)) for one in _SQLITE_PAGES]
        return (pages - free) * page_size
    tables = ", ".join(f"('{name}')" for name in _tables(implementation))
    return int(
        await implementation.scalar(
            f"SELECT sum(pg_total_relation_size(name::regclass)) FROM (VALUES {tables}) AS t (name)"
        )
    )


def _tables(implementation: Implementation) -> tuple[str, ...]:
    return POSTGRESQL_TABLES if implementation.name == BUILT_IN else _OUR_TABLES
