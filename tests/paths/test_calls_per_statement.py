"""One call of the contract enters few modules of the package, and few of its functions."""

from __future__ import annotations

import sys
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import FrameType

import pytest

import slack_agents_sqlalchemy
from slack_agents_sqlalchemy import Provider

PACKAGE = str(Path(slack_agents_sqlalchemy.__file__).parent) + "/"

# Calls of functions, modules entered, and changes of module, on all threads. A coroutine that is
# resumed counts as a call.
LIMITS = {
    "append_tool_block": (40, 8, 20),
    "set": (40, 8, 20),
    "get": (30, 7, 14),
    "get_message_blocks": (30, 7, 14),
}


@pytest.mark.parametrize("backend", ["sqlite-file"], indirect=True)
@pytest.mark.parametrize("name", LIMITS)
async def test_a_call_enters_few_modules(fresh_url: str, name: str):
    entered: list[str] = []
    is_measured = False

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if is_measured and event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            entered.append(frame.f_code.co_filename)

    threading.setprofile(note)  # before the worker thread starts
    try:
        storage = Provider(url=fresh_url)
        await storage.initialize()
        call = await prepared_call(storage, name)
        for _ in range(3):  # the first ones prepare the statement
            await call()
        sys.setprofile(note)
        is_measured = True
        await call()
        is_measured = False
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    await storage.close()
    changes = 1 + sum(one != other for one, other in pairwise(entered))
    calls, modules = len(entered), len(set(entered))
    assert calls > 5
    most_calls, most_modules, most_changes = LIMITS[name]
    assert calls <= most_calls
    assert modules <= most_modules
    assert changes <= most_changes


async def prepared_call(storage: Provider, name: str) -> Callable[[], Awaitable[object]]:
    """Return the call, on a storage with a conversation of three texts and a tool call."""
    conversation = await storage.get_or_create_conversation("agent", "C1", "1.0", "general")
    message = await storage.create_message(conversation, "U1", "Ada", "ada")
    for text in ("one", "two", "three"):
        await storage.append_text_block(message, text, is_user=True)
    append = partial(
        storage.append_tool_block,
        message,
        tool_call_id="call",
        tool_name="tool",
        tool_input={"a": 1},
        tool_output="output",
        is_error=False,
    )
    await append()
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "append_tool_block": append,
        "set": partial(storage.set, "namespace", "key", {"a": 1}),
        "get": partial(storage.get, "namespace", "key"),
        "get_message_blocks": partial(storage.get_message_blocks, conversation),
    }
    return calls[name]
