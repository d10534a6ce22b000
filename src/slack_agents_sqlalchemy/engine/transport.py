"""Run a call to its end without blocking the event loop: as a task of its own, or on a thread.

A call that its caller gives up (it was cancelled, once or many times, or took too long) does not
keep that caller. The call may end by itself for a moment, and is interrupted then. Later calls wait
until it has ended: a write that was given up never takes effect after a later call has returned.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Protocol

from sqlalchemy.util import greenlet_spawn

from slack_agents_sqlalchemy.engine.attempts import Attempt, Interrupt

_GRACE = 1.0  # seconds until a call that was given up is interrupted; calls take milliseconds
_INTERRUPT_TIMEOUT = 3.0  # seconds for asking the server to end a statement
_LARGEST_GROUP = 256  # calls that share a transaction; the others of a caller wait meanwhile
_SETTLE_TIMEOUT = 10.0  # seconds for a local file, whose driver always tells what became of a call


class Runner(Protocol):
    """Runs what uses connections to its end without blocking the event loop."""

    async def run[T](self, function: Callable[[], T], attempt: Attempt) -> T:
        """Run a plain synchronous function that uses a SQLAlchemy connection."""
        ...

    async def drive[T](self, call: Callable[[], Coroutine[Any, Any, T]], attempt: Attempt) -> T:
        """Run a coroutine function that uses a driver's connection."""
        ...

    async def stop(self, dispose: Callable[[bool], None], limit: float) -> None:
        """Wait for the calls that have begun, and dispose of the engine.

        Args:
            dispose: Disposes of the engine. Its argument says whether the connections may be
                closed: nothing uses them.
            limit: Seconds to wait for the calls, and as many for closing the connections.
        """
        ...


class _Outcome[T]:
    """How a call ended. Its ``repr`` shows nothing of it: asyncio's debug mode logs results."""

    __slots__ = ("_error", "_value")

    def __init__(self, value: T | None = None, error: BaseException | None = None) -> None:
        self._value = value
        self._error = error

    def get(self) -> T:
        """Return the result, or raise the error."""
        if self._error is not None:
            # Not kept here: an error whose traceback leads back to it is freed late.
            error, self._error = self._error, None
            try:
                raise error
            finally:
                del error
        return self._value  # type: ignore[return-value] # None only where T has it


class _GivenUp:
    """The calls that were given up and have not ended.

    Attributes:
        writes: Those of them that may change rows.
    """

    def __init__(self) -> None:
        self.writes: set[asyncio.Future[Any]] = set()
        self._all: set[asyncio.Future[Any]] = set()

    def add(
        self, call: asyncio.Future[Any], attempt: Attempt, interrupt: Callable[[], Any]
    ) -> None:
        """Keep a call until it has ended, and interrupt it soon."""
        if call.done():
            return
        loop = asyncio.get_running_loop()
        timer = loop.call_at(min(loop.time() + _GRACE, attempt.deadline), interrupt)
        call.add_done_callback(lambda _: timer.cancel())
        for kept in (self._all, self.writes) if attempt.writes else (self._all,):
            kept.add(call)
            call.add_done_callback(kept.discard)


