"""How the time of a call grows with the database, from 1,000 blocks to 1,000,000.

Each call is compared with itself in a small database on the same server, which keeps its thousand
blocks. Both ways of storing stand in each database with as many blocks: as this provider's rows,
and as the lists of JSON that the base class's defaults make.

The first thousand blocks are written by the providers, the others are copied by the database: with
ids from before, and digests that no other row has.
"""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, cast

from sqlalchemy import Column, ColumnElement, Connection, String, Table, insert, select
from sqlalchemy import func as sql
from sqlalchemy import type_coerce as coerce

from benchmarks import calls, samples
from benchmarks.harness import Comparison, Implementation, Session, Storage, Timed
from benchmarks.implementations import DEFAULTS, OURS, ours, run
from benchmarks.samples import ADA, USAGE
from slack_agents_sqlalchemy import Provider
from slack_agents_sqlalchemy.identifiers import next_id
from slack_agents_sqlalchemy.models import Block, Conversation, KeyValue, ListItem, Message
from slack_agents_sqlalchemy.types.columns import Digest, Id

SIZES = (1_000, 10_000, 100_000, 1_000_000)

_BLOCKS = 100  # in each conversation, and in the one that is looked at
_TEXT = "ACME GmbH was 11 days late in March, the others were in time."
_TOOL: dict[str, Any] = {
    "tool_name": "search",
    "tool_input": {"month": 3},
    "tool_output": _TEXT,
    "is_error": False,
}
_LOOKED_AT = "toolu_looked_at"
_TOO_LONG = 20.0  # seconds

_COPIED = tuple(model.__table__ for model in (Conversation, Message, Block, KeyValue, ListItem))
_SHARED = ("agent_digest", "namespace_digest", "user_handle_digest")  # the same in many rows

type Prepare = Callable[[Database, str], Awaitable[Timed]]
type Append = Callable[[Storage, samples.Id], Awaitable[object]]


async def measure(session: Session) -> None:
    """Fill the database step by step, and measure the calls at each."""
    wanted = [call for call in _CALLS if session.wants(call)]
    if not wanted:
        return
    sizes = (100, 1_000) if session.profile.is_quick else SIZES
    session.show("", total=len(wanted) * len(sizes[1:]))
    async with AsyncExitStack() as opened:
        opened.enter_context(session.on_one_cpu())
        large = await Database.open(session.url, opened)
        opened.push_async_callback(large.ours.empty)
        small = await Database.open(await opened.enter_async_context(_twin(large)), opened)
        await _measure(session, wanted, sizes, small, large)
        session.show("emptying the tables")


