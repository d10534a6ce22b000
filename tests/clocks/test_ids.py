"""Ids: a hybrid logical clock, and when it asks the database for the largest ones."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import Connection, event, insert, select

from slack_agents_sqlalchemy import DatabaseError, Provider
from slack_agents_sqlalchemy.identifiers import MAX_CLOCK_ID, MAX_ID, IdSequence
from slack_agents_sqlalchemy.models import ListItem
from tests.support.sql import run, scalar, watch_engine

SECOND = 1_000_000_000
IN_2024, IN_2100 = 1_704_067_200 * SECOND, 4_102_444_800 * SECOND


class Clock:
    """A clock that shows the time that a test sets."""

    def __init__(self, nanoseconds: int) -> None:
        self.nanoseconds = nanoseconds

    def __call__(self) -> int:
        return self.nanoseconds


def are_rising(ids: list[int]) -> bool:
    return all(one < other for one, other in pairwise(ids))


@pytest.mark.parametrize("start", [-SECOND, 0, IN_2024, IN_2024 + SECOND, IN_2100, 2**63])
def test_ids_rise_and_are_within_64_bits_whatever_the_clock_says(start: int):
    clock = Clock(start)
    next_id = IdSequence(clock)
    ids = [next_id() for _ in range(100)]
    for shift in (-SECOND, SECOND, -10 * SECOND, -IN_2100, IN_2100):
        clock.nanoseconds += shift
        ids += [next_id() for _ in range(100)]
    assert are_rising(ids)
    assert ids[0] > 0
    assert ids[-1] <= MAX_ID


def test_ids_of_two_processes_whose_clocks_stand_still_differ_by_chance():
    one, other = IdSequence(Clock(0)), IdSequence(Clock(0))
    same = sum(one() == other() for _ in range(10_000))
    assert same < 100  # 2.4 are to be expected


def test_an_id_follows_the_clock():
    clock = Clock(IN_2024 + SECOND)
    next_id = IdSequence(clock)
    assert next_id() >> 12 == 1_000_000
    clock.nanoseconds += SECOND
    assert next_id() >> 12 == 2_000_000


def test_an_id_is_larger_than_every_observed_one():
    next_id = IdSequence(Clock(IN_2024 + SECOND))
    ahead = next_id() + (3_600_000_000 << 12)
    for observed in (ahead - 1, ahead, 5, 0, -5):
        next_id.observe(observed)
    assert ahead < next_id() < ahead + (10 << 12)


@pytest.mark.parametrize("bogus", [MAX_ID, MAX_ID - 1, MAX_CLOCK_ID + 1])
def test_an_id_at_the_end_of_the_range_does_not_use_the_range_up(bogus: int):
    next_id = IdSequence(Clock(IN_2024 + SECOND))
    next_id.observe(bogus)
    assert next_id() >> 12 == 1_000_000


def test_after_the_largest_id_that_is_observed_there_are_more():
    next_id = IdSequence(Clock(0))
    next_id.observe(MAX_CLOCK_ID)
    ids = [next_id() for _ in range(100)]
    assert are_rising([MAX_CLOCK_ID, *ids])
    assert ids[-1] < MAX_ID


async def test_rows_at_the_end_of_the_range_do_not_prevent_insertions(
    storage: Provider, new_provider: Any
):
    await storage.append("namespace", "key", {"n": 0})

    def insert_at_the_end(connection: Connection) -> None:
        columns = ListItem.__table__.columns
        row = connection.execute(select(*columns)).mappings().one()
        for bogus in (MAX_ID, MAX_ID - 1):
            changed = {**row, "id": bogus, "value": {"n": 9}}
            connection.execute(insert(ListItem), changed)

    await run(storage, insert_at_the_end)
    assert len(await storage.get_list("namespace", "key")) == 3
    await storage.append("namespace", "key", {"n": 1})
    if storage.supports_export:
        restarted = await new_provider()
        await restarted.append("namespace", "key", {"n": 2})
        items = await restarted.get_list("namespace", "key")
        assert [item["n"] for item in items] == [0, 1, 2, 9, 9]


async def test_an_id_that_a_caller_has_made_up_is_not_observed(storage: Provider):
    for bogus in (MAX_CLOCK_ID, str(MAX_CLOCK_ID)):
        with pytest.raises(LookupError):
            await storage.get_message_blocks(bogus)
        with pytest.raises(LookupError):
            await storage.append_text_block(bogus, "text")
        assert await storage.query("namespace", {"id": str(bogus)}) == []
    assert int(await storage.append("namespace", "key", {})) < MAX_CLOCK_ID


def largest_ids_in(seen: list[str]) -> int:
    return sum("max(" in statement.lower() for statement in seen)


async def test_only_the_first_insertion_asks_for_the_largest_ids(storage: Provider):
    seen = watch_engine(storage)
    await storage.get_heartbeat("agent")
    await storage.upsert_heartbeat("agent", 1.5)
    await storage.get("namespace", "key")
    await storage.delete("namespace", "key")
    await storage.get_list("namespace", "key")
    await storage.query("namespace", {})
    await storage.has_conversation("agent", "C1", "1.0")
    await storage.get_conversations_for_export("agent")
    await storage.get_oauth_token("U1", "server")
    assert largest_ids_in(seen) == 0
    conversation = await storage.get_or_create_conversation("agent", "C1", "1.0", "general")
    assert largest_ids_in(seen) == 1
    message = await storage.create_message(conversation, "U1", "Ada", "ada")
    await storage.append_text_block(message, "text")
    await storage.append("namespace", "key", {})
    await storage.set("namespace", "key", {})
    assert largest_ids_in(seen) == 1


@pytest.mark.durable
@pytest.mark.parametrize("call", ["append", "set", "get_or_create_conversation"])
async def test_each_kind_of_first_insertion_asks_for_the_largest_ids_once(
    new_provider: Any, call: str
):
    provider = await new_provider()
    seen = watch_engine(provider)
    for number in range(3):
        third = {} if call in ("append", "set") else "1.0"
        await getattr(provider, call)("name", f"key {number}", third)
    assert largest_ids_in(seen) == 1


async def test_a_first_insertion_that_is_cancelled_leaves_the_next_to_ask(storage: Provider):
    tasks = [
        asyncio.create_task(storage.append("namespace", "key", {"n": number}))
        for number in range(5)
    ]
    await asyncio.sleep(0)  # each is waiting for its first answer
    for task in tasks[:3]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, str) for result in results[3:])
    await storage.append("namespace", "key", {"n": 5})
    items = await storage.get_list("namespace", "key")
    assert [item["n"] for item in items if item["n"] >= 3][-1] == 5
    assert {3, 4, 5} <= {item["n"] for item in items}


async def test_where_the_largest_ids_cannot_be_read_nothing_is_inserted_until_they_can(
    fresh_url: str,
):
    storage = Provider(url=fresh_url)
    await storage.initialize()
    quote = storage.engine.dialect.identifier_preparer.quote

    async def rename(old: str, new: str) -> None:
        statement = f"ALTER TABLE {quote(old)} RENAME TO {quote(new)}"
        await scalar(storage, statement)

    await rename("slack_agents_blocks", "elsewhere")
    for _ in range(2):
        with pytest.raises(DatabaseError, match="refused a statement"):
            await storage.append("namespace", "key", {})
    assert await storage.get_list("namespace", "key") == []
    await rename("elsewhere", "slack_agents_blocks")
    await storage.append("namespace", "key", {})
    assert len(await storage.get_list("namespace", "key")) == 1
    await storage.close()


# How each database is asked for its plan, and what stands in it for each look-up in an index.
PLANS = {
    "sqlite": ("EXPLAIN QUERY PLAN ", "SEARCH"),
    "postgresql": ("EXPLAIN ", "Index Only Scan Backward"),
    "mariadb": ("EXPLAIN ", "Select tables optimized away"),
    "mysql": ("EXPLAIN ", "Rows fetched before execution"),
}


async def test_the_largest_ids_are_found_by_indexes(storage: Provider, backend: str):
    asked: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, sql: str, parameters: Any, *_: object) -> None:
        if largest_ids_in([sql]):
            asked.append((sql, parameters))

    event.listen(storage.engine, "before_cursor_execute", note)
    conversation = await storage.get_or_create_conversation("agent", "C1", "1.0")
    message = await storage.create_message(conversation, "U1", "Ada", "ada")
    await storage.append_text_block(message, "text")
    await storage.append("namespace", "key", {})
    await storage.set("namespace", "key", {})

    def plan(connection: Connection) -> str:
        if connection.dialect.name == "postgresql":  # which reads small tables as a whole
            connection.exec_driver_sql("SET enable_seqscan = off")
        rows = connection.exec_driver_sql(f"{explain}{statement}", parameters).all()
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("RESET enable_seqscan")
        return str([tuple(row) for row in rows])

    explain, look_up = PLANS[backend.partition("-")[0]]
    [(statement, parameters)] = asked
    answer = await run(storage, plan)
    assert answer.count(look_up) == 5, answer
