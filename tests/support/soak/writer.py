"""A process that writes and reads as agents do, and prints the answers.

    python -m tests.support.soak.writer SETTINGS

SETTINGS is a JSON object, see `Settings`. The process starts at the first line of its standard
input, makes calls until the second, waits for those in flight, and ends with its input. Each line
of its output is a JSON object: a call that was answered, refused, given up or hung.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NamedTuple

from slack_agents.config import load_plugin
from slack_agents.storage.base import BaseStorageProvider

from slack_agents_sqlalchemy import Provider
from slack_agents_sqlalchemy.testing.connections import connections_left

WRITERS = 2
"""Of each kind; with the one reader they fit in a pool of ten connections."""
TEXTS = 20
"""In each message."""
MESSAGES = 5
"""In each conversation."""
_GIVES_UP = 0.5  # of the calls, in a process that gives up
_LONGEST_WAIT = 0.03  # seconds after which a caller may give up, at most
_PAUSE = 0.02  # seconds before the call after one that failed

type Note = dict[str, Any]


class Settings(NamedTuple):
    """The settings of a process.

    Attributes:
        storage: The section `storage` of an agent's configuration.
        name: Of the process, one letter.
        neighbour: The process whose conversations it reads.
        gives_up: Whether every second call is cancelled at a random moment.
        hung_after: Seconds without an answer after which a call counts as hung.
    """

    storage: dict[str, Any]
    name: str
    neighbour: str
    gives_up: bool = False
    hung_after: float = 60.0


class Answer(NamedTuple):
    """What came of a call: whether it was answered, and with what."""

    is_there: bool
    value: Any = None


class Stopped(Exception):  # noqa: N818 - no error
    """The process was asked to stop."""


class Load:
    """Calls of one process, until it is asked to stop."""

    def __init__(self, storage: BaseStorageProvider, settings: Settings) -> None:
        self._storage = storage
        self._settings = settings
        self._is_stopped = False
        self._hung: set[asyncio.Future[Any]] = set()

    async def run(self) -> None:
        """Make calls until a line arrives on the standard input."""
        name = self._settings.name
        callers = [
            kind(f"{name}{number}")
            for kind in (self._append, self._talk, self._replace, self._open)
            for number in range(WRITERS)
        ]
        if not self._settings.gives_up:  # what was given up may arrive after what followed it
            callers.append(self._follow())
        tasks = [asyncio.create_task(caller) for caller in callers]
        await asyncio.to_thread(sys.stdin.readline)
        self._is_stopped = True
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(result, Stopped), f"a caller ended by itself: {result!r}"

    async def _append(self, writer: str) -> None:
        """Append to a list that all writers of this process share."""
        for n in itertools.count():
            item = {"writer": writer, "n": n}
            await self._call(
                "append", partial(self._storage.append, "list", self._settings.name, item), **item
            )

    async def _talk(self, writer: str) -> None:
        """Write one conversation after another, message by message."""
        storage, texts = self._storage, itertools.count()
        for number in itertools.count():
            conversation = await self._insist(
                "thread",
                partial(storage.get_or_create_conversation, "agent", "C1", f"{writer} {number}"),
            )
            for _ in range(MESSAGES):
                message = await self._insist(
                    "message", partial(storage.create_message, conversation, "U1", "Ada", "ada")
                )
                for _ in range(TEXTS):
                    text = {"writer": writer, "n": next(texts)}
                    await self._call(
                        "block",
                        partial(storage.append_text_block, message, json.dumps(text)),
                        **text,
                    )

    async def _replace(self, writer: str) -> None:
        """Replace the value of a key that everybody replaces, and of one that is the writer's."""
        storage = self._storage
        for n in itertools.count():
            value = {"writer": writer, "n": n}
            await self._call("hot", partial(storage.set, "keys", "hot", value), **value)
            answer = await self._call("own", partial(storage.set, "keys", writer, value))
            if answer.is_there:
                found = await self._insist("look", partial(storage.get, "keys", writer))
                self._judge("look", found == value)

    async def _open(self, writer: str) -> None:
        """Open conversations, each at about the same time as the other processes."""
        for n in itertools.count():
            thread = f"{writer[-1]} {n // 2}"
            # The first call gives the channel's name, the second must not take it away.
            channel_name = (None, "")[n // 2 % 2] if n % 2 else "general"
            await self._call(
                "conversation",
                partial(
                    self._storage.get_or_create_conversation, "agent", "C2", thread, channel_name
                ),
                thread=thread,
                channel_name=channel_name,
            )

    async def _follow(self) -> None:
        """Read what another process writes: each time what was there before, and more."""
        storage = self._storage
        for number in itertools.count():
            thread = f"{self._settings.neighbour}0 {number}"
            conversation = await self._insist(
                "thread", partial(storage.get_or_create_conversation, "agent", "C1", thread)
            )
            seen: list[int] = []
            while len(seen) < TEXTS * MESSAGES:
                read = partial(storage.get_messages_with_blocks, conversation)
                now = numbers(await self._insist("export", read))
                self._judge("export", now[: len(seen)] == seen)
                seen = now
                await asyncio.sleep(_PAUSE)

    async def _insist(self, kind: str, call: Callable[[], Awaitable[Any]]) -> Any:
        """Make a call again until it is answered."""
        while not (answer := await self._call(kind, call)).is_there:
            pass
        return answer.value

    async def _call(self, kind: str, call: Callable[[], Awaitable[Any]], **written: Any) -> Answer:
        """Make a call, and note what came of it."""
        if self._is_stopped:
            raise Stopped
        note: Note = {"kind": kind, **written}
        started = time.monotonic()
        task = asyncio.ensure_future(call())
        if self._settings.gives_up and random.random() < _GIVES_UP:
            asyncio.get_running_loop().call_later(random.uniform(0, _LONGEST_WAIT), task.cancel)
        done, _ = await asyncio.wait({task}, timeout=self._settings.hung_after)
        answer = Answer(is_there=False)
        if not done:
            task.cancel()
            self._hung.add(task)
            note["error"] = "Hung"
        elif task.cancelled():
            note["gave_up"] = True
        elif error := task.exception():
            note |= {"error": type(error).__name__, "text": str(error)[:300]}
        else:
            answer = Answer(is_there=True, value=task.result())
            note["answered"] = True
            if isinstance(answer.value, int | str):
                note["id"] = str(answer.value)
        _print(note | {"seconds": time.monotonic() - started})
        if "error" in note:
            await asyncio.sleep(_PAUSE)
        return answer

    def _judge(self, kind: str, is_right: bool) -> None:
        if not is_right:
            _print({"kind": kind, "corrupted": True})


def _print(note: Note) -> None:
    print(json.dumps(note), flush=True)


def numbers(messages: list[dict[str, Any]]) -> list[int]:
    """Return the numbers of a conversation's texts, in the order in which they are read."""
    blocks = [block for message in messages for block in message["blocks"]]
    return [json.loads(block["content"]["text"])["n"] for block in blocks]


async def leaked(storage: BaseStorageProvider) -> int:
    """Return how many connections were not checked in, when calls that were given up have ended."""
    if isinstance(storage, Provider):
        return await connections_left(storage)
    pool = getattr(storage, "_pool", None)
    return pool.get_size() - pool.get_idle_size() if pool is not None else 0


async def main(settings: Settings) -> None:
    """Open the storage, make calls, and close it at the end of the input."""
    storage = load_plugin(settings.storage["type"], **_options(settings.storage))
    _print({"kind": "ready"})
    await asyncio.to_thread(sys.stdin.readline)
    await storage.initialize()
    await Load(storage, settings).run()
    _print({"kind": "settled", "leaked": await leaked(storage)})
    await asyncio.to_thread(sys.stdin.read)
    await storage.close()


def _options(storage: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in storage.items() if name != "type"}


if __name__ == "__main__":
    asyncio.run(main(Settings(**json.loads(sys.argv[1]))))
