"""Many concurrent callers, in one process and in several."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from slack_agents.storage.base import BaseStorageProvider

from tests.contract.samples import CALLS, TOOL_CALL, USAGE, Id, oauth_client, oauth_token

THREAD = ("agent", "C1", "1700000000.000100")


async def test_fifty_callers_of_one_thread_get_one_conversation(
    storage: BaseStorageProvider,
) -> None:
    ids = await asyncio.gather(
        *(storage.get_or_create_conversation(*THREAD, "general") for _ in range(50))
    )
    assert len(set(ids)) == 1
    [conversation] = await storage.get_conversations_for_export("agent")
    assert conversation["id"] == ids[0]


async def test_fifty_callers_of_as_many_threads_get_one_conversation_each(
    storage: BaseStorageProvider,
) -> None:
    ids = await asyncio.gather(
        *(storage.get_or_create_conversation("agent", "C1", str(n)) for n in range(50))
    )
    assert len(set(ids)) == 50
    assert len(await storage.get_conversations_for_export("agent")) == 50


@pytest.mark.durable
async def test_callers_in_several_processes_get_one_conversation(new_provider: Any) -> None:
    storages = [await new_provider() for _ in range(4)]
    for round_ in range(5):
        ids = await asyncio.gather(
            *(
                storages[n % 4].get_or_create_conversation("agent", "C1", str(round_), "general")
                for n in range(24)
            )
        )
        assert len(set(ids)) == 1
    assert len(await storages[0].get_conversations_for_export("agent")) == 5


async def test_a_race_of_channel_names_ends_with_one_of_them(storage: BaseStorageProvider) -> None:
    names = [f"name-{n}" for n in range(20)]
    for _ in range(3):
        ids = await asyncio.gather(
            *(storage.get_or_create_conversation(*THREAD, name) for name in names)
        )
        assert len(set(ids)) == 1
        [conversation] = await storage.get_conversations_for_export("agent")
        assert conversation["channel_name"] in names


@pytest.mark.durable
async def test_a_race_of_channel_names_between_processes_ends_with_one_of_them(
    new_provider: Any,
) -> None:
    storages = [await new_provider() for _ in range(2)]
    names = [f"name-{n}" for n in range(20)]
    ids = await asyncio.gather(
        *(storages[n % 2].get_or_create_conversation(*THREAD, name) for n, name in enumerate(names))
    )
    assert len(set(ids)) == 1
    for storage in storages:
        [conversation] = await storage.get_conversations_for_export("agent")
        assert conversation["channel_name"] in names


type Write = Callable[[BaseStorageProvider, int], Awaitable[Any]]
type Read = Callable[[BaseStorageProvider], Awaitable[Any]]


async def read_value(storage: BaseStorageProvider) -> Any:
    """Return the number that was set last."""
    stored = await storage.get("plugin", "key")
    return stored and stored["n"]


async def read_heartbeat(storage: BaseStorageProvider) -> Any:
    """Return the heartbeat that was written last."""
    heartbeat = await storage.get_heartbeat("agent")
    return heartbeat and heartbeat["last_ping_pong_time"]


async def read_token(storage: BaseStorageProvider) -> Any:
    """Return the number in the token that was put last."""
    token = await storage.get_oauth_token("U1", "server")
    return token and token.expires_at


async def read_client(storage: BaseStorageProvider) -> Any:
    """Return the number in the client that was put last."""
    client = await storage.get_oauth_client("server", "uri")
    return client and client.updated_at


UPSERTS: dict[str, tuple[Write, Read]] = {
    "set": (lambda storage, n: storage.set("plugin", "key", {"n": n}), read_value),
    "upsert_heartbeat": (lambda storage, n: storage.upsert_heartbeat("agent", n), read_heartbeat),
    "put_oauth_token": (
        lambda storage, n: storage.put_oauth_token("U1", "server", oauth_token(expires_at=n)),
        read_token,
    ),
    "put_oauth_client": (
        lambda storage, n: storage.put_oauth_client("server", "uri", oauth_client(updated_at=n)),
        read_client,
    ),
}


@pytest.mark.parametrize(("write", "read"), UPSERTS.values(), ids=UPSERTS.keys())
async def test_fifty_writers_of_one_key_all_succeed(
    storage: BaseStorageProvider, write: Write, read: Read
) -> None:
    await asyncio.gather(*(write(storage, n) for n in range(50)))
    assert await read(storage) in range(50)


@pytest.mark.durable
@pytest.mark.parametrize(("write", "read"), UPSERTS.values(), ids=UPSERTS.keys())
async def test_writers_of_one_key_in_several_processes_all_succeed(
    new_provider: Any, write: Write, read: Read
) -> None:
    storages = [await new_provider() for _ in range(3)]
    await asyncio.gather(*(write(storages[n % 3], n) for n in range(30)))
    seen = [await read(storage) for storage in storages]
    assert seen[0] in range(30)
    assert seen == [seen[0]] * 3


async def test_writers_and_deleters_of_one_key_all_succeed(storage: BaseStorageProvider) -> None:
    await asyncio.gather(
        *(
            storage.delete("plugin", "key") if n % 3 else storage.set("plugin", "key", {"n": n})
            for n in range(60)
        )
    )
    await storage.set("plugin", "key", {"n": -1})
    assert await storage.query("plugin", {}) == [{"n": -1}]


async def test_the_items_of_each_caller_stay_in_its_order(storage: BaseStorageProvider) -> None:
    async def append_all(caller: int) -> list[str]:
        return [
            await storage.append("plugin", "key", {"caller": caller, "n": n}) for n in range(20)
        ]

    ids_by_caller = await asyncio.gather(*(append_all(caller) for caller in range(10)))
    items = await storage.get_list("plugin", "key")
    assert len(items) == len({item["id"] for item in items}) == 200
    for caller, ids in enumerate(ids_by_caller):
        own = [item for item in items if item["caller"] == caller]
        assert [item["n"] for item in own] == list(range(20))
        assert [item["id"] for item in own] == ids
    assert await storage.query("plugin", {}) == items


@pytest.mark.durable
async def test_items_appended_by_processes_in_turn_are_in_that_order(new_provider: Any) -> None:
    storages = [await new_provider() for _ in range(3)]
    ids = [await storages[n % 3].append("plugin", "key", {"n": n}) for n in range(60)]
    for storage in storages:
        items = await storage.get_list("plugin", "key")
        assert [item["n"] for item in items] == list(range(60))
        assert [item["id"] for item in items] == ids


@pytest.mark.durable
async def test_blocks_appended_by_processes_in_turn_are_in_that_order(new_provider: Any) -> None:
    storages = [await new_provider() for _ in range(2)]
    conversation_id = await storages[0].get_or_create_conversation(*THREAD)
    message_id = await storages[1].create_message(conversation_id, "U1", "Ada", "ada")
    for n in range(40):
        await storages[n % 2].append_text_block(message_id, str(n))
    for storage in storages:
        [(_, blocks)] = await storage.get_message_blocks(conversation_id)
        assert [block["content"]["text"] for block in blocks] == [str(n) for n in range(40)]


async def test_the_blocks_of_each_message_stay_in_order_while_others_write(
    storage: BaseStorageProvider,
) -> None:
    async def write_thread(thread: int) -> Id:
        conversation_id = await storage.get_or_create_conversation("agent", "C1", str(thread))
        for _ in range(2):
            message_id = await storage.create_message(conversation_id, "U1", "Ada", "ada")
            for n in range(5):
                await storage.append_text_block(message_id, f"{thread} {n}")
                await storage.append_tool_block(
                    message_id, **TOOL_CALL | {"tool_output": f"{thread} {n}"}
                )
            await storage.append_usage_block(message_id, **USAGE)
        return conversation_id

    conversation_ids = await asyncio.gather(*(write_thread(thread) for thread in range(12)))
    for thread, conversation_id in enumerate(conversation_ids):
        messages = await storage.get_message_blocks(conversation_id)
        assert len(messages) == 2
        for _, blocks in messages:
            assert [
                block["content"].get("text") or block["content"].get("tool_output")
                for block in blocks
            ] == [f"{thread} {n}" for n in range(5) for _ in range(2)]


async def test_a_reader_sees_whole_blocks_while_a_writer_appends(
    storage: BaseStorageProvider, conversation_id: Id, message_id: Id
) -> None:
    async def write() -> None:
        for n in range(30):
            await storage.append_text_block(message_id, str(n))

    writing = asyncio.create_task(write())
    seen: list[list[str]] = []
    while not writing.done():
        [(_, blocks)] = await storage.get_message_blocks(conversation_id)
        seen.append([block["content"]["text"] for block in blocks])
    await writing
    assert all(texts == [str(n) for n in range(len(texts))] for texts in seen)
    assert [len(texts) for texts in seen] == sorted(len(texts) for texts in seen)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
async def test_a_call_given_up_at_any_moment_leaves_the_storage_usable(
    storage: BaseStorageProvider, conversation_id: Id, message_id: Id, call: Any
) -> None:
    begin = time.perf_counter()
    await call(storage, conversation_id, message_id)
    duration = time.perf_counter() - begin
    for tenths in range(15):
        with suppress(TimeoutError):
            await asyncio.wait_for(
                call(storage, conversation_id, message_id), duration * tenths / 10
            )
    await storage.set("plugin", "after", {"a": 1})
    assert await storage.get("plugin", "after") == {"a": 1}
    await call(storage, conversation_id, message_id)


async def test_more_cancelled_callers_than_connections_leave_the_storage_usable(
    storage: BaseStorageProvider,
) -> None:
    for _ in range(3):
        tasks = [asyncio.ensure_future(storage.set("plugin", str(n), {"n": n})) for n in range(40)]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert [task for task in tasks if not task.cancelled() and task.exception()] == []
    await asyncio.gather(*(storage.set("plugin", str(n), {"n": -n}) for n in range(40)))
    for n in range(40):
        assert await storage.get("plugin", str(n)) == {"n": -n}
