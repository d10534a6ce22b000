"""A call whose connection is lost is retried, and what it stores is stored once."""

from __future__ import annotations

import asyncio

import pytest

from slack_agents_sqlalchemy import LockTimeoutError, Provider
from tests.conftest import NewProvider
from tests.support.calls import single_statement_calls
from tests.support.observer import Observer
from tests.support.relay import Lost, Relay
from tests.support.sql import both_paths, watch_engine


@pytest.mark.parametrize("backend", ["postgresql", "mariadb", "mysql"], indirect=True)
@both_paths
@pytest.mark.parametrize("lost", ["request", "response"])
async def test_a_call_whose_request_or_response_is_lost_stores_what_it_stores_otherwise(
    relayed: Provider,
    relay: Relay,
    storage: Provider,
    watch: bool,
    lost: Lost,
):
    if watch:
        watch_engine(relayed)
    calls = await single_statement_calls(relayed)
    for name, call in calls.items():
        await call()
        before = await storage.count_rows()
        answer = await call()
        after = await storage.count_rows()
        relay.cut(lost)
        answer_of_cut = await call()
        assert not relay.is_to_cut, name
        again = await storage.count_rows()
        made = {table: after[table] - before[table] for table in before}
        assert {table: again[table] - after[table] for table in before} == made, name
        assert type(answer_of_cut) is type(answer), name


@pytest.mark.parametrize("backend", ["postgresql", "mariadb", "mysql"], indirect=True)
@pytest.mark.parametrize("lost", ["request", "response"])
async def test_a_new_thread_whose_request_or_response_is_lost_is_one_conversation(
    relayed: Provider, relay: Relay, storage: Provider, lost: Lost
):
    await relayed.get_or_create_conversation("agent", "C1", "the first")
    requests = relay.requests
    await relayed.get_or_create_conversation("agent", "C1", "new")
    statements = relay.requests - requests
    for number in range(statements):
        relay.cut(lost, spared=number)
        made = await relayed.get_or_create_conversation("agent", "C1", f"new {number}")
        assert not relay.is_to_cut
        assert await storage.get_or_create_conversation("agent", "C1", f"new {number}") == made
    rows = await storage.count_rows()
    assert rows["slack_agents_conversations"] == 2 + statements


@pytest.mark.parametrize("backend", ["postgresql", "mariadb", "mysql"], indirect=True)
@both_paths
async def test_a_server_that_restarts_is_waited_for(
    relayed: Provider, relay: Relay, storage: Provider, watch: bool
):
    if watch:
        watch_engine(relayed)
    await asyncio.gather(*(relayed.append("namespace", "key", {"n": n}) for n in range(10)))
    await relay.go_down()
    waiting = [
        asyncio.create_task(relayed.append("namespace", "key", {"n": n})) for n in range(10, 30)
    ]
    done, _ = await asyncio.wait(waiting, timeout=0.3)
    assert not done
    await relay.come_back()
    ids = await asyncio.gather(*waiting)
    stored = await storage.get_list("namespace", "key")
    assert sorted(item["n"] for item in stored) == list(range(30))
    assert {item["id"] for item in stored} >= set(ids)


@pytest.mark.parametrize("backend", ["postgresql", "mariadb", "mysql"], indirect=True)
async def test_a_server_that_stays_down_is_a_connection_error_in_time(
    relay: Relay, relayed: Provider, new_provider: NewProvider
):
    storage_with_timeout = await new_provider(
        url=relayed.engine.url.render_as_string(hide_password=False), connect_timeout=2
    )
    await storage_with_timeout.set("namespace", "key", {"kept": True})
    await relay.go_down()
    async with asyncio.timeout(10):
        with pytest.raises(ConnectionError, match="Is the database running"):
            await storage_with_timeout.get("namespace", "key")
    await relay.come_back()
    assert await storage_with_timeout.get("namespace", "key") == {"kept": True}


# The lock timeout of the server, as an argument of its driver.
SHORT_LOCK_TIMEOUT = {
    "postgresql": {"server_settings": {"lock_timeout": "100ms"}},
    "mariadb": {"init_command": "SET SESSION innodb_lock_wait_timeout = 1"},
    "mysql": {"init_command": "SET SESSION innodb_lock_wait_timeout = 1"},
}


@pytest.mark.parametrize("backend", ["postgresql", "mariadb", "mysql"], indirect=True)
@both_paths
async def test_a_call_that_reached_the_lock_timeout_is_retried(
    backend: str, database_url: str, new_provider: NewProvider, watch: bool
):
    storage = await new_provider(connect_args=SHORT_LOCK_TIMEOUT[backend])
    if watch:
        watch_engine(storage)
    await storage.set("namespace", "key", {"n": 1})
    with Observer(database_url).holding_a_row():
        waiting = asyncio.create_task(storage.set("namespace", "key", {"n": 2}))
        done, _ = await asyncio.wait({waiting}, timeout=1.3)  # longer than the server's limit
        assert not done
    await waiting
    assert await storage.get("namespace", "key") == {"n": 2}


@pytest.mark.parametrize("backend", ["postgresql", "mariadb", "mysql"], indirect=True)
async def test_a_lock_that_is_never_released_is_a_timeout_and_nothing_is_stored(
    backend: str, database_url: str, new_provider: NewProvider
):
    storage = await new_provider(connect_args=SHORT_LOCK_TIMEOUT[backend], connect_timeout=2)
    await storage.set("namespace", "key", {"n": 1})
    with Observer(database_url).holding_a_row():
        with pytest.raises(LockTimeoutError, match="another transaction") as error:
            await storage.set("namespace", "key", {"n": 2})
        assert isinstance(error.value, TimeoutError)
    assert await storage.get("namespace", "key") == {"n": 1}
    await storage.set("namespace", "key", {"n": 3})
    assert await storage.get("namespace", "key") == {"n": 3}