class TaskRunner:
    """For asyncio drivers: a call is a task of its own, which its caller's cancellation spares.

    Plain functions run whole in one greenlet: wherever the driver would await, the greenlet
    switches back to the event loop.

    Args:
        max_concurrency: Calls that may run at once, as many as there are connections. The others
            wait in turn: the pool alone gives a connection to whoever asks first after its checkin.
        interrupt: Has the database end what a connection runs, where the driver does not.
        keeps_connection: Whether the only connection must outlive a call that is given up: its
            task is never cancelled, and a call that took too long is awaited until it has ended.
    """

    def __init__(
        self, max_concurrency: int, interrupt: Interrupt, *, keeps_connection: bool = False
    ) -> None:
        self._places = asyncio.Semaphore(max_concurrency)
        self._interrupt = interrupt
        self._keeps_connection = keeps_connection
        self._given_up = _GivenUp()
        self._interrupting: set[asyncio.Task[None]] = set()
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def run[T](self, function: Callable[[], T], attempt: Attempt) -> T:
        """Run ``function`` in one greenlet."""
        return await self.drive(lambda: greenlet_spawn(function), attempt)

    async def drive[T](self, call: Callable[[], Coroutine[Any, Any, T]], attempt: Attempt) -> T:
        """Await the call, as soon as it is its turn."""
        self._running += 1  # while it waits too: closing waits for it
        self._idle.clear()
        try:
            if self._given_up.writes:
                await asyncio.wait(self._given_up.writes)
            await self._places.acquire()
        except BaseException:
            self._leave()
            raise
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[_Outcome[T]] = loop.create_future()
        task = asyncio.Task(self._finish(call, attempt, ended), loop=loop, eager_start=True)
        try:
            outcome = await ended
        except asyncio.CancelledError:
            if self._keeps_connection:
                self._given_up.add(task, attempt, lambda: self._start_interrupt(attempt))
                if loop.time() >= attempt.deadline and await _settled(task):
                    return task.result().get()
            else:
                self._given_up.add(task, attempt, task.cancel)
            raise
        return outcome.get()

    async def stop(self, dispose: Callable[[bool], None], limit: float) -> None:
        """Wait for the calls, and dispose of the engine in a greenlet."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await self._idle.wait()
        with suppress(TimeoutError):  # a connection whose network is down never closes
            async with asyncio.timeout(max(limit, _GRACE)):
                await greenlet_spawn(dispose, True)  # noqa: FBT003 - see Runner

    async def _finish[T](
        self,
        call: Callable[[], Coroutine[Any, Any, T]],
        attempt: Attempt,
        ended: asyncio.Future[_Outcome[T]],
    ) -> _Outcome[T]:
        outcome: _Outcome[T] = _Outcome(error=asyncio.CancelledError())
        try:
            outcome = _Outcome(await call())
        except asyncio.CancelledError:  # the connection is closed; the server may not know it
            await self._end_statement(attempt)
        except BaseException as exc:  # noqa: BLE001 - whatever it is, it is the caller's
            outcome = _Outcome(error=exc)
        finally:
            self._places.release()
            self._leave()
            if not ended.done():
                ended.set_result(outcome)
        return outcome

    def _start_interrupt(self, attempt: Attempt) -> None:
        task = asyncio.get_running_loop().create_task(self._end_statement(attempt))
        self._interrupting.add(task)
        task.add_done_callback(self._interrupting.discard)

    async def _end_statement(self, attempt: Attempt) -> None:
        with suppress(Exception):  # the network is down, or the server
            async with asyncio.timeout(_INTERRUPT_TIMEOUT):
                await greenlet_spawn(attempt.interrupt, self._interrupt)

    def _leave(self) -> None:
        self._running -= 1
        if not self._running:
            self._idle.set()


class _Job[T]:
    """A function on its way to a worker thread and back."""

    def __init__(
        self, function: Callable[[], T], attempt: Attempt, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.attempt = attempt
        self.loop = loop
        self.ended: asyncio.Future[_Outcome[T]] = loop.create_future()
        self._function = function
        self._claim = threading.Lock()  # taken once: by a thread to begin, or by who gives it up
        self._outcome: _Outcome[T] | None = None

    def claim(self) -> bool:
        """Return whether it was claimed by nobody before."""
        return self._claim.acquire(blocking=False)

    def perform(self) -> _Outcome[T]:
        """Run the function on a worker thread."""
        try:
            return _Outcome(self._function())
        except BaseException as exc:  # noqa: BLE001 - whatever it is, it is the caller's
            return _Outcome(error=exc)

    def tell(self, outcome: _Outcome[T]) -> None:
        """Give the outcome to the caller; on the event loop."""
        self._outcome = outcome
        if not self.ended.done():
            self.ended.set_result(outcome)

    def again(self) -> asyncio.Future[_Outcome[T]]:
        """Return a future of the outcome for a job whose own was cancelled with its caller."""
        self.ended = self.loop.create_future()
        if self._outcome is not None:
            self.ended.set_result(self._outcome)
        return self.ended


type _Ended = tuple[_Job[Any], _Outcome[Any]]


def _call_soon(
    loop: asyncio.AbstractEventLoop, callback: Callable[..., None], *arguments: Any
) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(callback, *arguments)


def _tell(ended: Sequence[_Ended]) -> None:
    """Give outcomes to their callers; on their event loop."""
    for job, outcome in ended:
        job.tell(outcome)


class Transaction(Protocol):
    """A transaction of the one connection of a database, which other calls may share."""

    def begin(self) -> bool:
        """Begin it, as one that writes; return False where others use the connection."""
        ...

    def is_open(self) -> bool:
        """Return whether it was neither committed nor rolled back."""
        ...

    def commit(self) -> bool:
        """Commit it, or roll it back; return whether all of it is stored."""
        ...


def _commit_together(jobs: Sequence[_Job[Any]], transaction: Transaction) -> Sequence[_Ended]:
    """Run writes of one statement each in one transaction, each as if it were alone."""
    try:
        has_begun = transaction.begin()
    except Exception as exc:  # noqa: BLE001 - locked, or the file is gone: it is each caller's
        return [(job, _Outcome(error=exc)) for job in jobs]
    if has_begun:
        ended: list[_Ended] = []
        for job in jobs:
            ended.append((job, job.perform()))
            if not transaction.is_open():  # an error that has rolled back the others too
                break
        if transaction.commit():
            return ended
    return [(job, job.perform()) for job in jobs]


class ThreadRunner:
    """For synchronous drivers: the whole function runs on a worker thread, fed by a queue.

    Args:
        threads: As many as there are connections.
        interrupt: Has the database end what a connection runs.
        settles: Whether a call that took too long always ends soon once it is interrupted, as on a
            local file, so that it can be awaited and its true outcome be told.
        transaction: In which writes that wait together are run (group commit), for one thread;
            None where each call commits by itself.
    """

    def __init__(
        self,
        threads: int,
        interrupt: Interrupt,
        *,
        settles: bool = False,
        transaction: Transaction | None = None,
    ) -> None:
        self._interrupt = interrupt
        self._settle_timeout = _SETTLE_TIMEOUT if settles else _GRACE
        self._transaction = transaction
        self._given_up = _GivenUp()
        self._running: set[Attempt] = set()
        self._jobs: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"slack-agents-db-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    async def run[T](self, function: Callable[[], T], attempt: Attempt) -> T:
        """Run ``function`` on a worker thread."""
        if self._given_up.writes and len(self._threads) > 1:  # one thread keeps the order
            await asyncio.wait(self._given_up.writes)
        job = _Job(function, attempt, asyncio.get_running_loop())
        self._jobs.put(job)
        try:
            outcome = await job.ended
        except asyncio.CancelledError:
            if not job.claim():  # it has begun
                again = job.again()
                self._given_up.add(again, attempt, lambda: self._start_interrupt(attempt))
                is_late = job.loop.time() >= attempt.deadline
                if is_late and await _settled(again, self._settle_timeout):
                    return again.result().get()
            raise
        return outcome.get()

    async def drive[T](self, call: Callable[[], Coroutine[Any, Any, T]], attempt: Attempt) -> T:
        """Run the call of a synchronous driver on a worker thread, as :meth:`run`."""
        return await self.run(lambda: _run_to_end(call()), attempt)

    async def stop(self, dispose: Callable[[bool], None], limit: float) -> None:
        """Let the threads finish what is queued and end, and dispose of the engine."""

        def end() -> None:
            for _ in self._threads:
                self._jobs.put(None)
            if not _join(self._threads, limit):
                for attempt in tuple(self._running):
                    self._end_statement(attempt)
            # A connection that a thread still uses must not be closed: drivers crash.
            dispose(_join(self._threads, _GRACE))

        if self._given_up.writes:  # calls that wait for these are queued before the end
            await asyncio.wait(self._given_up.writes, timeout=limit)
        await asyncio.to_thread(end)

    def _work(self) -> None:
        transaction = self._transaction
        while (job := self._jobs.get()) is not None:
            if transaction is None or self._jobs.empty():
                self._run([job])
            else:
                self._run_together([job, *self._take_waiting()], transaction)
            del job  # keep nothing of the caller's while there is no work

    def _run(self, jobs: Sequence[_Job[Any]]) -> None:
        for job in jobs:
            if job.claim():
                self._running.add(job.attempt)
                outcome = job.perform()
                self._running.discard(job.attempt)
                _call_soon(job.loop, job.tell, outcome)

    def _take_waiting(self) -> Iterator[_Job[Any]]:
        for _ in range(_LARGEST_GROUP - 1):
            if self._jobs.empty():  # only this thread takes from it
                return
            job = self._jobs.get()
            if job is None:
                self._jobs.put(None)  # the end is for later
                return
            yield job

    def _run_together(self, jobs: Sequence[_Job[Any]], transaction: Transaction) -> None:
        """Run calls that wait together: writes of one statement in one transaction."""
        self._run([job for job in jobs if not job.attempt.shares_commit])
        sharing = [job for job in jobs if job.attempt.shares_commit]
        if len(sharing) == 1:
            self._run(sharing)
            return
        claimed = [job for job in sharing if job.claim()]
        self._running.update(job.attempt for job in claimed)
        ended = _commit_together(claimed, transaction)
        self._running.difference_update(job.attempt for job in claimed)
        for loop in {job.loop for job in claimed}:  # each is woken once
            _call_soon(loop, _tell, [one for one in ended if one[0].loop is loop])

    def _start_interrupt(self, attempt: Attempt) -> None:
        threading.Thread(target=self._end_statement, args=(attempt,), daemon=True).start()

    def _end_statement(self, attempt: Attempt) -> None:
        with suppress(Exception):  # the network is down, or the server
            attempt.interrupt(self._interrupt)


async def _settled(call: asyncio.Future[Any], limit: float = _SETTLE_TIMEOUT) -> bool:
    """Wait until a call has ended that was interrupted; return whether it has."""
    done, _ = await asyncio.wait((call,), timeout=limit)
    return bool(done)


def _join(threads: Iterable[threading.Thread], limit: float) -> bool:
    """Wait for threads, so many seconds for all; return whether they have ended."""
    deadline = time.monotonic() + limit
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)


def _run_to_end[T](call: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends."""
    try:
        call.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    call.close()
    raise RuntimeError("the call of a synchronous driver waited for an event loop")
