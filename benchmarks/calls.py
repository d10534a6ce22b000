"""The calls that an agent and an operator make, as cases for any storage provider.

Each function prepares one case and uses only the base class, so that all implementations run the
same calls.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from slack_agents.storage.base import OAuthTokenRow

from benchmarks import samples
from benchmarks.harness import Case, Profile, Storage, Timed
from benchmarks.samples import ADA, AGENT, ANSWER, CHANNEL, EXCHANGE, GRACE, QUESTION, TOOL, USAGE

RECORD = {"task_id": "task-1", "channel_id": "C1", "thread_id": "1.0", "user_id": "U1", "n": 7}
TOKEN = OAuthTokenRow("access", "encrypted", "Bearer", "read write", 1_900_000_000, 1, 1)
#: Exchanges of five blocks in a thread before the turn that is timed.
EXCHANGES_BEFORE = 10
#: Threads in which the agent is at work at the same time.
AT_ONCE = 20
#: Megabytes of uploads in the conversation whose uploads are passed over.
UPLOADS = 10

type Prepare = Callable[[Storage], Awaitable[Timed]]


def calls(profile: Profile) -> list[Case]:
    """Return the calls that the base class has defaults for."""
    tool_calls = profile.size(1_000)
    conversations = profile.size(1_000)
    histories = sorted({10, 100, profile.size(1_000)})
    exchanges_before = max(EXCHANGES_BEFORE // profile.scale, 2)
    at_once = max(AT_ONCE // profile.scale, 2)
    megabytes = max(UPLOADS // profile.scale, 1)
    return [
        Case("get_or_create_conversation, existing", open_existing_conversation),
        Case("has_conversation", has_conversation),
        Case("create_message", create_message),
        Case("append_text_block", append_text),
        Case("append_file_block, 100 KB", append_file),
        Case("append_tool_block", append_tool),
        Case("append_usage_block", append_usage),
        *(
            Case(f"get_message_blocks, {count:,} blocks", get_message_blocks(count))
            for count in histories
        ),
        Case(
            f"get_message_blocks, {megabytes} MB of uploads",
            get_message_blocks_of_uploads(megabytes),
        ),
        *(
            Case(f"get_messages_with_blocks, {count:,} blocks", get_messages_with_blocks(count))
            for count in histories
        ),
        Case(f"get_tool_call, one of {tool_calls:,}", get_tool_call(tool_calls)),
        *exports(conversations),
        Case("upsert_heartbeat", upsert_heartbeat),
        Case("get_heartbeat", get_heartbeat),
        Case("agent turn", turns(1, exchanges_before)),
        Case(f"agent turn, {at_once} at once", turns(at_once, exchanges_before)),
    ]


def primitives(profile: Profile) -> list[Case]:
    """Return the calls that the base class has no default for."""
    items = profile.size(10_000)
    return [
        Case("get", get),
        Case("set", set_),
        Case("append", append),
        Case(f"query, one of {items:,}", query(items)),
        Case("get_oauth_token", get_oauth_token),
        Case("put_oauth_token", put_oauth_token),
    ]


async def open_existing_conversation(storage: Storage) -> Timed:
    """``get_or_create_conversation`` of a thread that is known, its channel's name unchanged."""
    opened = await samples.conversation(storage, "1.0")
    return Timed(lambda _: samples.conversation(storage, "1.0"), _is(expected=opened))


async def has_conversation(storage: Storage) -> Timed:
    """``has_conversation`` of a thread that is known."""
    await samples.conversation(storage, "1.0")
    return Timed(lambda _: storage.has_conversation(AGENT, CHANNEL, "1.0"), _is(expected=True))


async def create_message(storage: Storage) -> Timed:
    """``create_message`` in one conversation."""
    opened = await samples.conversation(storage, samples.new_thread())

    async def check(message: samples.Id) -> None:
        newest = (await storage.get_messages_with_blocks(opened))[-1]
        assert newest["id"] == message
        assert newest["user_handle"] == "ada"

    return Timed(lambda _: storage.create_message(opened, *ADA), check)


async def append_text(storage: Storage) -> Timed:
    """``append_text_block`` of a kilobyte."""

    async def call(message: samples.Id) -> None:
        await storage.append_text_block(message, ANSWER)

    return await append_block(storage, call, "text", text=ANSWER)


