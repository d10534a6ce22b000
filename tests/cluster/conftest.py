"""Clusters, each started once for its tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import skip
from tests.support.servers import ServerMissingError
from tests.support.servers.clusters import Galera, Replication


@pytest.fixture
def galera() -> Iterator[Galera]:
    try:
        cluster = Galera.start()
    except ServerMissingError as missing:
        skip(missing)
    yield cluster
    cluster.stop()


@pytest.fixture
def replication() -> Iterator[Replication]:
    try:
        cluster = Replication.start()
    except ServerMissingError as missing:
        skip(missing)
    yield cluster
    cluster.stop()
