"""How this provider compares with the framework's built-in ones, which are hand-written SQL.

Every call of the contract, on the same server or on a SQLite file beside the other's: each provider
in its own tables. MariaDB has no built-in provider, and is passed over.
"""

from __future__ import annotations

from benchmarks.calls import calls, primitives
from benchmarks.contenders import built_in, has_built_in, ours
from benchmarks.harness import Contender, Session, Storage, Timed

INITIALIZE = "initialize, existing schema"


async def measure(session: Session) -> None:
    """Compare the two in all calls."""
    if not has_built_in(session.url):
        return
    pace = session.pace
    with session.on_one_cpu():
        async with built_in(session.url) as theirs, ours(session.url) as mine:
            contenders = [theirs, mine]
            await session.compare([*primitives(pace), *calls(pace)], contenders)
            if session.wants(INITIALIZE):
                sides = {one.name: _start(one) for one in contenders}
                await session.race_calls(INITIALIZE, sides)


def _start(contender: Contender) -> Timed:
    """Make a new provider and initialize it; closing it is not timed."""

    async def call(_: None) -> Storage:
        provider = contender.another()
        await provider.initialize()
        return provider

    async def check(provider: Storage) -> None:
        assert await provider.get_heartbeat("nobody") is None

    return Timed(call, check, after=lambda provider: provider.close())