async def append_file(storage: Storage) -> Timed:
    """``append_file_block`` of 100 KB."""

    async def call(message: samples.Id) -> None:
        await samples.append_file(storage, message)

    return await append_block(storage, call, "file", data=samples.FILE_DATA)


async def append_tool(storage: Storage) -> Timed:
    """``append_tool_block`` of a kilobyte."""

    async def call(message: samples.Id) -> None:
        await samples.append_tool(storage, message)

    return await append_block(storage, call, "tool_use", tool_call_id="toolu_1", **TOOL)


async def append_usage(storage: Storage) -> Timed:
    """``append_usage_block``."""

    async def call(message: samples.Id) -> None:
        await storage.append_usage_block(message, **USAGE)

    return await append_block(storage, call, "usage", **USAGE)


def get_message_blocks(count: int) -> Prepare:
    """``get_message_blocks`` of a conversation with so many blocks, five to a message."""

    async def prepare(storage: Storage) -> Timed:
        opened = await samples.conversation(storage, "1.0")
        await samples.exchanges(storage, opened, count // 5)

        async def check(messages: list[tuple[samples.Id, list[dict[str, Any]]]]) -> None:
            assert len(messages) == count // 5
            for _, blocks in messages:
                # The defaults return usage too, which the model is not shown.
                assert [block["block_type"] for block in blocks][:4] == EXCHANGE[:4]
                assert blocks[0]["content"] == {"text": QUESTION}

        return Timed(lambda _: storage.get_message_blocks(opened), check)

    return prepare


def get_message_blocks_of_uploads(megabytes: int) -> Prepare:
    """``get_message_blocks`` where users sent large files, which the model does not see again.

    The built-in SQLite provider and the defaults return them nevertheless.
    """

    async def prepare(storage: Storage) -> Timed:
        opened = await samples.conversation(storage, "1.0")
        for _ in range(megabytes):
            message = await storage.create_message(opened, *ADA)
            await storage.append_text_block(message, QUESTION, is_user=True)
            await samples.append_file(storage, message, samples.FILE_DATA * 10, is_user=True)

        async def check(messages: list[tuple[samples.Id, list[dict[str, Any]]]]) -> None:
            assert len(messages) == megabytes
            assert all(blocks[0]["content"] == {"text": QUESTION} for _, blocks in messages)

        return Timed(lambda _: storage.get_message_blocks(opened), check)

    return prepare


def get_messages_with_blocks(count: int) -> Prepare:
    """``get_messages_with_blocks`` of a conversation with so many blocks, five to a message."""

    async def prepare(storage: Storage) -> Timed:
        opened = await samples.conversation(storage, "1.0")
        await samples.exchanges(storage, opened, count // 5)

        async def check(messages: list[dict[str, Any]]) -> None:
            assert len(messages) == count // 5
            for message in messages:
                assert [block["block_type"] for block in message["blocks"]] == EXCHANGE
                assert message["blocks"][-1]["content"] == USAGE

        return Timed(lambda _: storage.get_messages_with_blocks(opened), check)

    return prepare


def get_tool_call(count: int) -> Prepare:
    """``get_tool_call`` in the middle of so many."""

    async def prepare(storage: Storage) -> Timed:
        opened = await samples.conversation(storage, "1.0")
        message = await storage.create_message(opened, *ADA)
        await samples.fill(
            samples.append_tool(storage, message, f"toolu_{number}") for number in range(count)
        )

        async def check(call: dict[str, Any]) -> None:
            assert call["tool_name"] == TOOL["tool_name"]
            assert call["output_json"] == TOOL["tool_output"]

        return Timed(lambda _: storage.get_tool_call(f"toolu_{count // 2}"), check)

    return prepare


def exports(count: int) -> list[Case]:
    """Return an operator's exports of so many conversations, of which every tenth is grace's.

    All messages are of today: of the filters by date, one finds all and one none.
    """

    async def dataset(storage: Storage) -> None:
        await samples.fill(_export_thread(storage, number) for number in range(count))

    today = datetime.now(UTC)
    yesterday, tomorrow = (
        (today + timedelta(days=days)).isoformat(timespec="seconds") for days in (-1, 1)
    )
    name = "get_conversations_for_export"
    return [
        Case(f"{name}, all {count:,}", _find(count), dataset),
        Case(f"{name}, by handle of {count:,}", _find(count // 10, handle="grace"), dataset),
        Case(f"{name}, by date all of {count:,}", _find(count, date_from=yesterday), dataset),
        Case(f"{name}, by date none of {count:,}", _find(0, date_from=tomorrow), dataset),
        Case(f"full export of {count:,} conversations", _export(count), dataset),
    ]


async def _export_thread(storage: Storage, number: int) -> None:
    opened = await samples.conversation(storage, f"{number}.0")
    for _ in range(3):
        message = await storage.create_message(opened, *(ADA if number % 10 else GRACE))
        await storage.append_text_block(message, QUESTION, is_user=True)
        await storage.append_text_block(message, ANSWER)


def _find(matches: int, **filters: str) -> Prepare:
    async def prepare(storage: Storage) -> Timed:
        async def check(conversations: list[dict[str, Any]]) -> None:
            assert len({one["thread_id"] for one in conversations}) == matches

        return Timed(lambda _: storage.get_conversations_for_export(AGENT, **filters), check)

    return prepare


def _export(count: int) -> Prepare:
    """Do as ``slack-agents export-conversations`` does."""

    async def prepare(storage: Storage) -> Timed:
        async def call(_: None) -> list[list[dict[str, Any]]]:
            conversations = await storage.get_conversations_for_export(AGENT)
            return [await storage.get_messages_with_blocks(one["id"]) for one in conversations]

        async def check(exported: list[list[dict[str, Any]]]) -> None:
            assert len(exported) == count
            for messages in exported:
                assert [len(message["blocks"]) for message in messages] == [2, 2, 2]

        return Timed(call, check)

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


def query(count: int) -> Prepare:
    """``query`` that one of so many items matches."""

    async def prepare(storage: Storage) -> Timed:
        await samples.fill(
            storage.append("plug-in", f"key {number}", {**RECORD, "task_id": f"task-{number}"})
            for number in range(count)
        )
        wanted = f"task-{count // 2}"

        async def check(found: list[dict[str, Any]]) -> None:
            assert [item["task_id"] for item in found] == [wanted]

        return Timed(lambda _: storage.query("plug-in", {"task_id": wanted}), check)

    return prepare


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


def turns(at_once: int, exchanges_before: int) -> Prepare:
    """Make turns of the agent in so many threads at once, as it makes them for a user's message.

    Each timed turn has a thread of its own with the same number of exchanges in it already.
    """

    async def prepare(storage: Storage) -> Timed:
        async def before() -> list[str]:
            threads = [samples.new_thread() for _ in range(at_once)]
            await samples.fill(_begin(storage, thread, exchanges_before) for thread in threads)
            return threads

        async def call(threads: list[str]) -> list[str]:
            seen = await asyncio.gather(*(samples.turn(storage, thread) for thread in threads))
            assert set(seen) == {exchanges_before}
            return threads

        async def check(threads: list[str]) -> None:
            for thread in threads:
                await samples.check_turn(storage, thread, exchanges_before)

        return Timed(call, check, before)

    return prepare


async def _begin(storage: Storage, thread: str, count: int) -> None:
    opened = await samples.conversation(storage, thread)
    await samples.exchanges(storage, opened, count)


async def append_block(
    storage: Storage,
    append: Callable[[samples.Id], Awaitable[object]],
    block_type: str,
    **content: object,
) -> Timed:
    """Append blocks to one message; the newest is to have this type and content."""
    opened = await samples.conversation(storage, samples.new_thread())
    message = await storage.create_message(opened, *ADA)

    async def check(_: object) -> None:
        newest = (await storage.get_messages_with_blocks(opened))[-1]["blocks"][-1]
        assert newest["block_type"] == block_type
        assert newest["content"].items() >= content.items()

    return Timed(lambda _: append(message), check)


def _is(*, expected: object) -> Callable[[Any], Awaitable[None]]:
    async def check(answer: object) -> None:
        assert answer == expected

    return check
