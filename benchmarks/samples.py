"""What is stored: an agent's threads of talk, as the framework's ``slack/agent.py`` writes them."""

from __future__ import annotations

import asyncio
import base64
import itertools
import random
from collections.abc import Awaitable, Iterable
from typing import Any

from benchmarks.harness import Storage

type Id = int | str

AGENT = "helper"
CHANNEL = "C1"
ADA = ("U1", "Ada Lovelace", "ada")
GRACE = ("U2", "Grace Hopper", "grace")

QUESTION = "Which of our suppliers were late in March, and by how many days on average? " * 3
PLAN = "Let me look at the deliveries of March, and then at what was agreed."
ANSWER = "Four suppliers were late; the mean delay was 3.5 days, and the worst was 11. " * 12
TOOL: dict[str, Any] = {
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
# 100 KB of base64; like a PDF or a picture, it cannot be compressed.
FILE_DATA = base64.b64encode(random.Random(0).randbytes(76_800)).decode()

#: The blocks of an exchange of which histories are made, in order.
EXCHANGE = ["user_text", "tool_use", "file", "text", "usage"]
#: The blocks that a turn of the agent appends.
TURN = ["user_text", "text", "tool_use", "tool_use", "text", "usage"]

#: Calls that are under way at once where a database is filled.
_AT_ONCE = 8


_threads = itertools.count(1)


def new_thread() -> str:
    """Name a thread that was not named before."""
    return f"{next(_threads)}.0"


async def conversation(storage: Storage, thread: str) -> Id:
    """Open a thread."""
    return await storage.get_or_create_conversation(AGENT, CHANNEL, thread, "general")


async def append_file(
    storage: Storage, message: Id, data: str = FILE_DATA, *, is_user: bool = False
) -> None:
    """Append a file."""
    await storage.append_file_block(
        message,
        {"filename": "late.pdf", "data": data, "mimeType": "application/pdf"},
        is_user=is_user,
        filename="late.pdf",
        mimetype="application/pdf",
        size_bytes=len(data) * 3 // 4,
    )


async def append_tool(storage: Storage, message: Id, tool_call: str = "toolu_1") -> None:
    """Append a tool call."""
    await storage.append_tool_block(message, tool_call_id=tool_call, **TOOL)


async def exchanges(storage: Storage, of: Id, count: int, tool_call: str = "toolu_1") -> None:
    """Append exchanges to a conversation."""
    for _ in range(count):
        message = await storage.create_message(of, *ADA)
        await storage.append_text_block(message, QUESTION, is_user=True)
        await append_tool(storage, message, tool_call)
        await append_file(storage, message, "eA==")
        await storage.append_text_block(message, ANSWER)
        await storage.append_usage_block(message, **USAGE)


async def turn(storage: Storage, thread: str) -> int:
    """Make all the calls of one turn of the agent with two tool calls, in its order.

    Returns:
        How many messages the agent saw of the thread before.
    """
    await storage.has_conversation(AGENT, CHANNEL, thread)
    opened = await conversation(storage, thread)
    history = await storage.get_message_blocks(opened)
    message = await storage.create_message(opened, *ADA)
    await storage.append_text_block(message, QUESTION, is_user=True)
    await storage.append_text_block(message, PLAN)
    await append_tool(storage, message, f"toolu_{thread}_1")
    await append_tool(storage, message, f"toolu_{thread}_2")
    await storage.append_text_block(message, ANSWER)
    await storage.append_usage_block(message, **USAGE)
    return len(history)


async def check_turn(storage: Storage, thread: str, exchanges_before: int) -> None:
    """Raise unless the newest message of the thread is a whole turn."""
    messages = await storage.get_messages_with_blocks(await conversation(storage, thread))
    assert len(messages) == exchanges_before + 1
    assert [block["block_type"] for block in messages[-1]["blocks"]] == TURN


async def fill(work: Iterable[Awaitable[object]]) -> None:
    """Do many things, a few at a time."""
    waiting = iter(work)

    async def worker() -> None:
        for one in waiting:
            await one

    await asyncio.gather(*(worker() for _ in range(_AT_ONCE)))
