"""What a new process costs: `slack-agents healthcheck`, which runs every 30 seconds, and imports.

The framework's command is run as a process of its own, on an agent that has this provider and on
one that has the built-in provider (where there is none, by itself). Memory is the most that a
process held at any time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import yaml
from slack_agents.storage import sqlite

from benchmarks.harness import QUICK, Implementation, Session
from benchmarks.implementations import OURS, built_in, has_built_in, ours, plain

_AGENT = "agent"
_CONFIG = {
    "version": "1.0.0",
    "schema": "slack-agents/v1",
    "slack": {"bot_token": "xoxb-none", "app_token": "xapp-none"},
    "access": {"type": "slack_agents.access.allow_all"},
    "llm": {
        "type": "slack_agents.llm.anthropic",
        "model": "claude-sonnet-4-6",
        "api_key": "none",
        "max_tokens": 4096,
        "max_input_tokens": 200_000,
    },
}
#: Ends by printing the kilobytes that the process held at most; what was held before it became
#: Python, which `getrusage` counts, is not its own.
_PEAK = """
import atexit, pathlib, resource

def show():
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        lines = status.read_text().splitlines()
        print(next(line.split()[1] for line in lines if line.startswith("VmHWM")))
    else:
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)

atexit.register(show)
"""
_HEALTHCHECK = "import sys; from slack_agents.cli import main; main()"

type Command = tuple[str, ...]


async def measure(session: Session) -> None:
    """Measure the processes, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncExitStack() as opened:
            implementations = [await opened.enter_async_context(ours(session.url))]
            if has_built_in(session):
                implementations.insert(0, await opened.enter_async_context(built_in(session.url)))
            starts = {one.name: Start(session.url, one, Path(folder)) for one in implementations}
            for one in implementations:
                await one.storage.upsert_heartbeat(_AGENT, time.time() + 86_400)
            try:
                await _measure(session, starts)
            finally:
                for one in implementations:
                    await one.empty()


async def _measure(session: Session, starts: dict[str, Start]) -> None:
    def healthcheck(start: Start) -> Command:
        return (str(Path(sys.executable).with_name("slack-agents")), "healthcheck", start.agent)

    def importing(start: Start) -> Command:
        return (sys.executable, "-c", f"import {start.module}")

    def healthcheck_peak(start: Start) -> Command:
        return (sys.executable, "-c", _PEAK + _HEALTHCHECK, "healthcheck", start.agent)

    def importing_peak(start: Start) -> Command:
        return (sys.executable, "-c", _PEAK + f"import {start.module}")

    cases: dict[str, tuple[Callable[[Start], Command], Callable[..., Awaitable[list[float]]]]] = {
        "slack-agents healthcheck, a process": (healthcheck, _time),
        "import, a process": (importing, _time),
        "peak memory of slack-agents healthcheck": (healthcheck_peak, _peak),
        "peak memory of import": (importing_peak, _peak),
    }
    wanted = {name: case for name, case in cases.items() if session.wants(name)}
    session.show("", total=len(wanted))
    for name, (command, run) in wanted.items():
        turns = {one: partial(run, start, command(start)) for one, start in starts.items()}
        if not session.profile.is_quick:
            for turn in turns.values():
                await turn()
        if run is _time:
            await session.measure_turns(name, turns)
        else:  # it hardly varies
            await session.measure_turns(name, turns, unit="KiB", profile=QUICK)


class Start:
    """An agent's directory, and what its processes need."""

    def __init__(self, url: str, implementation: Implementation, folder: Path) -> None:
        self.environment = {"PATH": os.environ["PATH"], "LOG_LEVEL": "WARNING"}
        if implementation.name == OURS:
            self.module = "slack_agents_sqlalchemy"
            storage = {"url": "{DATABASE_URL}"}
            self.environment["DATABASE_URL"] = url
        elif isinstance(implementation.storage, sqlite.Provider):
            self.module = "slack_agents.storage.sqlite"
            storage = {"path": "{DATABASE_PATH}"}
            self.environment["DATABASE_PATH"] = implementation.storage._path
        else:
            self.module = "slack_agents.storage.postgres"
            storage = {"url": "{DATABASE_URL}"}
            self.environment["DATABASE_URL"] = plain(url)
        directory = folder / self.module / _AGENT
        directory.mkdir(parents=True)
        config = _CONFIG | {"storage": {"type": self.module, **storage}}
        (directory / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        (directory / "system_prompt.txt").write_text("You help.", encoding="utf-8")
        self.agent = str(directory)


async def _time(start: Start, command: Command) -> list[float]:
    began = time.perf_counter_ns()
    _run(start, command)
    return [(time.perf_counter_ns() - began) / 1000]


async def _peak(start: Start, command: Command) -> list[float]:
    return [float(_run(start, command))]


def _run(start: Start, command: Command) -> str:
    """Run a process to its good end, and return what it printed."""
    return subprocess.run(
        command,
        check=True,
        capture_output=True,
        text=True,
        cwd=start.agent,
        env=start.environment,
        stdin=subprocess.DEVNULL,
    ).stdout
