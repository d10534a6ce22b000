"""Processes that write, and the answers that they print."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from string import ascii_letters
from typing import Any, Self

from tests.support.soak import writer
from tests.support.soak.writer import Note, Settings

ROOT = Path(__file__).parents[3]
SECONDS = 60
"""That a number of writes may take, a failover among them."""
KINDS = ("append", "block", "hot", "conversation")
"""Of the writes that are counted."""


class Writers:
    """Processes of `tests.support.soak.writer`.

    Attributes:
        notes: What each said so far; a process is there once it was started.
        failed: Those that ended before they were asked to.
        stuck: Those that got nothing done for `SECONDS`.
    """

    def __init__(self, **settings: Any) -> None:
        """Keep the settings of all processes, see `tests.support.soak.writer.Settings`."""
        self.notes: dict[str, list[Note]] = {}
        self.failed: set[str] = set()
        self.stuck: set[str] = set()
        self._settings = settings
        self._processes: dict[str, Process] = {}
        self._listeners: dict[str, asyncio.Task[None]] = {}
        self._heard = asyncio.Condition()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    async def start(self, storages: Sequence[dict[str, Any]]) -> str:
        """Start a process for each section `storage` of a configuration, all at one moment.

        Returns:
            Their names, a letter each.
        """
        first = len(self.notes)
        names = ascii_letters[first : first + len(storages)]
        for name, neighbour, storage in zip(names, names[1:] + names[:1], storages, strict=True):
            settings = Settings(storage, name, neighbour, **self._settings)
            process = await asyncio.create_subprocess_exec(
                *(
                    sys.executable,
                    "-m",
                    writer.__name__,
                    json.dumps(settings._asdict()),
                ),
                cwd=ROOT,
                stdin=PIPE,
                stdout=PIPE,
            )
            self._processes[name] = process
            self.notes[name] = []
            self._listeners[name] = asyncio.create_task(self._listen(name, process))
        await self._wait_until(lambda name: bool(self.notes[name]))
        await self._tell(names)
        return names

    async def _tell(self, names: Iterable[str]) -> None:
        """Let processes continue with the next step."""
        for name in names:
            if name in self._processes:
                with suppress(OSError):  # it has failed
                    stdin = self._processes[name].stdin
                    assert stdin is not None
                    stdin.write(b"\n")
                    await stdin.drain()

    async def _listen(self, name: str, process: Process) -> None:
        assert process.stdout is not None
        with suppress(ValueError):  # a line that was cut off by a kill
            async for line in process.stdout:
                self.notes[name].append(json.loads(line))
                async with self._heard:
                    self._heard.notify_all()
        await process.wait()
        async with self._heard:
            self._heard.notify_all()

    async def write(self, number: int) -> None:
        """Wait until each process has that many further writes acknowledged, of every kind."""
        before = {name: self._answered(name) for name in self._processes}
        await self._wait_until(
            lambda name: all(
                (self._answered(name) - before[name])[kind] >= number for kind in KINDS
            )
        )

    def _answered(self, name: str) -> Counter[str]:
        return Counter(note["kind"] for note in self.notes[name] if "answered" in note)

    async def settle(self) -> None:
        """Have the processes make no further call, and wait for those in flight."""
        await self._tell(self._processes)
        await self._wait_until(lambda name: self.notes[name][-1]["kind"] == "settled")

    async def end(self) -> None:
        """Have the processes that have settled close their storage, and end."""
        for process in self._processes.values():
            assert process.stdin is not None
            process.stdin.close()
        listeners = [self._listeners[name] for name in self._processes if name not in self.stuck]
        done, _ = await asyncio.wait(listeners, timeout=SECONDS) if listeners else (set(), set())
        for name, process in self._processes.items():
            if self._listeners[name] not in done:
                self.stuck.add(name)
            elif process.returncode != 0:
                self.failed.add(name)
        await self.kill()

    async def kill(self, *names: str) -> None:
        """Kill processes while they write; all by default."""
        names = names or tuple(self._processes)
        for name in names:
            with suppress(ProcessLookupError):
                self._processes[name].kill()
        for name in names:
            await self._listeners.pop(name)
            del self._processes[name]

    async def _wait_until(self, holds: Callable[[str], bool]) -> None:
        """Wait until something holds for each process that has not failed and is not stuck."""

        def left() -> set[str]:
            for name in [one for one, it in self._processes.items() if it.returncode is not None]:
                self.failed.add(name)
                del self._processes[name]
            going = self._processes.keys() - self.stuck
            return {name for name in going if not holds(name)}

        try:
            async with asyncio.timeout(SECONDS), self._heard:
                await self._heard.wait_for(lambda: not left())
        except TimeoutError:
            self.stuck |= left()
