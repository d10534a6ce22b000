"""How much faster the overrides are than the base class's defaults on the same primitives.

Every call that the base class has a default for, by this package's provider and by its primitives
alone: same engine, same pool, same database, each case from empty tables.
"""

from benchmarks.calls import calls
from benchmarks.harness import Session
from benchmarks.implementations import DEFAULTS, ours


async def measure(session: Session) -> None:
    """Compare the two in all calls."""
    with session.on_one_cpu():
        async with ours(session.url) as overrides, ours(session.url, DEFAULTS) as defaults:
            await session.compare(calls(session.profile), [overrides, defaults])
