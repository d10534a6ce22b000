"""How much faster the overrides are than the base class's defaults on the same primitives.

Every call of the contract, by this package's provider and by :class:`PrimitivesOnly`: same engine,
same pool, same database, each case from empty tables.
"""

from contextlib import AsyncExitStack

from benchmarks.calls import CASES
from benchmarks.harness import Session, contender
from benchmarks.primitives_only import PrimitivesOnly
from slack_agents_sqlalchemy import Provider


async def measure(session: Session) -> None:
    """Compare the two in all calls."""
    providers = {
        "overrides": Provider(url=session.url),
        "defaults": PrimitivesOnly(url=session.url),
    }
    async with AsyncExitStack() as opened:
        opened.enter_context(session.on_one_cpu())
        for provider in providers.values():
            await provider.initialize()
            opened.push_async_callback(provider.close)
        contenders = [contender(name, provider) for name, provider in providers.items()]
        await session.compare(CASES, contenders)
