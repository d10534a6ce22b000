"""Runs a call in one hop: in a greenlet or on the event loop itself, or on a worker thread."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Protocol

from sqlalchemy.util import greenlet_spawn

_KEPT = 1.0  # seconds; a call takes milliseconds, unless the server is silent or locked


class Runner(Protocol):
    """Runs what uses connections to its end without blocking the event loop."""

    async def run[T](self, function: Callable[[], T], deadline: float | None = None) -> T:
        """Run a plain synchronous function that uses a SQLAlchemy connection.

        Args:
            function: What to run.
            deadline: The event loop's time until which a caller that is cancelled may be kept.
        """
        ...

    async def drive[T](
        self, call: Callable[[], Coroutine[Any, Any, T]], deadline: float | None = None
    ) -> T:
        """Run a coroutine function that uses a driver's connection; see :meth:`run`."""
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

    A driver drops its connection when it is cancelled, and what the server has got it does
    nevertheless, maybe after what the caller does next. So a caller that is cancelled is kept until
    its call has ended, for a second at most.

    Args:
        places: Calls that may run at once, as many as there are connections. The others wait in
            turn: the pool alone gives a connection to whoever asks first after it came back, and
            who was waiting for it waits on.
    """

    def __init__(self, places: int) -> None:
        self._places = asyncio.Semaphore(places)
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def run[T](self, function: Callable[[], T], deadline: float | None = None) -> T:
        """Run ``function`` in one greenlet."""
        return await self.drive(lambda: greenlet_spawn(function), deadline)

    async def drive[T](
        self, call: Callable[[], Coroutine[Any, Any, T]], deadline: float | None = None
    ) -> T:
        """Await the call, as soon as there is a place for it."""
        self._running += 1
        self._idle.clear()
        try:
            await self._places.acquire()
        except BaseException:
            self._leave()
            raise
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[T] = loop.create_future()
        task = asyncio.Task(self._finish(call, ended), loop=loop, eager_start=True)
        try:
            return await ended
        except asyncio.CancelledError:
            await self._part_from(task, deadline)
            raise

    async def stop(self, last: Callable[[], None], patience: float) -> None:
        """Run ``last`` in a greenlet, when the others have ended."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._idle.wait()
        with suppress(TimeoutError):  # a connection that was cut off silently never closes
            async with asyncio.timeout(max(patience, 1.0)):
                await greenlet_spawn(last)

    async def _finish[T](
        self, call: Callable[[], Coroutine[Any, Any, T]], ended: asyncio.Future[T]
    ) -> None:
        """Be the task of a call, which its caller's cancellation does not reach."""
        try:
            result = await call()
        except BaseException as exc:  # noqa: BLE001 - whatever it is, it is the caller's
            if not ended.done():
                ended.set_exception(exc)
        else:
            if not ended.done():
                ended.set_result(result)
        finally:
            self._end()

    async def _part_from(self, task: asyncio.Task[None], deadline: float | None, /) -> None:
        """Have a call end whose caller was cancelled, in order or by force."""
        now = asyncio.get_running_loop().time()
        left = _KEPT if deadline is None else min(_KEPT, deadline - now)
        try:
            await asyncio.wait((task,), timeout=max(left, 0))
        finally:
            task.cancel()

    def _end(self) -> None:
        self._places.release()
        self._leave()

    def _leave(self) -> None:
        self._running -= 1
        if not self._running:
            self._idle.set()


class ShieldedGreenletRunner(GreenletRunner):
    """For asyncio drivers whose only connection a cancelled call must not take down with it.

    Calls run one after another, and once begun to their end, which nobody waits for.
    """

    def __init__(self) -> None:
        super().__init__(places=1)
        self._left: set[asyncio.Task[None]] = set()

    async def _part_from(self, task: asyncio.Task[None], _deadline: float | None, /) -> None:
        """Leave the call to itself."""
        self._left.add(task)  # the event loop alone would not keep it
        task.add_done_callback(self._left.discard)


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

    async def run[T](
        self,
        function: Callable[[], T],
        deadline: float | None = None,  # noqa: ARG002 - see ThreadPoolRunner
    ) -> T:
        """Run ``function`` on a worker thread; once begun it runs to its end."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.put((loop, future, function))
        return await future

    async def drive[T](
        self, call: Callable[[], Coroutine[Any, Any, T]], deadline: float | None = None
    ) -> T:
        """Run the call of a synchronous driver on a worker thread, as :meth:`run`."""
        return await self.run(lambda: _run_to_end(call()), deadline)

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


class ThreadPoolRunner(ThreadRunner):
    """For synchronous drivers with several connections: no call is overtaken by a later one.

    One thread does everything in turn. With several, what a caller has given up could end after
    what it does next: so a caller that is cancelled is kept until what it has begun has ended.
    """

    async def run[T](self, function: Callable[[], T], deadline: float | None = None) -> T:
        """Run ``function`` on a worker thread; a caller that is cancelled is kept meanwhile."""
        begun = _Begun(function)
        try:
            return await super().run(begun)
        except asyncio.CancelledError:
            await begun.end(deadline)
            raise


class _Begun[T]:
    """A function that tells when it has ended."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._claim = threading.Lock()  # taken once: by a thread to begin, or by who gives up

    def __call__(self) -> T:
        if not self._claim.acquire(blocking=False):
            raise asyncio.CancelledError
        try:
            return self._function()
        finally:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._ended.set)

    async def end(self, deadline: float | None) -> None:
        """Wait for its end, or see that it never begins."""
        if self._claim.acquire(blocking=False):
            return
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await self._ended.wait()


def _run_to_end[T](call: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends."""
    try:
        call.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    call.close()
    raise RuntimeError("the call of a synchronous driver waited for an event loop")


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
