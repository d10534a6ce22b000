"""Connections that calls keep checked out; a module without pytest, which starts slowly."""

import asyncio
from contextlib import suppress

from sqlalchemy.pool import QueuePool

from slack_agents_sqlalchemy.provider import Provider

_CLEANUP_TIMEOUT = 10.0  # seconds within which a cancelled call returns its connection


async def connections_left(provider: Provider) -> int:
    """Return the number of connections that a provider keeps checked out after its calls.

    Waits until it is 0, for a limited time: a cancelled call may need a moment. The pool itself
    counts; an event listener would switch the fast path off.
    """
    pool = provider.engine.pool
    if not isinstance(pool, QueuePool):  # other pools do not count
        return 0
    with suppress(TimeoutError):
        async with asyncio.timeout(_CLEANUP_TIMEOUT):
            while pool.checkedout():  # noqa: ASYNC110 - a pool has no event to wait for
                await asyncio.sleep(0.01)
    return pool.checkedout()
