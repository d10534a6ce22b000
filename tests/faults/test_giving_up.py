"""A call that is given up, once or many times: it has no effect later, and no statement remains."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy import make_url

from slack_agents_sqlalchemy import DatabaseTimeoutError, Provider
from tests.conftest import NewProvider
from tests.support.observer import Observer
from tests.support.sql import watch_engine, with_driver

LARGE = "x" * 1_000_000  # in many pieces
OVERTAKERS = 40

DRIVERS = {
    "postgresql": ("asyncpg", "psycopg", "psycopg2"),
    "mariadb": ("aiomysql", "asyncmy", "pymysql"),
    "mysql": ("aiomysql", "asyncmy", "pymysql"),
}

servers = pytest.mark.parametrize("backend", ["postgresql", "mariadb", "mysql"], indirect=True)
everywhere = pytest.mark.parametrize(
    "backend", ["postgresql", "mariadb", "mysql", "sqlite-file"], indirect=True
)
drivers = pytest.mark.parametrize(
    ("backend", "driver"),
    [(backend, driver) for backend, drivers in DRIVERS.items() for driver in drivers]
    + [("sqlite-file", "pysqlite"), ("sqlite-file", "aiosqlite")],
    indirect=["backend"],
)


type GiveUp = Callable[[Callable[[], Coroutine[Any, Any, object]]], Awaitable[None]]


async def once(call: Callable[[], Coroutine[Any, Any, object]]) -> None:
    task = asyncio.ensure_future(call())
    await asyncio.sleep(0)  # it is on its way
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def twice(call: Callable[[], Coroutine[Any, Any, object]]) -> None:
    task = asyncio.ensure_future(call())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def in_a_scope_of_anyio(call: Callable[[], Coroutine[Any, Any, object]]) -> None:
    """Cancel a call as anyio does: again at each turn of the event loop, until it has ended."""
    async with anyio.create_task_group() as group:
        group.start_soon(call)
        await anyio.sleep(0)
        await anyio.sleep(0)
        group.cancel_scope.cancel()


ways = pytest.mark.parametrize("give_up", [once, twice, in_a_scope_of_anyio])


@drivers
@ways
async def test_a_write_that_was_given_up_does_not_overtake_the_next_one(
    database_url: str, new_provider: NewProvider, driver: str, give_up: GiveUp
):
    storage = await new_provider(url=with_driver(database_url, driver))
    await asyncio.gather(*(storage.set("plugin", str(n), {}) for n in range(5)))
    for number in range(OVERTAKERS):
        await give_up(lambda: storage.set("plugin", "key", {"n": -1, "text": LARGE}))
        await storage.set("plugin", "key", {"n": number})
        assert await storage.get("plugin", "key") == {"n": number}
    assert await asyncio.to_thread(Observer(database_url).transactions_left) == 0
    assert await storage.get("plugin", "key") == {"n": OVERTAKERS - 1}


@pytest.mark.parametrize(
    ("backend", "driver", "watch"),
    [
        (backend, driver, watch)
        for backend, names in {**DRIVERS, "sqlite-file": ("pysqlite", "aiosqlite")}.items()
        for driver in names
        for watch in (False, True)
        if watch or driver in ("asyncpg", "aiomysql", "pysqlite")  # those with a fast path
    ],
    indirect=["backend"],
)
@pytest.mark.parametrize("way", ["once", "twice", "anyio", "time limit"])
async def test_writes_that_wait_for_a_lock_and_are_given_up_are_never_stored(
    database_url: str, new_provider: NewProvider, driver: str, way: str, watch: bool
):
    limit = {"command_timeout": 0.5} if way == "time limit" else {}
    storage = await new_provider(url=with_driver(database_url, driver), pool_size=2, **limit)
    other = await new_provider(url=with_driver(database_url, driver))
    if watch:
        watch_engine(storage)
    await storage.set("plugin", "key", {"n": 0})
    observer = Observer(database_url)
    with observer.holding_a_row():
        for number in range(4):
            if way == "time limit":
                with pytest.raises(TimeoutError):
                    await storage.set("plugin", "key", {"given up": number})
            else:
                give_up = {"once": once, "twice": twice, "anyio": in_a_scope_of_anyio}[way]
                await give_up(partial(storage.set, "plugin", "key", {"given up": number}))
        # Nothing of them waits at the server, but the lock's holder and who looks.
        assert await asyncio.to_thread(observer.waiting) == 0
        assert await asyncio.to_thread(observer.sessions) <= 2 + 1 + 1
    await storage.set("plugin", "key", {"n": 1})
    assert await storage.get("plugin", "key") == {"n": 1}
    assert await asyncio.to_thread(observer.transactions_left) == 0
    assert await other.get("plugin", "key") == {"n": 1}


@pytest.mark.parametrize("driver", ["sqlite", "sqlite+aiosqlite"])
@pytest.mark.parametrize("backend", ["sqlite-file"], indirect=True)
async def test_a_write_that_took_too_long_is_not_stored_or_no_error(
    database_url: str, new_provider: NewProvider, driver: str
):
    url = make_url(database_url).set(drivername=driver)
    large = "x" * 60_000_000
    storage = await new_provider(url=url, command_timeout=0.05)
    other = await new_provider(url=url)
    for number in range(5):
        try:
            await storage.set("plugin", str(number), {"text": large})
        except DatabaseTimeoutError:
            is_returned = False
        else:
            is_returned = True
        is_there = await other.get("plugin", str(number)) is not None
        assert is_there == is_returned
        await other.delete("plugin", str(number))


@pytest.mark.parametrize("backend", ["sqlite-file"], indirect=True)
async def test_a_call_that_has_not_begun_at_its_time_limit_ends_before_the_call_before_it(
    new_provider: NewProvider, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("slack_agents_sqlalchemy.engine.transport._SETTLE_TIMEOUT", 3600)
    storage = await new_provider(command_timeout=0.2)
    await storage.set("plugin", "key", {"n": 0})
    has_begun, may_end = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def keep_the_connection(_connection: object) -> bool:
        loop.call_soon_threadsafe(has_begun.set)
        return may_end.wait(30)

    before = asyncio.ensure_future(storage._database.run(keep_the_connection, timeout=60))
    await has_begun.wait()
    calls: list[Callable[[], Coroutine[Any, Any, object]]] = [
        partial(storage.set, "plugin", "key", {"n": 1}),
        partial(storage.get, "plugin", "key"),
    ]
    for call in calls:
        with pytest.raises(DatabaseTimeoutError):
            await call()
        assert not before.done()
    may_end.set()
    assert await before
    assert await storage.get("plugin", "key") == {"n": 0}


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


@pytest.mark.parametrize("backend", ["sqlite-file"], indirect=True)
async def test_a_call_is_ended_and_a_file_closed_while_the_threads_of_the_event_loop_are_busy(
    new_provider: NewProvider, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("slack_agents_sqlalchemy.engine.transport._SETTLE_TIMEOUT", 3600)
    storage = await new_provider(command_timeout=0.2)
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))
    may_end = threading.Event()
    busy = loop.run_in_executor(None, may_end.wait)
    try:
        async with asyncio.timeout(60):
            with pytest.raises(DatabaseTimeoutError):
                await storage._database.run(
                    lambda connection: connection.exec_driver_sql(ENDLESS).scalar()
                )
            await storage.close()
    finally:
        may_end.set()
        await busy


@pytest.mark.parametrize("driver", ["sqlite", "sqlite+aiosqlite"])
@pytest.mark.parametrize("backend", ["sqlite-file"], indirect=True)
async def test_a_cancellation_at_the_time_limit_reaches_the_caller(
    database_url: str, new_provider: NewProvider, driver: str
):
    url = make_url(database_url).set(drivername=driver)
    storage = await new_provider(url=url, command_timeout=0.2)
    await storage.set("plugin", "key", {"n": 0})
    loop = asyncio.get_running_loop()
    with Observer(database_url).holding_a_row():
        for _ in range(3):
            call = asyncio.create_task(storage.set("plugin", "key", {"n": 1}))
            await asyncio.sleep(0)  # it has its time limit
            loop.call_at(loop.time() + 0.2, call.cancel)  # in the same turn of the event loop
            loop.call_at(loop.time() + 0.1, time.sleep, 0.2)
            await asyncio.wait((call,))
            assert call.cancelled()


@pytest.mark.parametrize("backend", ["sqlite-file"], indirect=True)
def test_a_file_is_closed_at_once_after_the_event_loop_of_a_call_that_was_given_up(fresh_url: str):
    storage = Provider(url=fresh_url)
    has_begun, may_end = threading.Event(), threading.Event()

    def keep_the_connection(_connection: object) -> None:
        has_begun.set()
        may_end.wait(60)

    async def give_up() -> None:
        await storage.initialize()
        call = asyncio.ensure_future(storage._database.run(keep_the_connection))
        await asyncio.to_thread(has_begun.wait)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

    async def close() -> None:
        async with asyncio.timeout(60):
            await storage._database.close(timeout=3600)

    asyncio.run(give_up())
    may_end.set()
    asyncio.run(close())


CLOSED_UNDER_A_WRITER = """
import asyncio, sqlite3, sys
from slack_agents_sqlalchemy import Provider

