"""The calls that an agent and an operator make, as cases for any storage provider.

Each function prepares one case on an empty database and speaks only the base class, so that every
contender does the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from slack_agents.storage.base import BaseStorageProvider, OAuthTokenRow

from benchmarks.harness import Case, Timed

AGENT = "helper"
USER = ("U1", "Ada Lovelace", "ada")
QUESTION = "Which of our suppliers were late in March, and by how many days on average? " * 3
ANSWER = "Four suppliers were late; the mean delay was 3.5 days, and the worst was 11. " * 12
TOOL = {
    "tool_name": "search",
    "tool_input": {"query": "late deliveries", "month": "2026-03", "limit": 50},
    "tool_output": "supplier,days\n" + "ACME GmbH,11\n" * 60,
    "is_error": False,
}
USAGE: dict[str, Any] = {
    "model": "a-model",
    "version": "1.0.0",
    "input_tokens": 1200,
    "output_tokens": 340,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 900,
    "peak_single_call_input_tokens": 1200,
    "estimated_cost_usd": 0.0123,
}
FILE_DATA = "QUJD" * 25_600  # 100 KB of base64

RECORD = {"task_id": "task-1", "channel_id": "C1", "thread_id": "1.0", "user_id": "U1", "n": 7}
TOKEN = OAuthTokenRow("access", "encrypted", "Bearer", "read write", 1_900_000_000, 1, 1)
#: List items in the database of the query.
ITEMS = 10_000
#: Conversations in the database of the export cases; every tenth has messages of its own user.
EXPORT_CONVERSATIONS = 200
#: Tool calls in the database of the look-up case.
TOOL_CALLS = 1_000
#: Turns of five blocks in a thread before the turn that is timed.
TURNS_BEFORE = 10

type Storage = BaseStorageProvider


async def open_existing_conversation(storage: Storage) -> Timed:
    """``get_or_create_conversation`` of a thread that is known, its channel's name unchanged."""
    conversation = await _conversation(storage, "1.0")
    return Timed(lambda _: _conversation(storage, "1.0"), _is(expected=conversation))


async def has_conversation(storage: Storage) -> Timed:
    """``has_conversation`` of a thread that is known."""
    await _conversation(storage, "1.0")
    return Timed(lambda _: storage.has_conversation(AGENT, "C1", "1.0"), _is(expected=True))


async def create_message(storage: Storage) -> Timed:
    """``create_message`` in one conversation."""
    conversation = await _conversation(storage, "1.0")

    async def check(message: int | str) -> None:
        newest = (await storage.get_messages_with_blocks(conversation))[-1]
        assert newest["id"] == message
        assert newest["user_handle"] == "ada"

    return Timed(lambda _: storage.create_message(conversation, *USER), check)


async def append_text(storage: Storage) -> Timed:
    """``append_text_block`` of a kilobyte."""
    return await _append(storage, _text, "text", {"text": ANSWER})


async def append_file(storage: Storage) -> Timed:
    """``append_file_block`` of 100 KB."""
    return await _append(storage, _file, "file", {"data": FILE_DATA})


async def append_tool(storage: Storage) -> Timed:
    """``append_tool_block`` of a kilobyte."""
    return await _append(storage, _tool, "tool_use", {"tool_call_id": "toolu_1", **TOOL})


async def append_usage(storage: Storage) -> Timed:
    """``append_usage_block``."""
    return await _append(storage, _usage, "usage", USAGE)


