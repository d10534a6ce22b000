"""How this provider compares with the sessions of openai-agents and google-adk.

They are what one would pick for an agent of those frameworks. Each stores the same turn of an agent
in its own form: this provider in seven calls (a message, and six blocks, one of them of usage), the
`SQLAlchemySession` of openai-agents in one call and transaction, the `DatabaseSessionService` of
google-adk in one for each event. They are an optional group of dependencies (`others`).
"""

from __future__ import annotations

import itertools
import json
import tempfile
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, cast, override

from sqlalchemy import Connection, MetaData, inspect, make_url
from sqlalchemy.exc import CompileError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from benchmarks import samples
from benchmarks.harness import Implementation, Session, Timed
from benchmarks.implementations import OURS, note_durability, ours
from benchmarks.samples import ADA, ANSWER, PLAN, QUESTION, TOOL, USAGE

_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "mysql": "mysql+aiomysql",
    "mariadb": "mysql+aiomysql",
}


class Sessions(ABC):
    """Histories of an agent: what they have in common."""

    #: How many things a turn is, as they are loaded.
    items: int

    @abstractmethod
    async def begin(self, name: str) -> Any:
        """Open a history that is new."""

    @abstractmethod
    async def append_text(self, history: Any) -> None:
        """Append one text."""

    @abstractmethod
    async def append_turn(self, history: Any) -> None:
        """Append a turn of the agent with two tool calls."""

    @abstractmethod
    async def load(self, history: Any) -> int:
        """Load it all, and return how many things it has."""


class Ours(Sessions):
    """Histories in this provider."""

    items = 5

    def __init__(self, implementation: Implementation) -> None:
        self._storage = implementation.storage

    @override
    async def begin(self, name: str) -> Any:
        opened = await samples.conversation(self._storage, name)
        return opened, await self._storage.create_message(opened, *ADA)

    @override
    async def append_text(self, history: Any) -> None:
        _, message = history
        await self._storage.append_text_block(message, ANSWER)

    @override
    async def append_turn(self, history: Any) -> None:
        opened, _ = history
        message = await self._storage.create_message(opened, *ADA)
        await self._storage.append_text_block(message, QUESTION, is_user=True)
        await self._storage.append_text_block(message, PLAN)
        await samples.append_tool(self._storage, message, "toolu_1")
        await samples.append_tool(self._storage, message, "toolu_2")
        await self._storage.append_text_block(message, ANSWER)
        await self._storage.append_usage_block(message, **USAGE)

    @override
    async def load(self, history: Any) -> int:
        opened, _ = history
        return sum(len(blocks) for _, blocks in await self._storage.get_message_blocks(opened))


class OpenAIAgents(Sessions):
    """``SQLAlchemySession`` of openai-agents; its items are those of the Responses API."""

    items = 7

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @override
    async def begin(self, name: str) -> Any:
        from agents.extensions.memory import SQLAlchemySession

        history = SQLAlchemySession(
            name,
            engine=self._engine,
            create_tables=True,
            sessions_table="benchmark_openai_sessions",
            messages_table="benchmark_openai_messages",
        )
        await history.get_items()  # makes the tables
        return history

    @override
    async def append_text(self, history: Any) -> None:
        await history.add_items([self._text("assistant", ANSWER)])

    @override
    async def append_turn(self, history: Any) -> None:
        await history.add_items(
            [
                self._text("user", QUESTION),
                self._text("assistant", PLAN),
                *self._tool("toolu_1"),
                *self._tool("toolu_2"),
                self._text("assistant", ANSWER),
            ]
        )

    @override
    async def load(self, history: Any) -> int:
        return len(await history.get_items())

    def _text(self, role: str, text: str) -> dict[str, Any]:
        return {"role": role, "content": text}

    def _tool(self, call: str) -> list[dict[str, Any]]:
        arguments = json.dumps(TOOL["tool_input"])
        name = TOOL["tool_name"]
        return [
            {"type": "function_call", "call_id": call, "name": name, "arguments": arguments},
            {"type": "function_call_output", "call_id": call, "output": TOOL["tool_output"]},
        ]


