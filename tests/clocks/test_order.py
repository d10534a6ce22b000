"""What was inserted later comes later, whatever the clocks of the processes say."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest

from tests.clocks.agent import Agent

pytestmark = pytest.mark.durable

THREAD = ("agent", "C1", "1.0")
HOUR = 3600
CLOCKS = {
    "set back by an hour": ("+0", "+0", f"-{HOUR}"),
    "in 1970": ("=0", "=0", "=0"),
    "before 1970": (f"={-HOUR}", f"={-HOUR}", f"={-HOUR}"),
    "after the last id": ("=9000000000",) * 3,
    "set back from after the last id": ("=9000000000", "+0", "=0"),
    "set back from 2094": ("=3920000000", "+0", "=0"),
}


def insert_one_of_each(agent: Agent, number: int) -> None:
    """Insert a row of each kind that has a place among others, reading as little as possible."""
    conversation = agent.call("get_or_create_conversation", *THREAD)
    message = agent.call("create_message", conversation, "U1", "Ada", f"ada {number}")
    agent.call("append_text_block", message, f"question {number}")
    agent.call("append_text_block", message, f"answer {number}")
    agent.call("append", "namespace", "key", {"n": number})
    agent.call("set", "namespace", f"key {number}", {"n": number})
    agent.call("get_or_create_conversation", "agent", "C1", f"other {number}")


def order_of_everything(agent: Agent) -> dict[str, list[Any]]:
    """Return what each kind of row was inserted with, in the order that the storage returns."""
    conversation = agent.call("get_or_create_conversation", *THREAD)
    history = agent.call("get_message_blocks", conversation)
    exported = agent.call("get_messages_with_blocks", conversation)
    found = agent.call("query", "namespace", {})
    items = [row["n"] for row in found if "id" in row]
    return {
        "blocks": [block["content"]["text"] for _, blocks in history for block in blocks],
        "exported messages": [message["user_handle"] for message in exported],
        "exported blocks": [
            block["content"]["text"] for message in exported for block in message["blocks"]
        ],
        "items": [item["n"] for item in agent.call("get_list", "namespace", "key")],
        "found items": items,
        "found values": [row["n"] for row in found[len(items) :]],
        "conversations": [
            found["thread_id"] for found in agent.call("get_conversations_for_export", "agent")
        ],
    }


def true_order(count: int) -> dict[str, list[Any]]:
    numbers = list(range(count))
    texts = [f"{kind} {number}" for number in numbers for kind in ("question", "answer")]
    return {
        "blocks": texts,
        "exported messages": [f"ada {number}" for number in numbers],
        "exported blocks": texts,
        "items": numbers,
        "found items": numbers,
        "found values": numbers,
        "conversations": ["1.0", *(f"other {number}" for number in numbers)],
    }


@pytest.mark.parametrize("clocks", CLOCKS.values(), ids=list(CLOCKS))
def test_rows_are_in_order_across_restarts_with_any_clock(
    database_url: str, clocks: tuple[str, ...]
):
    for number, clock in enumerate(clocks):
        with Agent(database_url, clock) as agent:
            insert_one_of_each(agent, number)
            order = order_of_everything(agent)
        assert order == true_order(number + 1)


def test_a_process_whose_clock_is_behind_inserts_after_what_it_has_read(database_url: str):
    with ExitStack() as stack:
        agents = [stack.enter_context(Agent(database_url, clock)) for clock in ("+0", f"-{HOUR}")]
        for agent in agents:  # each has inserted before, and never asks for the largest ids again
            agent.call("append", "another namespace", "key", {})
        [conversation, _] = [agent.call("get_or_create_conversation", *THREAD) for agent in agents]
        for number in range(6):
            agent = agents[number % 2]
            agent.call("get_message_blocks", conversation)
            message = agent.call("create_message", conversation, "U1", "Ada", f"ada {number}")
            agent.call("append_text_block", message, f"question {number}")
            agent.call("append_text_block", message, f"answer {number}")
            agent.call("get_list", "namespace", "key")
            agent.call("append", "namespace", "key", {"n": number})
            agent.call("get", "namespace", f"key {number - 1}")
            agent.call("set", "namespace", f"key {number}", {"n": number})
            agent.call("has_conversation", "agent", "C1", f"other {number - 1}")
            agent.call("get_or_create_conversation", "agent", "C1", f"other {number}")
        assert order_of_everything(agents[0]) == true_order(6)


def test_what_a_query_has_found_comes_before_what_is_inserted_next(database_url: str):
    with Agent(database_url, "+0") as ahead, Agent(database_url, f"-{HOUR}") as behind:
        behind.call("append", "another namespace", "key", {})
        ahead.call("append", "namespace", "key", {"n": 0})
        behind.call("query", "namespace", {})
        behind.call("append", "namespace", "key", {"n": 1})
        ahead.call("set", "namespace", "first", {"n": 2})
        behind.call("query", "namespace", {})
        behind.call("set", "namespace", "second", {"n": 3})
        assert [row["n"] for row in ahead.call("query", "namespace", {})] == [0, 1, 2, 3]


def test_blocks_of_one_message_follow_each_other_whoever_appends_after_reading(database_url: str):
    with Agent(database_url, "+0") as ahead, Agent(database_url, f"-{HOUR}") as behind:
        behind.call("append", "namespace", "key", {})
        conversation = behind.call("get_or_create_conversation", *THREAD)
        message = behind.call("create_message", conversation, "U1", "Ada", "ada")
        for number, agent in enumerate([ahead, behind, ahead, behind]):
            agent.call("get_messages_with_blocks", conversation)
            agent.call("append_text_block", message, f"text {number}")
        [[_, blocks]] = ahead.call("get_message_blocks", conversation)
    texts = [block["content"]["text"] for block in blocks]
    assert texts == [f"text {number}" for number in range(4)]


@pytest.mark.parametrize("clock", ["=0", "=1900000000", "=9000000000"])
def test_processes_whose_clocks_stand_still_lose_nothing(database_url: str, clock: str):
    with ExitStack() as stack:
        agents = [stack.enter_context(Agent(database_url, clock)) for _ in range(3)]
        for agent in agents:
            agent.send("append_many", "namespace", 100)
        assert [agent.receive() for agent in agents] == [None] * 3
        items = agents[0].call("get_list", "namespace", "key")
    assert len({item["id"] for item in items}) == len(items) == 300
    assert sorted(item["n"] for item in items) == sorted([*range(100)] * 3)
