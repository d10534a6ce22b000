"""Network partitions: packets are lost without an error, and calls continue or end in time.

The servers run in network namespaces of their own, whose links go down.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest
from sqlalchemy import make_url

from slack_agents_sqlalchemy import Provider
from tests.conftest import skip
from tests.support.namespaces import Host, Link
from tests.support.observer import Observer
from tests.support.servers import MariaDB, MySQL, PostgreSQL, Server, ServerMissingError
from tests.support.soak.faults import Target
from tests.support.soak.runs import ours, run
from tests.support.soak.tally import Tally
from tests.support.soak.writers import Writers

pytestmark = pytest.mark.server

CONNECT_TIMEOUT = 2.0  # seconds
PARTITION = 2.5  # seconds; longer, so that lines are given up, and short enough to be waited for
PAUSE = 1.5  # seconds between two partitions; TCP tries to connect once a second
WRITES = 5
"""Of each kind and process, while the fault lasts."""
CALLERS = 8
LONG_BEFORE_COMMAND_TIMEOUT = 30.0  # seconds


class Remote(NamedTuple):
    """A server on another host, to which two links lead."""

    host: Host
    server: Server

    def url(self, database: str, *links: Link) -> str:
        """Return the URL of a database by these links, in this order."""
        plain = make_url(database)
        hosts = {"host": [f"{link.address}:{plain.port}" for link in links]}
        several = plain.set(host=None, port=None).update_query_dict(hosts)
        return several.render_as_string(hide_password=False)


@pytest.fixture(scope="module", params=[PostgreSQL, MariaDB, MySQL])
def remote(request: pytest.FixtureRequest) -> Iterator[Remote]:
    try:
        host = Host(links=2)
    except ServerMissingError as missing:
        skip(missing)
    try:
        server: Server = request.param.start(durable=True, place=host.place)
        yield Remote(host, server)
        server.close()
    except ServerMissingError as missing:
        skip(missing)
    finally:
        host.remove()


@pytest.fixture
def database(remote: Remote) -> Iterator[str]:
    url = remote.server.create_database()
    yield url
    remote.server.drop_database(url)


async def work(writers: Writers) -> None:
    await writers.write(WRITES)


@pytest.mark.parametrize("remote", [PostgreSQL], indirect=True)  # TCP heals it for any server
async def test_a_short_partition_is_no_error_of_any_call(remote: Remote, database: str):
    link = remote.host.links[0]

    @asynccontextmanager
    async def partition(_target: Target) -> AsyncIterator[None]:
        for pause in (PAUSE, 0):
            link.go_down()
            await asyncio.sleep(PARTITION)
            link.come_up()
            await asyncio.sleep(pause)
        yield

    counts = await run(
        ours(connect_timeout=CONNECT_TIMEOUT),
        database,
        work,
        directly=remote.url(database, link),
        fault=partition,
    )
    print(f"\n{counts}")
    assert counts.errors == 0
    assert counts.anomalies == Tally().anomalies


async def test_calls_use_another_host_when_one_is_unreachable(remote: Remote, database: str):
    first, second = remote.host.links

    @asynccontextmanager
    async def partition(_target: Target) -> AsyncIterator[None]:
        first.go_down()
        yield

    try:
        counts = await run(
            ours(connect_timeout=CONNECT_TIMEOUT),
            database,
            work,
            directly=remote.url(database, first, second),
            fault=partition,
        )
    finally:
        first.come_up()
    print(f"\n{counts}")
    assert counts.errors == 0
    assert counts.anomalies == Tally().anomalies


async def test_a_long_partition_ends_each_call_in_time_and_calls_work_after_it(
    remote: Remote, database: str
):
    link = remote.host.links[0]
    storage = Provider(url=remote.url(database, link), connect_timeout=0.5)
    await storage.initialize()
    acknowledged: list[int] = []
    longest = 0.0
    failed = 0
    is_over = False

    async def call(caller: int) -> None:
        nonlocal longest, failed
        number = caller
        while not is_over:
            number += CALLERS
            started = time.monotonic()
            try:
                await storage.append("namespace", "list", {"number": number})
            except (ConnectionError, TimeoutError):
                failed += 1
            else:
                acknowledged.append(number)
            longest = max(longest, time.monotonic() - started)

    callers = [asyncio.create_task(call(caller)) for caller in range(CALLERS)]
    await until(lambda: len(acknowledged) >= CALLERS)
    link.go_down()
    await asyncio.sleep(PARTITION)
    link.come_up()
    before = len(acknowledged)
    await until(lambda: len(acknowledged) >= before + CALLERS)
    is_over = True
    await asyncio.gather(*callers)
    items = Counter(item["number"] for item in await storage.get_list("namespace", "list"))
    await storage.close()
    print(f"\n{failed} calls failed, the longest took {longest:.1f} s")
    assert failed >= CALLERS
    assert longest < LONG_BEFORE_COMMAND_TIMEOUT
    assert set(items.values()) == {1}
    assert set(acknowledged) <= set(items)


async def test_a_partition_is_noticed_while_a_response_is_awaited(remote: Remote, database: str):
    link = remote.host.links[0]
    storage = Provider(url=remote.url(database, link), connect_timeout=1)
    await storage.initialize()
    await storage.set("namespace", "key", {"n": 0})
    started = time.monotonic()
    with Observer(database).holding_a_row():
        call = asyncio.create_task(storage.set("namespace", "key", {"n": 1}))
        await asyncio.wait({call}, timeout=0.5)
        assert not call.done()
        link.go_down()  # everything that was sent is acknowledged: only probes detect it
        with pytest.raises(ConnectionError):
            await call
        link.come_up()
    print(f"\nit was detected after {time.monotonic() - started:.1f} s")
    assert time.monotonic() - started < LONG_BEFORE_COMMAND_TIMEOUT
    await storage.set("namespace", "key", {"n": 2})
    await storage.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.01)
