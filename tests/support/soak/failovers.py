"""A server of a cluster dies under load; what each process was told is compared with the others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tests.support.servers.clusters import Galera, Replication
from tests.support.soak.runs import judge, opened, ours
from tests.support.soak.tally import Tally
from tests.support.soak.writers import Writers

PATIENCE = 30
"""Seconds that a failover may take: a machine that runs other tests too is slow."""

type Work = Callable[[Writers], Awaitable[None]]


async def kill_a_node(
    galera: Galera, work: Work, harm: Callable[[], None] | None = None
) -> tuple[Tally, int]:
    """Kill a node of three, the first.

    Args:
        galera: The cluster.
        work: What to do before, and after.
        harm: What befalls the node instead.

    Returns:
        The counts on both nodes that are left, and the writes that were undone before because one
        on another node was first.
    """
    one, two, three = galera.members
    # Each process has another node first, so that their writes meet at the commit.
    urls = galera.url(one, two, three), galera.url(two, three, one)
    async with Writers() as writers:
        await writers.start([ours(connect_timeout=PATIENCE)(url) for url in urls])
        await work(writers)
        conflicts = one.conflicts + two.conflicts
        (harm or one.process.kill)()
        await work(writers)
        await writers.settle()
        await writers.end()
    counts = [await _judge(writers, galera.url(node)) for node in (two, three)]
    return max(counts, key=lambda one: sum(one.faults.values())), conflicts


async def promote_the_standby(
    replication: Replication,
    work: Work,
    harm: Callable[[], None] | None = None,
    patience: float = PATIENCE,
) -> Tally:
    """Kill the primary and promote its standby.

    Args:
        replication: The two.
        work: What to do before, and after.
        harm: What befalls the primary instead.
        patience: Seconds of `connect_timeout`.
    """
    primary, standby = replication.members
    # The second process asks the standby first, which refuses to write.
    urls = replication.url(primary, standby), replication.url(standby, primary)
    async with Writers() as writers:
        await writers.start([ours(connect_timeout=patience)(url) for url in urls])
        await work(writers)
        (harm or primary.process.kill)()
        replication.promote(standby)
        await work(writers)
        await writers.settle()
        await writers.end()
    return await _judge(writers, replication.url(standby))


async def _judge(writers: Writers, url: str) -> Tally:
    async with opened(ours(migrate="off")(url)) as storage:
        return await judge(writers, storage)
