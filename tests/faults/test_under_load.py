"""Processes write while faults are injected, and acknowledged writes are stored afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.conftest import skip
from tests.support.servers import (
    MariaDB,
    MySQL,
    PostgreSQL,
    PrivateProcess,
    Server,
    ServerMissingError,
)
from tests.support.soak.faults import FAULTS, NEED_A_PRIVATE_SERVER, Fault
from tests.support.soak.runs import ours, run
from tests.support.soak.tally import Tally
from tests.support.soak.writers import Writers

WRITES = 10
"""Of each kind and process, while the fault lasts."""
SECONDS = 2.0
"""That a repeated fault lasts at least."""

durable_databases = pytest.mark.parametrize(
    "backend", ["sqlite-file", "postgresql", "mariadb", "mysql"], indirect=True
)
servers = pytest.mark.parametrize("backend", ["postgresql", "mariadb", "mysql"], indirect=True)


async def work(writers: Writers) -> None:
    """Wait until there are enough writes, and the fault was injected."""
    await asyncio.gather(writers.write(WRITES), asyncio.sleep(SECONDS))


@servers
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fault, id=name)
        for name, fault in FAULTS.items()
        if name in ("lines delayed", "connections killed", "lines cut")
    ],
)
async def test_every_call_is_answered_and_every_write_there_once(fresh_url: str, fault: Fault):
    counts = await run(ours(), fresh_url, work, fault=fault)
    assert counts.errors == 0
    assert counts.anomalies == Tally().anomalies


@durable_databases
async def test_eight_processes_get_one_conversation_for_each_thread_and_each_its_own_order(
    fresh_url: str,
):
    counts = await run(ours(), fresh_url, lambda writers: writers.write(5), processes=8)
    assert counts.errors == 0
    assert counts.anomalies == Tally().anomalies


@durable_databases
async def test_processes_whose_callers_give_up_leave_nothing_behind(fresh_url: str):
    counts = await run(ours(), fresh_url, work, gives_up=True)
    assert counts.errors == 0
    assert counts.anomalies == Tally().anomalies


@servers
async def test_lines_that_freeze_end_each_call_in_time_and_leave_nothing_behind(fresh_url: str):
    counts = await run(
        ours(command_timeout=1),
        fresh_url,
        work,
        fault=FAULTS["lines frozen"],
        hung_after=10,
    )
    assert counts.anomalies == Tally().anomalies


@pytest.fixture(params=[PostgreSQL, MariaDB, MySQL])
def private(request: pytest.FixtureRequest) -> Iterator[tuple[str, PrivateProcess]]:
    """The URL of a database, and its server."""
    try:
        server: Server = request.param.start(durable=True)
    except ServerMissingError as missing:
        skip(missing)
    assert server.process is not None
    yield server.create_database(), server.process
    server.close()


@pytest.mark.server
@pytest.mark.parametrize("name", NEED_A_PRIVATE_SERVER)
async def test_a_server_that_stops_is_waited_for(private: tuple[str, PrivateProcess], name: str):
    url, process = private
    counts = await run(ours(connect_timeout=30), url, work, fault=FAULTS[name], process=process)
    assert counts.errors == 0
    assert counts.anomalies == Tally().anomalies