def get_message_blocks(count: int) -> Callable[[Storage], Awaitable[Timed]]:
    """``get_message_blocks`` of a conversation with so many blocks, five to a message."""

    async def prepare(storage: Storage) -> Timed:
        conversation = await _conversation(storage, "1.0")
        await _turns(storage, conversation, count // 5)

        async def check(messages: list[tuple[int | str, list[dict[str, Any]]]]) -> None:
            assert len(messages) == count // 5
            for _, blocks in messages:
                # The defaults return usage too, which the model is not shown.
                assert [block["block_type"] for block in blocks][:4] == TURN[:4]
                assert blocks[0]["content"] == {"text": QUESTION}

        return Timed(lambda _: storage.get_message_blocks(conversation), check)

    return prepare


def get_messages_with_blocks(count: int) -> Callable[[Storage], Awaitable[Timed]]:
    """``get_messages_with_blocks`` of a conversation with so many blocks, five to a message."""

    async def prepare(storage: Storage) -> Timed:
        conversation = await _conversation(storage, "1.0")
        await _turns(storage, conversation, count // 5)

        async def check(messages: list[dict[str, Any]]) -> None:
            assert len(messages) == count // 5
            for message in messages:
                assert [block["block_type"] for block in message["blocks"]] == TURN
                assert message["blocks"][-1]["content"] == USAGE

        return Timed(lambda _: storage.get_messages_with_blocks(conversation), check)

    return prepare


async def get_tool_call(storage: Storage) -> Timed:
    """``get_tool_call`` in the middle of the tool calls that are there."""
    conversation = await _conversation(storage, "1.0")
    message = await storage.create_message(conversation, *USER)
    for number in range(TOOL_CALLS):
        await _tool(storage, message, f"toolu_{number}")

    async def check(call: dict[str, Any]) -> None:
        assert call["tool_name"] == TOOL["tool_name"]
        assert call["output_json"] == TOOL["tool_output"]

    return Timed(lambda _: storage.get_tool_call(f"toolu_{TOOL_CALLS // 2}"), check)


def get_conversations_for_export(**filters: str) -> Callable[[Storage], Awaitable[Timed]]:
    """``get_conversations_for_export`` of one agent, every tenth conversation being grace's."""

    async def prepare(storage: Storage) -> Timed:
        for number in range(EXPORT_CONVERSATIONS):
            conversation = await _conversation(storage, f"{number}.0")
            user = ("U2", "Grace Hopper", "grace") if number % 10 == 0 else USER
            for _ in range(3):
                await storage.create_message(conversation, *user)
        expected = EXPORT_CONVERSATIONS // 10 if filters else EXPORT_CONVERSATIONS

        async def check(conversations: list[dict[str, Any]]) -> None:
            assert len({conversation["thread_id"] for conversation in conversations}) == expected

        return Timed(lambda _: storage.get_conversations_for_export(AGENT, **filters), check)

    return prepare


async def upsert_heartbeat(storage: Storage) -> Timed:
    """``upsert_heartbeat`` of an agent that has one."""
    beats = itertools.count(1_700_000_000.5)

    async def call(_: None) -> float:
        beat = next(beats)
        await storage.upsert_heartbeat(AGENT, beat)
        return beat

    async def check(beat: float) -> None:
        assert await storage.get_heartbeat(AGENT) == {"last_ping_pong_time": beat}

    return Timed(call, check)


async def get_heartbeat(storage: Storage) -> Timed:
    """``get_heartbeat`` of an agent that has one."""
    await storage.upsert_heartbeat(AGENT, 1_700_000_000.5)
    return Timed(
        lambda _: storage.get_heartbeat(AGENT),
        _is(expected={"last_ping_pong_time": 1_700_000_000.5}),
    )


async def get(storage: Storage) -> Timed:
    """``get`` of a value that is there."""
    await storage.set("plug-in", "key", RECORD)
    return Timed(lambda _: storage.get("plug-in", "key"), _is(expected=RECORD))


async def set_(storage: Storage) -> Timed:
    """``set`` of a value that is there, to another one each time."""
    numbers = itertools.count()

    async def call(_: None) -> int:
        number = next(numbers)
        await storage.set("plug-in", "key", {**RECORD, "n": number})
        return number

    async def check(number: int) -> None:
        assert await storage.get("plug-in", "key") == {**RECORD, "n": number}

    return Timed(call, check)


async def append(storage: Storage) -> Timed:
    """``append`` to one list."""

    async def check(item: str) -> None:
        assert (await storage.get_list("plug-in", "key"))[-1] == {**RECORD, "id": item}

    return Timed(lambda _: storage.append("plug-in", "key", RECORD), check)


async def query(storage: Storage) -> Timed:
    """``query`` that one of many items matches."""
    for number in range(ITEMS):
        await storage.append("plug-in", f"key {number}", {**RECORD, "task_id": f"task-{number}"})
    wanted = f"task-{ITEMS // 2}"

    async def check(found: list[dict[str, Any]]) -> None:
        assert [item["task_id"] for item in found] == [wanted]

    return Timed(lambda _: storage.query("plug-in", {"task_id": wanted}), check)


async def get_oauth_token(storage: Storage) -> Timed:
    """``get_oauth_token`` of a user who signed in."""
    await storage.put_oauth_token("U1", "server", TOKEN)
    return Timed(lambda _: storage.get_oauth_token("U1", "server"), _is(expected=TOKEN))


async def put_oauth_token(storage: Storage) -> Timed:
    """``put_oauth_token`` of a user who signed in before."""
    times = itertools.count(2)

    async def call(_: None) -> OAuthTokenRow:
        token = replace(TOKEN, updated_at=next(times))
        await storage.put_oauth_token("U1", "server", token)
        return token

    async def check(token: OAuthTokenRow) -> None:
        assert await storage.get_oauth_token("U1", "server") == replace(token, created_at=2)

    await storage.put_oauth_token("U1", "server", replace(TOKEN, created_at=2))
    return Timed(call, check)


async def agent_turn(storage: Storage) -> Timed:
    """All that one user message costs: open, read the history, write message and five blocks.

    Each timed turn gets a thread of its own with the same number of turns in it already.
    """
    threads = itertools.count()

    async def before() -> str:
        thread = f"{next(threads)}.0"
        await _turns(storage, await _conversation(storage, thread), TURNS_BEFORE)
        return thread

    async def call(thread: str) -> tuple[str, int]:
        conversation = await _conversation(storage, thread)
        history = await storage.get_message_blocks(conversation)
        await _turns(storage, conversation, 1)
        return thread, len(history)

    async def check(answer: tuple[str, int]) -> None:
        thread, messages_seen = answer
        assert messages_seen == TURNS_BEFORE
        messages = await storage.get_messages_with_blocks(await _conversation(storage, thread))
        assert len(messages) == TURNS_BEFORE + 1
        assert [block["block_type"] for block in messages[-1]["blocks"]] == TURN

    return Timed(call, check, before)


CASES = [
    Case("get_or_create_conversation, existing", open_existing_conversation),
    Case("has_conversation", has_conversation),
    Case("create_message", create_message),
    Case("append_text_block", append_text),
    Case("append_file_block, 100 KB", append_file),
    Case("append_tool_block", append_tool),
    Case("append_usage_block", append_usage),
    *(
        Case(f"get_message_blocks, {count:,} blocks", get_message_blocks(count))
        for count in (10, 100, 1_000)
    ),
    *(
        Case(f"get_messages_with_blocks, {count:,} blocks", get_messages_with_blocks(count))
        for count in (10, 100, 1_000)
    ),
    Case(f"get_tool_call among {TOOL_CALLS:,}", get_tool_call),
    Case(
        f"get_conversations_for_export, all {EXPORT_CONVERSATIONS}", get_conversations_for_export()
    ),
    Case(
        f"get_conversations_for_export, by handle of {EXPORT_CONVERSATIONS}",
        get_conversations_for_export(handle="grace"),
    ),
    Case("upsert_heartbeat", upsert_heartbeat),
    Case("get_heartbeat", get_heartbeat),
    Case(f"agent turn after {TURNS_BEFORE} turns", agent_turn),
]

#: The calls that the base class has no default for.
PRIMITIVE_CASES = [
    Case("get", get),
    Case("set", set_),
    Case("append", append),
    Case(f"query, one of {ITEMS:,}", query),
    Case("get_oauth_token", get_oauth_token),
    Case("put_oauth_token", put_oauth_token),
]

#: The blocks of a turn, in order.
TURN = ["user_text", "tool_use", "file", "text", "usage"]


async def _turns(storage: Storage, conversation: int | str, count: int) -> None:
    for _ in range(count):
        message = await storage.create_message(conversation, *USER)
        await storage.append_text_block(message, QUESTION, is_user=True)
        await _tool(storage, message)
        await _file(storage, message, "eA==")
        await _text(storage, message)
        await _usage(storage, message)


async def _append(
    storage: Storage,
    append: Callable[[Storage, int | str], Awaitable[object]],
    block_type: str,
    content: dict[str, Any],
) -> Timed:
    conversation = await _conversation(storage, "1.0")
    message = await storage.create_message(conversation, *USER)

    async def check(_: object) -> None:
        newest = (await storage.get_messages_with_blocks(conversation))[-1]["blocks"][-1]
        assert newest["block_type"] == block_type
        assert newest["content"].items() >= content.items()

    return Timed(lambda _: append(storage, message), check)


async def _conversation(storage: Storage, thread: str) -> int | str:
    return await storage.get_or_create_conversation(AGENT, "C1", thread, "general")


async def _text(storage: Storage, message: int | str) -> None:
    await storage.append_text_block(message, ANSWER)


async def _file(storage: Storage, message: int | str, data: str = FILE_DATA) -> None:
    await storage.append_file_block(
        message,
        {"filename": "late.pdf", "data": data, "mimeType": "application/pdf"},
        is_user=False,
        filename="late.pdf",
        mimetype="application/pdf",
        size_bytes=len(data) * 3 // 4,
    )


async def _tool(storage: Storage, message: int | str, tool_call: str = "toolu_1") -> None:
    await storage.append_tool_block(message, tool_call_id=tool_call, **TOOL)


async def _usage(storage: Storage, message: int | str) -> None:
    await storage.append_usage_block(message, **USAGE)


def _is(*, expected: object) -> Callable[[Any], Awaitable[None]]:
    async def check(answer: object) -> None:
        assert answer == expected

    return check
