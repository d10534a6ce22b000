"""Runs a plain synchronous function in one hop: one greenlet, or one trip to a worker thread."""

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Protocol

from sqlalchemy.util import greenlet_spawn


class Runner(Protocol):
    """Runs functions that use a SQLAlchemy connection."""

    async def run[T](self, function: Callable[[], T]) -> T:
        """Run ``function`` to its end without blocking the event loop, and return its result."""
        ...

    def stop(self) -> None:
        """Free what the runner holds; nothing can be run afterwards."""
        ...


class GreenletRunner:
    """For asyncio drivers: the whole function runs in one greenlet of the event loop's thread.

    Wherever the driver would await, the greenlet switches back to the event loop.
    """

    async def run[T](self, function: Callable[[], T]) -> T:
        """Run ``function`` in one greenlet; a caller that is cancelled cancels it."""
        return await greenlet_spawn(function)

    def stop(self) -> None:
        """Free nothing: a greenlet is gone with its call."""


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

    def stop(self) -> None:
        """Let the threads finish what is queued, and end."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

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