class GoogleADK(Sessions):
    """``DatabaseSessionService`` of google-adk; a model's text and first call are one event."""

    items = 6

    def __init__(self, engine: AsyncEngine) -> None:
        from google.adk.sessions import DatabaseSessionService

        self._service = DatabaseSessionService(db_engine=engine)

    @override
    async def begin(self, name: str) -> Any:
        return await self._service.create_session(app_name="app", user_id="U1", session_id=name)

    @override
    async def append_text(self, history: Any) -> None:
        await self._append(history, "model", {"text": ANSWER})

    @override
    async def append_turn(self, history: Any) -> None:
        await self._append(history, "user", {"text": QUESTION})
        await self._append(history, "model", {"text": PLAN}, self._call("toolu_1"))
        await self._append(history, "user", self._response("toolu_1"))
        await self._append(history, "model", self._call("toolu_2"))
        await self._append(history, "user", self._response("toolu_2"))
        await self._append(history, "model", {"text": ANSWER})

    @override
    async def load(self, history: Any) -> int:
        loaded = await self._service.get_session(
            app_name="app", user_id="U1", session_id=history.id
        )
        return len(cast("Any", loaded).events)

    async def _append(self, history: Any, role: str, *parts: dict[str, Any]) -> None:
        from google.adk.events import Event

        event = Event.model_validate(
            {
                "author": "user" if role == "user" else "agent",
                "content": {"role": role, "parts": parts},
            }
        )
        await self._service.append_event(history, event)

    def _call(self, call: str) -> dict[str, Any]:
        return {
            "function_call": {"id": call, "name": TOOL["tool_name"], "args": TOOL["tool_input"]}
        }

    def _response(self, call: str) -> dict[str, Any]:
        response = {"result": TOOL["tool_output"]}
        return {"function_response": {"id": call, "name": TOOL["tool_name"], "response": response}}


_OTHERS: dict[str, tuple[str, Callable[[AsyncEngine], Sessions]]] = {
    "openai-agents": ("agents.extensions.memory", OpenAIAgents),
    "google-adk": ("google.adk.sessions", GoogleADK),
}


async def measure(session: Session) -> None:
    """Measure those that are installed and work on the database."""
    loads = (2,) if session.profile.is_quick else (20, 200)
    cases: dict[str, Callable[[Sessions], Awaitable[Timed]]] = {
        "append one text": _append_text,
        "append a turn with two tool calls": _append_turn,
        **{f"load {count:,} turns": _load(count) for count in loads},
    }
    wanted = {name: prepare for name, prepare in cases.items() if session.wants(name)}
    if not wanted:
        return
    session.show("", total=len(wanted))
    async with AsyncExitStack() as opened:
        opened.enter_context(session.on_one_cpu())
        mine = await opened.enter_async_context(ours(session.url))
        opened.push_async_callback(mine.empty)
        implementations: dict[str, Sessions] = {OURS: Ours(mine)}
        for name, (module, make) in _OTHERS.items():
            try:
                import_module(module)
            except ImportError as exc:
                session.notes.append(f"{name} is not measured: {exc}")
                continue
            engine = await opened.enter_async_context(_tables_of_its_own(session.url))
            try:
                implementations[name] = make(engine)
                await implementations[name].begin("first")
            except CompileError as exc:
                del implementations[name]
                session.notes.append(f"{name} is not measured, it fails on this database: {exc}")
        if len(implementations) == 1:
            return
        await note_durability(session, [mine])
        session.notes.append("the others: their driver's defaults (SQLite: synchronous FULL)")
        for name, prepare in wanted.items():
            sides = {one: await prepare(sessions) for one, sessions in implementations.items()}
            await mine.settle()
            await session.measure_calls(name, sides)


@asynccontextmanager
async def _tables_of_its_own(url: str) -> AsyncIterator[AsyncEngine]:
    """Open an engine; tables that were not there before are dropped at the end."""
    parsed = make_url(url)
    with tempfile.TemporaryDirectory() as folder:
        parsed = parsed.set(drivername=_DRIVERS[parsed.get_backend_name()])
        if parsed.get_backend_name() == "sqlite":
            parsed = parsed.set(database=str(Path(folder) / "other.db"))
        engine = create_async_engine(parsed)
        try:
            async with engine.connect() as connection:
                before = await connection.run_sync(lambda it: inspect(it).get_table_names())
            yield engine
            async with engine.begin() as connection:
                await connection.run_sync(_drop_all_but, before)
        finally:
            await engine.dispose()


def _drop_all_but(connection: Connection, before: list[str]) -> None:
    tables = MetaData()
    tables.reflect(connection, only=lambda name, _: name not in before)
    tables.drop_all(connection)


async def _append_text(sessions: Sessions) -> Timed:
    history = await sessions.begin(samples.new_thread())
    return _counted(sessions, history, sessions.append_text, 1)


async def _append_turn(sessions: Sessions) -> Timed:
    history = await sessions.begin(samples.new_thread())
    return _counted(sessions, history, sessions.append_turn, sessions.items)


def _counted(
    sessions: Sessions, history: Any, append: Callable[[Any], Awaitable[None]], items: int
) -> Timed:
    made = itertools.count(1)

    async def check(_: None) -> None:
        assert await sessions.load(history) == next(made) * items

    return Timed(lambda _: append(history), check)


def _load(turns: int) -> Callable[[Sessions], Awaitable[Timed]]:
    async def prepare(sessions: Sessions) -> Timed:
        history = await sessions.begin(samples.new_thread())
        for _ in range(turns):
            await sessions.append_turn(history)

        async def check(items: int) -> None:
            assert items == turns * sessions.items

        return Timed(lambda _: sessions.load(history), check)

    return prepare
