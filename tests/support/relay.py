"""A TCP relay between the provider and a server: it counts, delays, cuts and freezes."""

from __future__ import annotations

import asyncio
import math
import random
from contextlib import suppress
from typing import Literal

type Lost = Literal["request", "response"]
type LineFault = Literal["cut", "freeze"]


class _Line:
    """A client's line through the relay to the server."""

    def __init__(self, *ends: asyncio.StreamWriter) -> None:
        self._ends = ends
        self.bytes_left: float = math.inf  # until a fault
        self.is_frozen = False
        self.ended = asyncio.Event()

    def cut(self) -> None:
        self.ended.set()
        for end in self._ends:
            end.transport.abort()


class Relay:
    """Forwards between clients and a server, counts the requests, and injects faults.

    Attributes:
        requests: How often the server was asked.
        faults: How many lines were cut or frozen by `inject`.
    """

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._tasks: set[asyncio.Task[None]] = set()
        self._lines: set[_Line] = set()
        self.requests = 0
        self.faults = 0
        self._cut: Lost | None = None
        self._at = 0
        self._fault: LineFault | None = None
        self._bytes = 0.0
        self._longest_delay = 0.0
        self._chance = random.Random(7)

    async def open(self, port: int = 0) -> int:
        """Listen on a port, one of its own by default, and return it."""
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = int(self._listener.sockets[0].getsockname()[1])
        return self.port

    async def go_down(self) -> None:
        """Cut every line and refuse new ones, as a server that is restarted."""
        self._listener.close()
        for line in list(self._lines):
            line.cut()
        await asyncio.gather(*self._tasks)

    async def come_back(self) -> None:
        """Listen again where it did before."""
        await self.open(self.port)

    async def close(self) -> None:
        self._listener.close()
        self.inject(None)
        await asyncio.gather(*self._tasks)

    def cut(self, what: Lost, *, spared: int = 0) -> None:
        """Cut the line once, at the next request or at its response.

        Args:
            what: Which of the two is lost.
            spared: How many requests are answered before.
        """
        self._cut = what
        self._at = self.requests + spared + 1

    @property
    def is_to_cut(self) -> bool:
        """Whether the cut is still to come."""
        return self._cut is not None

    def inject(self, fault: LineFault | None, *, after: float = 0) -> None:
        """Cut each line, or stop forwarding it, at a random byte; None ends that.

        The frozen lines are cut then.

        Args:
            fault: The fault.
            after: Bytes of both directions that are forwarded before it, on average.
        """
        self._fault, self._bytes = fault, after
        for line in list(self._lines):
            if line.is_frozen:
                line.cut()
            else:
                self._draw(line)

    def freeze(self) -> None:
        """Stop forwarding on the present lines, without closing them."""
        for line in self._lines:
            line.is_frozen = True

    def delay(self, longest: float) -> None:
        """Forward each piece after a random delay of so many seconds at most."""
        self._longest_delay = longest

    def _draw(self, line: _Line) -> None:
        drawn = self._fault and math.ceil(self._chance.expovariate(1 / self._bytes))
        line.bytes_left = drawn or math.inf

    def _is_cut(self, what: Lost) -> bool:
        if self._cut != what or self.requests < self._at:
            return False
        self._cut = None
        return True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            from_server, to_server = await asyncio.open_connection(*self._address)
        except OSError:  # the server is down
            writer.transport.abort()
            return
        line = _Line(writer, to_server)
        self._lines.add(line)
        self._draw(line)
        answered = True

        async def forward(
            source: asyncio.StreamReader, target: asyncio.StreamWriter, *, is_client: bool
        ) -> None:
            nonlocal answered
            while data := await _read(source):
                # A request may come in many pieces; the next begins after a response.
                self.requests += is_client and answered
                answered = not is_client
                if self._is_cut("request" if is_client else "response"):
                    line.cut()
                    return
                if self._longest_delay:
                    await asyncio.sleep(self._chance.uniform(0, self._longest_delay))
                passes = min(len(data), line.bytes_left)
                line.bytes_left -= passes
                if not line.is_frozen:
                    target.write(data[: int(passes)])
                    with suppress(OSError):
                        await target.drain()
                if passes < len(data) or line.is_frozen:
                    await self._end_line(line)
                    return
            target.close()
            with suppress(OSError):
                await target.wait_closed()

        await asyncio.gather(
            forward(reader, to_server, is_client=True),
            forward(from_server, writer, is_client=False),
        )
        self._lines.discard(line)

    async def _end_line(self, line: _Line) -> None:
        self.faults += not (line.is_frozen or line.ended.is_set())
        if self._fault == "freeze":
            line.is_frozen = True
        if line.is_frozen:
            await line.ended.wait()
        line.cut()


async def _read(source: asyncio.StreamReader) -> bytes:
    try:
        return await source.read(2**16)
    except OSError:  # it was cut
        return b""