async def main(url, path):
    storage = Provider(url=url)
    await storage.initialize()
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    writing = asyncio.create_task(storage.set("plugin", "key", {"n": 1}))
    await asyncio.sleep(0.3)
    writing.cancel()
    await storage.close()
    [result] = await asyncio.gather(writing, return_exceptions=True)
    print(type(result).__name__)
    holder.execute("COMMIT")
    print(holder.execute("SELECT count(*) FROM slack_agents_key_values").fetchone()[0])

asyncio.run(main(sys.argv[1], sys.argv[2]))
"""


@pytest.mark.parametrize("driver", ["sqlite", "sqlite+aiosqlite"])
def test_a_file_is_closed_while_a_call_waits_for_its_lock(tmp_path: Path, driver: str):
    path = tmp_path / "agents.db"
    done = subprocess.run(
        [sys.executable, "-c", CLOSED_UNDER_A_WRITER, f"{driver}:///{path}", str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["CancelledError", "0"]
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@everywhere
def test_a_storage_is_started_several_times_concurrently_in_each_of_two_event_loops(fresh_url: str):
    storage = Provider(url=fresh_url)

    async def start() -> None:
        await asyncio.gather(*(storage.initialize() for _ in range(3)))
        await storage.set("plugin", "key", {"n": 1})
        await storage.close()

    asyncio.run(start())
    asyncio.run(start())


FORKED = """
import asyncio, os, sys
from slack_agents_sqlalchemy import NotInitializedError, Provider

storage = Provider(url=sys.argv[1])

async def begin():
    await storage.initialize()
    await storage.set("plugin", "key", {"n": 1})

async def go_on():
    try:
        await storage.get("plugin", "key")
    except NotInitializedError as exc:
        # The end of the event loop has closed what belonged to it.
        assert "fork" in str(exc) or "is closed" in str(exc), exc
    else:
        raise AssertionError("a connection of the parent was used")
    await storage.close()
    await storage.initialize()
    assert await storage.get("plugin", "key") == {"n": 1}
    await storage.set("plugin", "key", {"n": 2})
    await storage.close()

asyncio.run(begin())
child = os.fork()
if child == 0:
    asyncio.run(go_on())
    os._exit(0)
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@everywhere
def test_a_forked_process_gets_an_error_that_says_to_initialize_the_storage(fresh_url: str):
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKED, fresh_url],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
