"""Stress: hundreds of calls that are cancelled or take too long leave nothing behind."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
from typing import Any

import pytest
from sqlalchemy import make_url

from slack_agents_sqlalchemy import DatabaseTimeoutError, Provider
from slack_agents_sqlalchemy.testing.connections import connections_left
from tests.support.calls import single_statement_calls
from tests.support.observer import SETTLED, Observer

WAVES = 6
CALLS = 60  # of each wave: six times the connections
GIVEN_UP = 0.03  # seconds, at most
LIMIT = 2.0  # seconds that a call may take, where a lock keeps it for longer

every_driver = pytest.mark.parametrize(
    ("backend", "driver"),
    [
        ("sqlite-file", "sqlite"),
        ("sqlite-file", "sqlite+aiosqlite"),
        ("postgresql", "postgresql+asyncpg"),
        ("mariadb", "mariadb+aiomysql"),
        ("mysql", "mysql+aiomysql"),
    ],
    indirect=["backend"],
)


@pytest.fixture
def observer(database_url: str) -> Observer:
    return Observer(database_url)


# asyncpg 0.32 forgets the future of a line that it gives up while it asks for TLS, where that is
# optional: its own connections, and those by which it cancels. `sslmode=disable` has none of these.
FORGOTTEN_BY_ASYNCPG = "unexpected connection_lost() call"


@pytest.fixture
async def never_retrieved() -> list[dict[str, Any]]:
    """What the event loop complains of."""
    complaints: list[dict[str, Any]] = []

    def note(_loop: object, context: dict[str, Any]) -> None:
        if str(context.get("exception")) != FORGOTTEN_BY_ASYNCPG:
            complaints.append(context)

    asyncio.get_running_loop().set_exception_handler(note)
    return complaints


async def cancel_callers(storage: Provider) -> None:
    """Make every kind of call, by more callers than there are connections; half of them give up."""
    chance = random.Random(5)
    loop = asyncio.get_running_loop()
    calls = list((await single_statement_calls(storage)).values())
    for _ in range(WAVES):
        tasks = [asyncio.ensure_future(chance.choice(calls)()) for _ in range(CALLS)]
        for task in tasks[::2]:
            loop.call_later(chance.uniform(0, GIVEN_UP), task.cancel)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [one for one in results if isinstance(one, Exception)] == []


async def make_calls_too_slow(storage: Provider, observer: Observer) -> None:
    """Have every writer wait for longer than a call may take."""
    await storage.set("namespace", "key", {"kept": True})
    with observer.holding_a_row():
        calls = [storage.set("namespace", "key", {"n": n}) for n in range(CALLS)]
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(one, DatabaseTimeoutError) for one in results)


async def nothing_remains(
    storage: Provider, observer: Observer, threads: set[threading.Thread]
) -> None:
    """See that every connection is there and idle, and after closing that no thread is."""
    await asyncio.gather(*(storage.get("namespace", "key") for _ in range(CALLS)))
    assert await connections_left(storage) == 0
    observer.nothing_is_left()
    await asyncio.gather(*(storage.set("namespace", str(n), {"n": n}) for n in range(CALLS)))
    assert await connections_left(storage) == 0
    await storage.close()
    for thread in set(threading.enumerate()) - threads:
        if not thread.name.startswith("asyncio_"):  # the event loop's own, which ends with it
            thread.join(SETTLED)
            assert not thread.is_alive(), thread


@every_driver
async def test_callers_that_give_up_leave_nothing_behind(
    database_url: str,
    driver: str,
    observer: Observer,
    never_retrieved: list[dict[str, Any]],
):
    threads = set(threading.enumerate())
    storage = Provider(url=make_url(database_url).set(drivername=driver))
    await storage.initialize()
    await cancel_callers(storage)
    await nothing_remains(storage, observer, threads)
    del storage
    gc.collect()
    assert never_retrieved == []


@every_driver
async def test_calls_that_took_too_long_leave_nothing_behind(
    database_url: str,
    driver: str,
    observer: Observer,
    never_retrieved: list[dict[str, Any]],
):
    threads = set(threading.enumerate())
    storage = Provider(url=make_url(database_url).set(drivername=driver), command_timeout=LIMIT)
    await storage.initialize()
    await make_calls_too_slow(storage, observer)
    await nothing_remains(storage, observer, threads)
    del storage
    gc.collect()
    assert never_retrieved == []
