"""Runs a plain synchronous function in one hop: one greenlet, or one trip to a worker thread."""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Protocol

from sqlalchemy.util import greenlet_spawn


class Runner(Protocol):
    """Runs functions that use a SQLAlchemy connection."""

    async def run[T](self, function: Callable[[], T]) -> T:
        """Run ``function`` to its end without blocking the event loop, and return its result."""
        ...

    async def stop(self, last: Callable[[], None], patience: float) -> None:
        """Run a last function once all that was begun has ended, and free what the runner holds.

        Args:
            last: What remains to do.
            patience: Seconds to wait for what was begun, and for ``last``.
        """
        ...


class GreenletRunner:
    """For asyncio drivers: the whole function runs in one greenlet of the event loop's thread.

    Wherever the driver would await, the greenlet switches back to the event loop.
    """

    def __init__(self) -> None:
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def run[T](self, function: Callable[[], T]) -> T:
        """Run ``function`` in one greenlet; a caller that is cancelled cancels it."""
        self._running += 1
        self._idle.clear()
        try:
            return await greenlet_spawn(function)
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()

    async def stop(self, last: Callable[[], None], patience: float) -> None:
        """Run ``last`` in a greenlet, when the others have ended."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._idle.wait()
        with suppress(TimeoutError):  # a connection that was cut off silently never closes
            async with asyncio.timeout(max(patience, 1.0)):
                await greenlet_spawn(last)


class ShieldedGreenletRunner(GreenletRunner):
    """For asyncio drivers whose only connection a cancelled call must not take down with it."""

    async def run[T](self, function: Callable[[], T]) -> T:
        """Run ``function`` in one greenlet; once begun it runs to its end."""
        return await asyncio.shield(super().run(function))


type _Job = tuple[asyncio.AbstractEventLoop, asyncio.Future[Any], Callable[[], Any]]


class ThreadRunner:
    """For synchronous drivers: the whole function runs on a worker thread, fed by a queue."""

    def __init__(self, threads: int) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"slack-agents-db-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    async def run[T](self, function: Callable[[], T]) -> T:
        """Run ``function`` on a worker thread; once begun it runs to its end."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.put((loop, future, function))
        return await future

    async def stop(self, last: Callable[[], None], patience: float) -> None:
        """Let the threads finish what is queued and end, then run ``last``."""

        def end() -> None:
            deadline = time.monotonic() + patience
            for _ in self._threads:
                self._jobs.put(None)
            for thread in self._threads:
                thread.join(max(0.0, deadline - time.monotonic()))
            last()

        await asyncio.to_thread(end)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            loop, future, function = job
            if not future.cancelled():
                try:
                    result = function()
                except BaseException as exc:  # noqa: BLE001 - whatever it is, it is the caller's
                    _report(loop, _fail, future, exc)
                else:
                    _report(loop, _succeed, future, result)
            del job, future, function  # keep nothing of the caller's while there is no work


def _report(loop: asyncio.AbstractEventLoop, report: Callable[..., None], *args: Any) -> None:
    try:
        loop.call_soon_threadsafe(report, *args)
    except RuntimeError:  # the loop is closed: nobody waits any more
        return


def _succeed(future: asyncio.Future[Any], result: object) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
