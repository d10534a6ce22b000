"""A server of a cluster is killed under load, and every acknowledged write is there once."""

from __future__ import annotations

import pytest

from tests.support.servers.clusters import Galera, Replication
from tests.support.soak.failovers import kill_a_node, promote_the_standby
from tests.support.soak.tally import Tally
from tests.support.soak.writers import Writers

pytestmark = [pytest.mark.cluster, pytest.mark.server]


async def work(writers: Writers) -> None:
    """Wait for enough writes of each kind and process."""
    await writers.write(20)


async def test_a_node_of_galera_that_is_killed_loses_no_write(galera: Galera):
    counts, conflicts = await kill_a_node(galera, work)
    print(f"\n{conflicts} writes were undone because one on another node was first; {counts}")
    assert conflicts
    assert counts.errors == 0
    assert counts.anomalies == Tally().anomalies


async def test_a_standby_of_postgresql_that_is_promoted_has_every_write(replication: Replication):
    counts = await promote_the_standby(replication, work)
    print(f"\n{counts}")
    assert counts.errors == 0
    assert counts.anomalies == Tally().anomalies