async def _measure(
    session: Session, wanted: list[str], sizes: tuple[int, ...], small: Database, large: Database
) -> None:
    session.show(f"writing {sizes[0]:,} blocks")
    for database in (small, large):
        await database.write(sizes[0])
    too_long: set[str] = set()
    for before, size in pairwise(sizes):
        session.show(f"copying up to {size:,} blocks")
        started = time.monotonic()
        await large.copy(size // before)
        session.notes.append(f"copied to {size:,} blocks in {time.monotonic() - started:.0f} s")
        rows = await large.provider.count_rows()
        assert rows["slack_agents_blocks"] == size + _BLOCKS
        assert rows["slack_agents_list_items"] >= size + _BLOCKS
        for database in (small, large):
            await database.ours.settle()
        measured = next_id()
        for call in wanted:
            sides = {}
            for name in (OURS, DEFAULTS):
                if name == OURS or (call in _DEFAULTS and call not in too_long):
                    sides[_in_small(name, sizes)] = await _CALLS[call](small, name)
                    sides[name] = await _CALLS[call](large, name)
            comparison = await session.measure_calls(call, sides, at=size)
            for name in comparison.rounds.keys() & {OURS, DEFAULTS}:
                growth = comparison.ratio(name, to=_in_small(name, sizes))
                comparison.further[name] = {"growth": round(growth, 3)}
            if size != sizes[-1] and _seconds(comparison) * 10 > _TOO_LONG:
                too_long.add(call)
                session.notes.append(
                    f"{DEFAULTS}: {call} takes too long: not measured beyond {size:,} blocks"
                )
        for database in (small, large):
            await database.forget(measured)


def _in_small(implementation: str, sizes: tuple[int, ...]) -> str:
    return f"{implementation} at {sizes[0]:,}"


def _seconds(comparison: Comparison) -> float:
    return max(median(its[-1]) for its in comparison.rounds.values()) / 1e6


@asynccontextmanager
async def _twin(database: Database) -> AsyncIterator[str]:
    """Make one more database on the same server, for as long as it is needed."""
    engine = database.provider.engine
    if engine.dialect.name == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{Path(folder) / 'small.db'}"
        return
    name = f"{engine.url.database}_small_{secrets.token_hex(4)}"
    quoted = engine.dialect.identifier_preparer.quote(name)

    async def say(command: str) -> None:
        await run(
            database.provider,
            lambda connection: connection.exec_driver_sql(f"{command} DATABASE {quoted}").close(),
        )

    await say("CREATE")
    try:
        yield engine.url.set(database=name).render_as_string(hide_password=False)
    finally:
        await say("DROP")


class Database:
    """Conversations in one database, stored in both ways."""

    def __init__(self, implementations: dict[str, Implementation]) -> None:
        self.ours = implementations[OURS]
        self.provider = cast("Provider", self.ours.storage)
        self.storages = {name: one.storage for name, one in implementations.items()}
        #: The conversation that is read, by implementation.
        self.looked_at: dict[str, samples.Id] = {}
        self._begin = self._end = 0
        self._copied = 0

    @classmethod
    async def open(cls, url: str, opened: AsyncExitStack) -> Database:
        """Open both implementations."""
        names = (OURS, DEFAULTS)
        return cls({name: await opened.enter_async_context(ours(url, name)) for name in names})

    async def write(self, blocks: int) -> None:
        """Write so many blocks, and the conversation that is looked at."""
        self._begin = next_id()
        for storage in self.storages.values():
            for number in range(blocks // _BLOCKS):
                await _converse(storage, f"thread {number}")
        self._end = next_id()
        for name, storage in self.storages.items():
            self.looked_at[name] = await _converse(storage, "looked at", _LOOKED_AT)

    async def copy(self, factor: int) -> None:
        """Make it so many times as large: up to ten."""
        span = self._end - self._begin
        for copy in reversed(range(1, factor)):
            for table in _COPIED:
                await run(
                    self.provider, partial(self._copy, table=table, copy=copy, shift=copy * span)
                )
        self._begin -= (factor - 1) * span
        self._copied += 1

    async def forget(self, since: int) -> None:
        """Delete what was written from this id on, which would count as growth."""

        def delete(connection: Connection) -> None:
            for table in reversed(_COPIED):
                connection.execute(table.delete().where(table.c.id >= since))

        await run(self.provider, delete)

    def _copy(self, connection: Connection, table: Table, copy: int, shift: int) -> None:
        columns = [self._changed(column, copy, shift) for column in table.c]
        rows = select(*columns).where(table.c.id >= self._begin, table.c.id < self._end)
        connection.execute(insert(table).from_select(list(table.c.keys()), rows))

    def _changed(self, column: Column[Any], copy: int, shift: int) -> ColumnElement[Any]:
        if column.type is Id:
            return column - shift
        if isinstance(column.type, Digest) and column.name not in _SHARED:
            # A letter that no digest has, at another place in each step.
            text = coerce(column, String)
            letter = chr(ord("f") + copy)
            place = self._copied + 1
            return sql.substr(text, 1, place - 1) + letter + sql.substr(text, place + 1)
        return column


def _text(storage: Storage, message: samples.Id) -> Awaitable[object]:
    return storage.append_text_block(message, _TEXT)


def _file(storage: Storage, message: samples.Id) -> Awaitable[object]:
    return samples.append_file(storage, message, _TEXT)


def _tool(storage: Storage, message: samples.Id, tool_call: str = "toolu_1") -> Awaitable[object]:
    return storage.append_tool_block(message, tool_call_id=tool_call, **_TOOL)


def _usage(storage: Storage, message: samples.Id) -> Awaitable[object]:
    return storage.append_usage_block(message, **USAGE)


async def _converse(storage: Storage, thread: str, tool_call: str = "toolu_1") -> samples.Id:
    """Write a conversation of a hundred blocks, five to a message."""
    opened = await samples.conversation(storage, thread)
    for _ in range(_BLOCKS // 5):
        message = await storage.create_message(opened, *ADA)
        await storage.append_text_block(message, _TEXT, is_user=True)
        await _tool(storage, message, tool_call)
        await _file(storage, message)
        await _text(storage, message)
        await _usage(storage, message)
    return opened


def _append(append: Append, block_type: str) -> Prepare:
    async def prepare(database: Database, name: str) -> Timed:
        storage = database.storages[name]
        return await calls.append_block(storage, partial(append, storage), block_type)

    return prepare


def _call(prepare: calls.Prepare) -> Prepare:
    return lambda database, name: prepare(database.storages[name])


async def _get_tool_call(database: Database, name: str) -> Timed:
    async def check(call: dict[str, Any]) -> None:
        assert call["output_json"] == _TEXT

    return Timed(lambda _: database.storages[name].get_tool_call(_LOOKED_AT), check)


async def _get_message_blocks(database: Database, name: str) -> Timed:
    storage, conversation = database.storages[name], database.looked_at[name]

    async def check(messages: list[tuple[samples.Id, list[dict[str, Any]]]]) -> None:
        assert len(messages) == _BLOCKS // 5
        assert all(blocks[0]["content"] == {"text": _TEXT} for _, blocks in messages)

    return Timed(lambda _: storage.get_message_blocks(conversation), check)


#: What the base class has defaults for; what reads comes first, before anything else is written.
_DEFAULTS: dict[str, Prepare] = {
    "get_tool_call": _get_tool_call,
    f"get_message_blocks, {_BLOCKS} blocks": _get_message_blocks,
    "create_message": _call(calls.create_message),
    "append_text_block": _append(_text, "text"),
    "append_file_block": _append(_file, "file"),
    "append_tool_block": _append(_tool, "tool_use"),
    "append_usage_block": _append(_usage, "usage"),
    "agent turn": _call(calls.turns(1, 2)),
}
_CALLS: dict[str, Prepare] = _DEFAULTS | {"get": _call(calls.get), "append": _call(calls.append)}
