"""The fast path: a listener of the engine sees every statement, and errors are the same."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from slack_agents.storage.base import OAuthTokenRow
from sqlalchemy import QueuePool, event, make_url
from sqlalchemy.util import await_only

from slack_agents_sqlalchemy import DatabaseError, Provider
from tests.conftest import AnHourLater
from tests.support.observer import Observer
from tests.support.sql import both_paths, scalar, watch_engine, watched

AGENT = "agent"


async def every_kind_of_call(storage: Provider, name: str) -> list[object]:
    """Make each kind of call, in names of its own; return the answers without ids and times."""
    token = OAuthTokenRow("access", None, "Bearer", "read", None, 1, 2)
    await storage.set(name, "key", {"n": 2**70, "text": "\0"})
    await storage.append(name, "key", {"n": 1})
    await storage.put_oauth_token(name, "server", token)
    await storage.upsert_heartbeat(name, 1.5)
    conversation = await storage.get_or_create_conversation(AGENT, "C1", name, "general")
    message = await storage.create_message(conversation, "U1", "Ada", "ada")
    await storage.append_text_block(message, "\ud800 hello", is_user=True)
    await storage.append_tool_block(
        message,
        tool_call_id=name,
        tool_name="tool",
        tool_input={"a": 1},
        tool_output="out",
        is_error=True,
    )
    [(_, blocks)] = await storage.get_message_blocks(conversation)
    [exported] = await storage.get_messages_with_blocks(conversation)
    return [
        await storage.get(name, "key"),
        [item["n"] for item in await storage.query(name, {"n": 1})],
        await storage.get_oauth_token(name, "server"),
        await storage.get_heartbeat(name),
        await storage.has_conversation(AGENT, "C1", name),
        [(block["block_type"], {**block["content"], "tool_call_id": ""}) for block in blocks],
        (exported["user_handle"], exported["created_at"].tzinfo),
        {**(await storage.get_tool_call(name) or {})},
    ]


async def test_both_paths_answer_alike(storage: Provider):
    fast = await every_kind_of_call(storage, "fast")
    with watched(storage):
        ordinary = await every_kind_of_call(storage, "ordinary")
    assert fast == ordinary


async def test_a_listener_sees_every_statement(storage: Provider):
    await every_kind_of_call(storage, "unwatched")
    with watched(storage) as seen:
        await every_kind_of_call(storage, "watched")
    for table in ("key_values", "list_items", "oauth_tokens", "heartbeats", "blocks", "messages"):
        assert any(f"slack_agents_{table}" in statement for statement in seen), table


@pytest.mark.parametrize("name", ["do_execute", "do_setinputsizes", "engine_connect"])
async def test_a_listener_of_any_event_of_statements_sees_every_call(storage: Provider, name: str):
    calls = 0

    def note(*_: object) -> None:
        nonlocal calls
        calls += 1

    event.listen(storage.engine, name, note)
    for number in range(3):
        before = calls
        await storage.set("namespace", "key", {"n": number})
        assert await storage.get("namespace", "key") == {"n": number}
        if name != "do_setinputsizes":  # which not every driver has
            assert calls >= before + 2
    event.remove(storage.engine, name, note)


@pytest.mark.parametrize("backend", ["postgresql", "mariadb", "mysql"], indirect=True)
@pytest.mark.parametrize("name", ["checkin", "checkout"])
async def test_a_listener_of_the_pool_may_await_something(fresh_url: str, name: str):
    storage = Provider(url=fresh_url, pool_size=2)
    await storage.initialize()
    seen = 0

    def listen(*_: object) -> None:
        nonlocal seen
        await_only(asyncio.sleep(0))
        seen += 1

    event.listen(storage.engine.pool, name, listen)
    for number in range(6):
        await storage.set("namespace", "key", {"n": number})
    assert seen >= 6
    event.remove(storage.engine.pool, name, listen)
    assert await storage.get("namespace", "key") == {"n": 5}
    pool = storage.engine.pool
    assert isinstance(pool, QueuePool)
    assert pool.checkedout() == 0
    await storage.close()


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg", "psycopg2"])
@both_paths
async def test_no_caller_notices_that_another_process_changed_the_type_of_a_column(
    fresh_url: str, driver: str, watch: bool
):
    url = make_url(fresh_url).set(drivername=f"postgresql+{driver}")
    storage, other = Provider(url=url, pool_size=3), Provider(url=fresh_url)
    await storage.initialize()
    await other.initialize()
    if watch:
        watch_engine(storage)

    async def call_often() -> None:
        await storage.upsert_heartbeat(AGENT, 1.5)
        for _ in range(8):  # psycopg prepares a statement at its sixth use
            heartbeats = await asyncio.gather(*(storage.get_heartbeat(AGENT) for _ in range(6)))
            assert heartbeats == [{"last_ping_pong_time": 1.5}] * 6

    await call_often()
    for column_type in ("real", "double precision"):
        statement = (
            "ALTER TABLE slack_agents_heartbeats ALTER COLUMN last_ping_pong_time "
            f"TYPE {column_type}"
        )
        await scalar(other, statement)
        await call_often()
    await storage.close()
    await other.close()


@both_paths
async def test_an_error_of_the_database_is_the_same_on_both_paths(fresh_url: str, watch: bool):
    storage = Provider(url=fresh_url)
    await storage.initialize()
    await scalar(storage, "DROP TABLE slack_agents_heartbeats")
    if watch:
        watch_engine(storage)
    with pytest.raises(DatabaseError, match=r"refused a statement.*slack_agents_heartbeats"):
        await storage.get_heartbeat(AGENT)
    await storage.set("namespace", "key", {"still": "usable"})
    await storage.close()


async def cut_off(url: str) -> None:
    """End every connection to a database, at the server."""
    await asyncio.to_thread(Observer(url).kill_connections)


@pytest.mark.parametrize("backend", ["postgresql", "mariadb", "mysql"], indirect=True)
@both_paths
async def test_no_caller_notices_that_every_connection_was_cut_off(fresh_url: str, watch: bool):
    storage = Provider(url=fresh_url)
    await storage.initialize()
    await asyncio.gather(
        *(storage.set("namespace", f"key {number}", {"n": number}) for number in range(10))
    )
    if watch:
        watch_engine(storage)
    await cut_off(fresh_url)
    got = await asyncio.gather(*(storage.get("namespace", f"key {number}") for number in range(10)))
    assert got == [{"n": number} for number in range(10)]
    await cut_off(fresh_url)
    conversation = await storage.get_or_create_conversation(AGENT, "C1", "1.0", "general")
    await cut_off(fresh_url)
    message = await storage.create_message(conversation, "U1", "Ada", "ada")
    await cut_off(fresh_url)
    await storage.append_text_block(message, "hello")
    [exported] = await storage.get_messages_with_blocks(conversation)
    assert [block["content"] for block in exported["blocks"]] == [{"text": "hello"}]
    await storage.close()


@pytest.mark.parametrize("backend", ["postgresql", "mariadb", "mysql"], indirect=True)
@both_paths
async def test_a_connection_that_was_idle_for_long_is_checked_before_it_is_used(
    fresh_url: str, watch: bool, an_hour_later: AnHourLater
):
    storage = Provider(url=fresh_url)
    await storage.initialize()
    await asyncio.gather(
        *(storage.set("namespace", f"key {number}", {"n": number}) for number in range(5))
    )
    await cut_off(fresh_url)
    if watch:
        watch_engine(storage)
    an_hour_later()
    got = await asyncio.gather(*(storage.get("namespace", f"key {number}") for number in range(5)))
    assert got == [{"n": number} for number in range(5)]
    await storage.close()


@pytest.mark.parametrize("backend", ["postgresql", "mariadb", "mysql"], indirect=True)
@pytest.mark.parametrize(
    "engine_options",
    [
        {"pool_pre_ping": True},
        {"pool_recycle": 0},
    ],
    ids=lambda options: next(iter(options)),
)
async def test_the_fast_path_works_with_the_options_of_the_pool(
    fresh_url: str, engine_options: dict[str, Any]
):
    storage = Provider(url=fresh_url, pool_size=1, engine_options=engine_options)
    await storage.initialize()
    for _ in range(2):
        await asyncio.gather(
            *(storage.set("namespace", f"key {number}", {"n": number}) for number in range(6))
        )
        assert len(await storage.query("namespace", {})) == 6
    pool = storage.engine.pool
    assert isinstance(pool, QueuePool)
    assert pool.checkedout() == 0
    await storage.close()


@pytest.mark.parametrize("backend", ["postgresql", "mariadb", "mysql"], indirect=True)
@both_paths
async def test_callers_that_wait_for_a_connection_get_one_in_turn(fresh_url: str, watch: bool):
    # With one connection each turn is everybody's; with more, a slow one would hold its caller up.
    storage = Provider(url=fresh_url, pool_size=1)
    await storage.initialize()
    if watch:
        watch_engine(storage)
    turns: list[int] = []

    async def call_on(caller: int) -> None:
        for _ in range(50):
            await storage.get("namespace", "key")
            turns.append(caller)

    await asyncio.gather(*(call_on(caller) for caller in range(4)))
    assert turns == [0, 1, 2, 3] * 50
    await storage.close()
