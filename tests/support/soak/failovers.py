"""A server of a cluster fails under load; acknowledged writes are compared with the rows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tests.support.servers.clusters import Galera, Replication
from tests.support.soak.runs import judge, opened, ours
from tests.support.soak.tally import Tally
from tests.support.soak.writers import Writers

FAILOVER_SECONDS = 30
"""Seconds that a failover may take: a machine that runs other tests too is slow."""

type Work = Callable[[Writers], Awaitable[None]]


async def kill_a_node(
    galera: Galera, work: Work, fault: Callable[[], None] | None = None
) -> tuple[Tally, int]:
    """Kill a node of three, the first.

    Args:
        galera: The cluster.
        work: What to do before, and after.
        fault: What happens to the node instead.

    Returns:
        The counts on both nodes that are left, and the writes that were undone before because one
        on another node was first.
    """
    one, two, three = galera.members
    # Each process has another node first, so that their writes meet at the commit.
    urls = galera.url(one, two, three), galera.url(two, three, one)
    async with Writers() as writers:
        await writers.start([ours(connect_timeout=FAILOVER_SECONDS)(url) for url in urls])
        await work(writers)
        conflicts = one.conflicts + two.conflicts
        (fault or one.process.kill)()
        await work(writers)
        await writers.settle()
        await writers.end()
    counts = [await _judge(writers, galera.url(node)) for node in (two, three)]
    return max(counts, key=lambda one: sum(one.anomalies.values())), conflicts


async def promote_the_standby(
    replication: Replication,
    work: Work,
    fault: Callable[[], None] | None = None,
    connect_timeout: float = FAILOVER_SECONDS,
) -> Tally:
    """Kill the primary and promote its standby.

    Args:
        replication: The two.
        work: What to do before, and after.
        fault: What happens to the primary instead.
        connect_timeout: The option of the providers.
    """
    primary, standby = replication.members
    # The second process asks the standby first, which refuses to write.
    urls = replication.url(primary, standby), replication.url(standby, primary)
    async with Writers() as writers:
        await writers.start([ours(connect_timeout=connect_timeout)(url) for url in urls])
        await work(writers)
        (fault or primary.process.kill)()
        replication.promote(standby)
        await work(writers)
        await writers.settle()
        await writers.end()
    return await _judge(writers, replication.url(standby))


async def _judge(writers: Writers, url: str) -> Tally:
    async with opened(ours(migrate="off")(url)) as storage:
        return await judge(writers, storage)
