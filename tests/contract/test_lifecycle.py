"""Opening and closing: twice, in the wrong order, and again after a restart."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from slack_agents.storage.base import BaseStorageProvider

from tests.contract.samples import (
    CALLS,
    PDF_CONTENT,
    TOOL_CALL,
    UPLOAD,
    USAGE,
    Id,
    oauth_client,
    oauth_token,
)


def test_the_list_of_calls_is_the_base_classs() -> None:
    asynchronous = {
        name
        for name, member in inspect.getmembers(BaseStorageProvider, inspect.iscoroutinefunction)
        if not name.startswith("_")
    }
    assert asynchronous - {"initialize", "close"} == set(CALLS)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
async def test_every_call_works_on_an_open_storage(
    storage: BaseStorageProvider, conversation_id: Id, message_id: Id, call: Any
) -> None:
    await call(storage, conversation_id, message_id)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
async def test_a_call_before_initialize_is_a_runtime_error(new_provider: Any, call: Any) -> None:
    storage = await new_provider(initialize=False)
    with pytest.raises(RuntimeError, match="initialize"):
        await call(storage, 1, 1)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
async def test_a_call_after_close_is_a_runtime_error(new_provider: Any, call: Any) -> None:
    storage = await new_provider()
    await storage.close()
    with pytest.raises(RuntimeError, match="close"):
        await call(storage, 1, 1)


async def test_initialize_may_be_called_twice(storage: BaseStorageProvider) -> None:
    await storage.set("plugin", "key", {"a": 1})
    await storage.initialize()
    assert await storage.get("plugin", "key") == {"a": 1}


async def test_close_may_be_called_twice(new_provider: Any) -> None:
    storage = await new_provider()
    await storage.get("plugin", "key")
    await storage.close()
    await storage.close()


async def test_close_before_initialize_is_no_error(new_provider: Any) -> None:
    storage = await new_provider(initialize=False)
    await storage.close()
    await storage.close()


async def write_all(storage: BaseStorageProvider) -> Id:
    """Store something of every kind; return the conversation's id."""
    await storage.set("plugin", "key", {"a": 1})
    await storage.append("plugin", "key", {"n": 1})
    await storage.put_oauth_token("U1", "server", oauth_token())
    await storage.put_oauth_client("server", "https://a.b", oauth_client())
    await storage.upsert_heartbeat("agent", 1763820000.123456)
    conversation_id = await storage.get_or_create_conversation("agent", "C1", "1.0", "general")
    message_id = await storage.create_message(conversation_id, "U1", "Ada", "ada")
    file_id = await storage.append_file_block(message_id, PDF_CONTENT, is_user=True, **UPLOAD)
    await storage.append_text_block(message_id, "text", is_user=True, source_file_id=file_id)
    await storage.append_tool_block(message_id, **TOOL_CALL)
    await storage.append_usage_block(message_id, **USAGE)
    return conversation_id


async def read_all(storage: BaseStorageProvider, conversation_id: Id) -> list[Any]:
    """Read everything that `write_all` has stored."""
    return [
        await storage.get("plugin", "key"),
        await storage.get_list("plugin", "key"),
        await storage.query("plugin", {}),
        await storage.get_oauth_token("U1", "server"),
        await storage.get_oauth_client("server", "https://a.b"),
        await storage.get_heartbeat("agent"),
        await storage.get_conversations_for_export("agent", handle="ada"),
        await storage.get_tool_call(TOOL_CALL["tool_call_id"]),
        await storage.get_message_blocks(conversation_id),
        await storage.get_messages_with_blocks(conversation_id),
    ]


@pytest.mark.durable
async def test_everything_is_there_after_a_restart(new_provider: Any) -> None:
    storage = await new_provider()
    conversation_id = await write_all(storage)
    before = await read_all(storage, conversation_id)
    assert all(before)
    await storage.close()
    restarted = await new_provider()
    assert await read_all(restarted, conversation_id) == before
    assert await restarted.get_or_create_conversation("agent", "C1", "1.0") == conversation_id


@pytest.mark.durable
async def test_what_one_process_writes_the_other_reads_immediately(new_provider: Any) -> None:
    one, two = await new_provider(), await new_provider()
    assert await two.query("plugin", {}) == []
    conversation_id = await write_all(one)
    assert await read_all(two, conversation_id) == await read_all(one, conversation_id)
    await two.set("plugin", "key", {"a": 2})
    assert await one.get("plugin", "key") == {"a": 2}


@pytest.mark.durable
async def test_a_process_that_ends_leaves_the_others_working(new_provider: Any) -> None:
    one, two = await new_provider(), await new_provider()
    conversation_id = await write_all(one)
    await one.close()
    assert all(await read_all(two, conversation_id))
