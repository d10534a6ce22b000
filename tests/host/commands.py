"""Runs a command line as a process of its own, as an operator does."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path

HELLO_STORAGE = Path(__file__).parents[2] / "examples" / "hello-storage"
SECONDS = 60

_SETTINGS = {
    "SLACK_BOT_TOKEN": "xoxb-dummy",
    "SLACK_APP_TOKEN": "xapp-dummy",
    "ANTHROPIC_API_KEY": "sk-ant-dummy",
    # So that whatever a command prints to stderr is a complaint: a warning, an unclosed connection.
    "LOG_LEVEL": "WARNING",
    "PYTHONWARNINGS": "default::ResourceWarning",
    "LANG": "C.UTF-8",
}


@dataclass(frozen=True)
class Finished:
    """What is left of a process."""

    exit_code: int
    output: str
    errors: str


async def run(*command: str | Path, cwd: Path | None = None, **environment: str) -> Finished:
    """Run a program of this Python's environment to its end, with these variables and no others."""
    program, *arguments = map(str, command)
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name(program),
        *arguments,
        cwd=cwd,
        env={"PATH": os.environ["PATH"], **_SETTINGS, **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(SECONDS):
            output, errors = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    return Finished(int(process.returncode or 0), output.decode(), errors.decode())


async def slack_agents(command: str, *arguments: str | Path, url: str) -> Finished:
    """Run a command of the framework on the example agent with this database."""
    return await run("slack-agents", command, HELLO_STORAGE, *arguments, DATABASE_URL=url)
