"""Cancelled callers: their calls end, and leave no connection, transaction or lock."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import pytest
from sqlalchemy import QueuePool, event
from sqlalchemy.util import await_only

from slack_agents_sqlalchemy import LockTimeoutError, NotInitializedError, Provider
from tests.conftest import AnHourLater, NewProvider
from tests.support.observer import SETTLED, Observer
from tests.support.relay import Relay
from tests.support.sql import both_paths, watch_engine

servers = pytest.mark.parametrize("backend", ["postgresql", "mariadb", "mysql"], indirect=True)

LARGE = "x" * 1_000_000  # in many pieces, which the relay delays


@servers
@both_paths
async def test_what_a_caller_does_after_it_gave_up_is_not_overtaken_by_what_it_gave_up(
    relayed: Provider, relay: Relay, storage: Provider, database_url: str, watch: bool
):
    if watch:
        watch_engine(relayed)
    await asyncio.gather(*(relayed.set("plugin", str(n), {}) for n in range(3)))
    relay.delay(0.01)
    for number in range(5):
        given_up = asyncio.create_task(relayed.set("plugin", "key", {"n": -1, "text": LARGE}))
        await asyncio.sleep(0.005)  # it is on its way
        given_up.cancel()
        with suppress(asyncio.CancelledError):
            await given_up
        await relayed.set("plugin", "key", {"n": number})
        assert await asyncio.to_thread(Observer(database_url).transactions_left) == 0
        assert await storage.get("plugin", "key") == {"n": number}


@servers
@both_paths
async def test_a_caller_that_gives_up_while_its_connection_is_checked_leaves_it_to_others(
    new_provider: NewProvider, watch: bool, an_hour_later: AnHourLater
):
    storage = await new_provider(pool_size=1, command_timeout=5)
    if watch:
        watch_engine(storage)
    await storage.set("plugin", "key", {"n": 1})
    kept: list[object] = []  # with its traceback, which would keep the connection
    for steps in range(4):
        an_hour_later()
        call = asyncio.ensure_future(storage.get("plugin", "key"))
        for _ in range(steps):
            await asyncio.sleep(0)
        call.cancel()
        kept += await asyncio.gather(call, return_exceptions=True)
        assert await storage.get("plugin", "key") == {"n": 1}
    pool = storage.engine.pool
    assert isinstance(pool, QueuePool)
    assert pool.checkedout() == 0


@servers
async def test_a_close_that_is_given_up_closes_all_the_same(backend: str, fresh_url: str):
    storage = Provider(url=fresh_url)
    await storage.initialize()
    await storage.set("plugin", "key", {})
    observer = Observer(fresh_url)
    with observer.holding_a_row():
        waiting = asyncio.create_task(storage.set("plugin", "key", {"n": 1}))
        await asyncio.sleep(0)  # it is on its way
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(storage.close(), 0.1)
        with pytest.raises(NotInitializedError):
            await storage.get("plugin", "key")
    await asyncio.gather(waiting, return_exceptions=True)
    await storage.close()
    assert await asyncio.to_thread(observer.kill_connections) == 0


@pytest.mark.parametrize("backend", ["mariadb", "mysql"], indirect=True)
async def test_a_slow_network_does_not_keep_a_write_that_was_given_up_from_being_ended(
    relayed: Provider,
    relay: Relay,
    storage: Provider,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
):
    # A request to the server takes longer than the time after which a call is interrupted.
    monkeypatch.setattr("slack_agents_sqlalchemy.engine.tasks.GRACE", 0.01)
    monkeypatch.setattr("slack_agents_sqlalchemy.engine.pool._INTERRUPT_TIMEOUT", 60)
    monkeypatch.setattr("slack_agents_sqlalchemy.engine.tasks._CLEANUP_TIMEOUT", 60)
    watch_engine(relayed)
    await relayed.set("plugin", "key", {"n": 0})
    relay.delay(0.05)
    observer = Observer(database_url)
    with observer.holding_a_row():
        given_up = asyncio.create_task(relayed.set("plugin", "key", {"n": 1}))
        while not await asyncio.to_thread(observer.is_waiting):
            pass
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        assert await relayed.get("plugin", "key") == {"n": 0}
    assert await asyncio.to_thread(observer.transactions_left) == 0
    assert await storage.get("plugin", "key") == {"n": 0}


@pytest.mark.parametrize("backend", ["mariadb", "mysql"], indirect=True)
async def test_a_request_to_end_a_call_that_takes_too_long_is_given_up_itself(
    storage: Provider, database_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("slack_agents_sqlalchemy.engine.pool._INTERRUPT_TIMEOUT", 0.1)
    await storage.set("plugin", "key", {"n": 0})
    requests: list[str] = []

    def does_not_respond(_cursor: object, statement: str, *_: object) -> None:
        if statement == "SHOW PROCESSLIST":
            requests.append(statement)
            await_only(asyncio.Event().wait())

    event.listen(storage.engine, "do_execute", does_not_respond)
    pool = storage.engine.pool
    assert isinstance(pool, QueuePool)
    observer = Observer(database_url)
    with observer.holding_a_row():
        given_up = asyncio.create_task(storage.set("plugin", "key", {"n": 1}))
        while not await asyncio.to_thread(observer.is_waiting):
            pass
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        async with asyncio.timeout(30):
            while pool.checkedout():
                await asyncio.sleep(0.01)
    assert len(requests) == 1


@servers
async def test_a_storage_is_opened_again_after_a_close_that_was_given_up(
    fresh_url: str, new_provider: NewProvider
):
    storage = await new_provider(url=fresh_url)
    await storage.set("plugin", "key", {"n": 0})
    with Observer(fresh_url).holding_a_row():
        waiting = asyncio.create_task(storage.set("plugin", "key", {"n": 1}))
        await asyncio.sleep(0)  # it is on its way
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(storage.close(), 0.1)
    await asyncio.gather(waiting, return_exceptions=True)
    await storage.initialize()
    for number in range(2, 5):  # what the first opening left behind has time to run
        await storage.set("plugin", "key", {"n": number})
        assert await storage.get("plugin", "key") == {"n": number}


@servers
async def test_a_start_that_is_given_up_leaves_no_connection(backend: str, fresh_url: str):
    given_up: list[Provider] = []  # kept, so that nothing else closes a connection
    for steps in range(12):
        storage = Provider(url=fresh_url)
        given_up.append(storage)
        starting = asyncio.create_task(storage.initialize())
        await asyncio.sleep(steps / 500)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await storage.close()
    observer = Observer(fresh_url)
    deadline = time.monotonic() + SETTLED
    while (left := await asyncio.to_thread(observer.sessions)) and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    assert left == 0


@servers
@pytest.mark.parametrize("opens_again", [False, True])
async def test_a_call_that_waits_for_its_retry_ends_when_the_storage_closes(
    relayed: Provider, relay: Relay, opens_again: bool
):
    await relayed.set("plugin", "key", {})
    await relay.go_down()
    waiting = asyncio.create_task(relayed.append("plugin", "key", {}))
    done, _ = await asyncio.wait({waiting}, timeout=0.2)
    assert not done
    await relayed.close()
    await relay.come_back()
    if opens_again:
        await relayed.initialize()
    with pytest.raises(NotInitializedError):
        await waiting


# PostgreSQL is asked to cancel, which may come too late: the result of such a call is unknown.
@pytest.mark.parametrize("backend", ["mariadb", "mysql", "sqlite-file"], indirect=True)
async def test_a_write_that_a_lock_kept_is_not_stored_after_its_error(
    backend: str, database_url: str, new_provider: NewProvider
):
    storage = await new_provider(command_timeout=2)
    await storage.set("plugin", "key", {"n": 0})
    with Observer(database_url).holding_a_row():
        # More than one: on SQLite they wait for each other too.
        results = await asyncio.gather(
            *(storage.set("plugin", "key", {"n": n}) for n in range(1, 4)), return_exceptions=True
        )
        assert all(isinstance(one, TimeoutError) for one in results)
        if backend in ("mariadb", "mysql"):
            assert {type(one) for one in results} == {LockTimeoutError}
    assert await asyncio.to_thread(Observer(database_url).transactions_left) == 0
    assert await storage.get("plugin", "key") == {"n": 0}


@pytest.mark.parametrize(
    "backend", ["postgresql", "mariadb", "mysql", "sqlite-file"], indirect=True
)
def test_another_event_loop_is_an_error_that_says_so_or_no_matter(backend: str, fresh_url: str):
    storage = Provider(url=fresh_url)

    async def begin() -> None:
        await storage.initialize()
        await storage.set("plugin", "key", {"n": 1})
        if backend != "sqlite-file":
            await storage.close()

    async def go_on() -> None:
        if backend != "sqlite-file":
            with pytest.raises(NotInitializedError):
                await storage.get("plugin", "key")
            await storage.initialize()
        assert await storage.get("plugin", "key") == {"n": 1}
        await storage.close()

    asyncio.run(begin())
    asyncio.run(go_on())


@servers
async def test_calls_from_another_event_loop_are_refused_and_the_storage_is_as_it_was(
    new_provider: NewProvider,
):
    storage = await new_provider()
    await storage.set("plugin", "key", {"n": 1})

    def call() -> None:
        asyncio.run(storage.get("plugin", "key"))

    with pytest.raises(NotInitializedError, match="another event loop"):
        await asyncio.to_thread(call)
    assert await storage.get("plugin", "key") == {"n": 1}


@servers
async def test_a_close_waits_for_a_call_that_waits_for_one_that_was_given_up(
    backend: str, fresh_url: str
):
    storage = Provider(url=fresh_url)
    await storage.initialize()
    await storage.set("plugin", "key", {"n": 1})
    observer = Observer(fresh_url)
    with observer.holding_a_row():
        given_up = asyncio.create_task(storage.set("plugin", "key", {"n": 2}))
        await asyncio.sleep(0.1)  # it waits for the row
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        waiting = asyncio.create_task(storage.get("plugin", "key"))
        await asyncio.sleep(0)
        engine = storage.engine
        await storage.close()
        assert waiting.done()
    assert await waiting == {"n": 1}
    pool = engine.pool
    assert isinstance(pool, QueuePool)
    assert pool.checkedin() == pool.checkedout() == 0
