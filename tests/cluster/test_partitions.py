"""A network partition within a cluster: every acknowledged write is stored."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.test_failover import work
from tests.conftest import skip
from tests.support.namespaces import Lan
from tests.support.servers import ServerMissingError
from tests.support.servers.clusters import Galera, Replication, Seat
from tests.support.soak.failovers import kill_a_node, promote_the_standby
from tests.support.soak.tally import Tally

pytestmark = [pytest.mark.cluster, pytest.mark.server]


@pytest.fixture
def pair() -> Iterator[Lan]:
    yield from _lan(2)


@pytest.fixture
def trio() -> Iterator[Lan]:
    yield from _lan(3)


def _lan(hosts: int) -> Iterator[Lan]:
    try:
        lan = Lan(hosts)
    except ServerMissingError as missing:
        skip(missing)
    yield lan
    lan.remove()


def seats(lan: Lan) -> list[Seat]:
    pairs = zip(lan.hosts, lan.sockets, strict=True)
    return [Seat(host.place, socket.address) for host, socket in pairs]


@pytest.fixture
def replication(pair: Lan) -> Iterator[Replication]:
    try:
        cluster = Replication.start(seats(pair))
    except ServerMissingError as missing:
        skip(missing)
    yield cluster
    cluster.stop()


@pytest.fixture
def galera(trio: Lan) -> Iterator[Galera]:
    try:
        cluster = Galera.start(seats(trio))
    except ServerMissingError as missing:
        skip(missing)
    yield cluster
    cluster.stop()


async def test_a_standby_takes_over_from_an_unreachable_primary(
    pair: Lan, replication: Replication
):
    def go_down() -> None:
        pair.sockets[0].go_down()
        pair.hosts[0].links[0].go_down()

    # A short time: each call in flight waits for it.
    counts = await promote_the_standby(replication, work, go_down, connect_timeout=4)
    replication.members[0].process.kill()  # it would wait for the standby
    print(f"\n{counts}")
    assert counts.errors == 0
    assert counts.anomalies == Tally().anomalies


async def test_a_node_of_galera_that_lost_the_others_loses_no_write(trio: Lan, galera: Galera):
    # Its clients reach it still.
    counts, _ = await kill_a_node(galera, work, trio.sockets[0].go_down)
    print(f"\n{counts}")
    assert counts.errors == 0
    assert counts.anomalies == Tally().anomalies
