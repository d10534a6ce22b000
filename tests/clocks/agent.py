"""A process with a clock of its own: makes the calls that it reads, one a line, on one provider.

Run as ``python -m tests.clocks.agent URL CLOCK``, where CLOCK is ``+SECONDS`` or ``-SECONDS``, the
difference from this machine's clock, or ``=SECONDS``, a clock that stands still.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from typing import Any, Self


class Agent:
    """The process, seen from the test; the calls of `send` run until `receive`."""

    def __init__(self, url: str, clock: str = "+0") -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.clocks.agent", url, clock],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._input.close()
        status = self._process.wait(60)
        self._output.close()
        assert status == 0

    def call(self, name: str, *arguments: Any) -> Any:
        """Make a call of the provider and return its result, as JSON has it."""
        self.send(name, *arguments)
        return self.receive()

    def send(self, name: str, *arguments: Any) -> None:
        """Begin a call."""
        self._input.write(json.dumps([name, *arguments]) + "\n")
        self._input.flush()

    def receive(self) -> Any:
        """Return the result of the call that was begun."""
        return json.loads(self._output.readline())


async def append_many(provider: Any, namespace: str, count: int) -> None:
    """Append at the same time."""
    await asyncio.gather(*(provider.append(namespace, "key", {"n": n}) for n in range(count)))


async def serve(url: str) -> None:
    from slack_agents_sqlalchemy import Provider  # noqa: PLC0415 - the clock is set by now

    provider = Provider(url=url)
    await provider.initialize()
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        if name == "append_many":
            await append_many(provider, *arguments)
            result = None
        else:
            result = await getattr(provider, name)(*arguments)
        print(json.dumps(result, default=str), flush=True)
    await provider.close()


def set_clock(clock: str) -> None:
    """Have this process read another time, before anything of the package is imported."""
    nanoseconds = int(clock[1:]) * 1_000_000_000
    now = time.time_ns
    match clock[0]:
        case "=":
            time.time_ns = lambda: nanoseconds
        case "-":
            time.time_ns = lambda: now() - nanoseconds
        case _:
            time.time_ns = lambda: now() + nanoseconds


if __name__ == "__main__":
    set_clock(sys.argv[2])
    asyncio.run(serve(sys.argv[1]))
