"""How this provider compares with the framework's built-in ones, which are hand-written SQL.

Every call of the contract, on the same server or on SQLite files in one folder: each provider in
its own tables. Ratios compare equal durability: after a power failure every acknowledged write is
there. On SQLite this provider is measured a second time with ``synchronous=NORMAL``, where the last
writes may be lost. MariaDB has no built-in provider.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from sqlalchemy import make_url

from benchmarks.calls import calls, primitives
from benchmarks.harness import Implementation, Session, Storage, Timed
from benchmarks.implementations import (
    OURS_NORMAL,
    beside,
    built_in,
    has_built_in,
    note_durability,
    ours,
)

INITIALIZE = "initialize, existing schema"


async def measure(session: Session) -> None:
    """Compare them in all calls."""
    if not has_built_in(session):
        return
    profile = session.profile
    async with AsyncExitStack() as opened:
        opened.enter_context(session.on_one_cpu())
        implementations = [
            await opened.enter_async_context(built_in(session.url)),
            await opened.enter_async_context(ours(session.url)),
        ]
        if make_url(session.url).get_backend_name() == "sqlite":
            file = Path(opened.enter_context(beside(session.url))) / "normal.db"
            normal = ours(f"sqlite:///{file}", OURS_NORMAL, synchronous="NORMAL")
            implementations.append(await opened.enter_async_context(normal))
        await note_durability(session, implementations)
        await session.compare([*primitives(profile), *calls(profile)], implementations)
        if session.wants(INITIALIZE):
            sides = {one.name: _start(one) for one in implementations}
            await session.measure_calls(INITIALIZE, sides)


def _start(implementation: Implementation) -> Timed:
    """Make a new provider and initialize it; closing it is not timed."""

    async def call(_: None) -> Storage:
        provider = implementation.another()
        await provider.initialize()
        return provider

    async def check(provider: Storage) -> None:
        assert await provider.get_heartbeat("nobody") is None

    return Timed(call, check, after=lambda provider: provider.close())
