"""The transport of synchronous drivers: worker threads, fed by a queue."""

import asyncio
import copy
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any

from sqlalchemy import Executable
from sqlalchemy.engine import Connection

from slack_agents_sqlalchemy.engine.fast_path import Prepared, Row
from slack_agents_sqlalchemy.engine.pool import Pool
from slack_agents_sqlalchemy.engine.single_connection import SingleConnection
from slack_agents_sqlalchemy.engine.transport import (
    CLOSE_TIMEOUT,
    GRACE,
    Outcome,
    Parameters,
    executing,
    fetching,
    settles,
)

_MAX_GROUP = 256  # calls that share a transaction; the others of a caller wait meanwhile


class _Job[T](Outcome[T]):
    """A function that is run on a worker thread, and how it ended.

    Args:
        function: The function; its argument is the job.
        writes: Whether it may change rows.
        shares_commit: Whether it is one writing statement, which may run in a transaction with
            those of other jobs.

    Attributes:
        ended: Is done when the function has ended; on the event loop.
        is_given_up: Whether the caller does not wait any more; the function is not begun then.
        has_begun: Whether the function has had a connection.
    """

    __slots__ = (
        "_connection",
        "_function",
        "_lock",
        "ended",
        "has_begun",
        "is_given_up",
        "loop",
        "shares_commit",
        "writes",
    )

    def __init__(
        self,
        function: Callable[["_Job[T]"], T],
        *,
        writes: bool = True,
        shares_commit: bool = False,
    ) -> None:
        self.value = None
        self.error = None
        self.loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self.loop.create_future()
        self.writes = writes
        self.shares_commit = shares_commit
        self._function = function
        self._connection: Any = None  # the driver connection, while the function uses one
        self._lock = threading.Lock()  # protects it
        # The thread sets one and then reads the other, the event loop the other way round.
        self.has_begun = False
        self.is_given_up = False

    def perform(self) -> None:
        """Run the function; on a worker thread."""
        try:
            self.error = None
            self.value = self._function(self)
        except BaseException as exc:  # noqa: BLE001 - it is raised where the outcome is read
            self.error = exc

    def end(self) -> None:
        """Wake the caller; on the event loop."""
        if not self.ended.done():
            self.ended.set_result(None)

    def use(self, connection: Any) -> None:
        """Note the driver connection that the function uses from now on; None for none.

        Raises:
            asyncio.CancelledError: The job was given up.
        """
        with self._lock:
            self._connection = connection
            self.has_begun = True
            if self.is_given_up and connection is not None:
                self._connection = None
                raise asyncio.CancelledError

    def interrupt(self, interrupt: Callable[[Any], None]) -> None:
        """End what the function runs on its connection."""
        with self._lock:
            if self._connection is not None:
                interrupt(self._connection)


class ThreadTransport:
    """Transport with worker threads: each call runs as a whole on one of them.

    Args:
        pool: The connections.
        threads: The number of threads, as many as there are connections.
        single: The only connection of a database that has no more. Statements then run on the
            driver connection, and writes that wait together share one transaction.
    """

    def __init__(self, pool: Pool, threads: int, single: SingleConnection | None) -> None:
        self._pool = pool
        self._single = single
        self._given_up: set[asyncio.Future[None]] = set()  # kept until they have ended
        self._given_up_writes: set[asyncio.Future[None]] = set()
        self._interrupting: set[asyncio.Task[None]] = set()
        self._running: set[_Job[Any]] = set()
        self._jobs: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"slack-agents-db-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def fetch(
        self, statement: Executable, parameters: Parameters, deadline: float
    ) -> Awaitable[Sequence[Row]]:
        """Return all rows of a reading statement."""
        job = _Job(
            partial(self._send, Prepared.fetch, fetching, statement, parameters), writes=False
        )
        return self._submit(job, deadline)

    def execute(
        self, statement: Executable, parameters: Parameters, deadline: float
    ) -> Awaitable[int]:
        """Return the number of rows that a writing statement matched or inserted."""
        job = _Job(
            partial(self._send, Prepared.execute, executing, statement, parameters),
            shares_commit=self._single is not None,
        )
        return self._submit(job, deadline)

    def run[T](
        self, operation: Callable[[Connection], T], deadline: float, *, writes: bool = True
    ) -> Awaitable[T]:
        """Return the result of a synchronous function of a connection."""
        return self._submit(_Job(partial(self._run, operation), writes=writes), deadline)

    async def stop(self, timeout: float) -> None:  # noqa: ASYNC109 - it raises nothing
        """Let the threads finish what is queued and end, and dispose of the engine."""
        # Calls that wait for these are queued before the end. A file's may be of an event loop that
        # is closed, and never be done.
        if self._given_up_writes and len(self._threads) > 1:
            await asyncio.wait(self._given_up_writes, timeout=timeout)
        await self._run_apart(partial(self._stop, timeout))

    def _stop(self, timeout: float) -> None:
        for _ in self._threads:
            self._jobs.put(None)
        if not self._join(timeout):
            for job in tuple(self._running):
                job.interrupt(self._pool.interrupt)
        # A connection that a thread still uses must not be closed: drivers crash.
        self._pool.dispose(close=self._join(CLOSE_TIMEOUT))

    def _join(self, timeout: float) -> bool:
        """Wait for the threads, and return whether they have ended."""
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    async def _submit[T](self, job: _Job[T], deadline: float) -> T:
        if self._given_up_writes and len(self._threads) > 1:  # one thread keeps the order
            await asyncio.wait(self._given_up_writes)
        caller = asyncio.current_task()
        cancellations = 0 if caller is None else caller.cancelling()
        self._jobs.put(job)
        try:
            await job.ended
        except asyncio.CancelledError:
            is_late = job.loop.time() >= deadline
            if job.ended.cancelled():  # it has not ended
                self._give_up(job, 0 if is_late else GRACE)
            # Another cancellation, at the same time, must reach the caller.
            is_cancelled = caller is not None and caller.cancelling() > cancellations + 1
            tells = is_late and job.has_begun and not is_cancelled
            if not (tells and self._single is not None and await settles(job.ended)):
                raise
        return job.get() if job.error is not None else job.value  # type: ignore[return-value] # None only where T has it

    def _give_up(self, job: _Job[Any], delay: float) -> None:
        """Keep a job until it has ended, and interrupt it after some seconds."""
        job.is_given_up = True
        job.ended = job.loop.create_future()
        for kept in (self._given_up, self._given_up_writes) if job.writes else (self._given_up,):
            kept.add(job.ended)
            job.ended.add_done_callback(kept.discard)
        interrupting = job.loop.create_task(self._interrupt(job, delay))
        self._interrupting.add(interrupting)
        interrupting.add_done_callback(self._interrupting.discard)

    async def _interrupt(self, job: _Job[Any], delay: float) -> None:
        """End a job that was given up, unless it ends by itself within some seconds."""
        while not (await asyncio.wait((job.ended,), timeout=delay))[0]:
            delay = GRACE  # a statement that was not sent yet is not interrupted
            # In a thread: a request to the server takes time.
            await self._run_apart(partial(job.interrupt, self._pool.interrupt))

    async def _run_apart(self, function: Callable[[], None]) -> None:
        """Run a function on a thread of its own.

        Those of the event loop may all be busy, and keep a process alive.
        """
        job = _Job(lambda _: function())
        threading.Thread(target=self._perform, args=(job,), daemon=True).start()
        await job.ended
        job.get()

    # On a worker thread

    def _send[T](
        self,
        send: Callable[[Prepared, Any, Parameters], T],
        operation: Callable[[Executable, Parameters], Callable[[Connection], T]],
        statement: Executable,
        parameters: Parameters,
        job: _Job[T],
    ) -> T:
        """Run a statement on the single driver connection, else as a function of a connection."""
        single = self._single
        if single is not None:
            connection = single.driver_connection or single.look_up()
            job.use(connection)
            prepared = None
            try:
                prepared = single.fast_path.prepare(statement, parameters)
                if prepared is not None:
                    return send(prepared, connection, parameters)
            except Exception as exc:
                if single.fast_path.calls.is_closed(connection):
                    single.disconnect()
                raise single.fast_path.wrap(exc, connection, prepared, parameters) from exc
            finally:
                job.use(None)
        return self._pool.run(operation(statement, parameters), job.use)

    def _run[T](self, operation: Callable[[Connection], T], job: _Job[T]) -> T:
        return self._pool.run(operation, job.use)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if self._single is None or not job.shares_commit or self._jobs.empty():
                self._perform(job)
            else:
                self._perform_together([job, *self._take_waiting()], self._single)
            del job  # an idle thread keeps no values of a caller

    def _perform(self, job: _Job[Any]) -> None:
        self._running.add(job)
        job.perform()
        self._running.discard(job)
        with suppress(RuntimeError):  # the loop is closed: no caller waits any more
            job.loop.call_soon_threadsafe(job.end)

    def _take_waiting(self) -> Iterator[_Job[Any]]:
        for _ in range(_MAX_GROUP - 1):
            if self._jobs.empty():  # only this thread takes from it
                return
            job = self._jobs.get()
            if job is None:
                self._jobs.put(None)  # the thread ends after these jobs
                return
            yield job

    def _perform_together(self, jobs: Sequence[_Job[Any]], single: SingleConnection) -> None:
        """Run jobs that wait together: writes of one statement in one transaction (group commit).

        Each is as if it were alone: woken after the commit, and with its own error only.
        """
        sharing = [job for job in jobs if job.shares_commit]
        for job in jobs:
            if not job.shares_commit or len(sharing) == 1:
                self._perform(job)
        if len(sharing) == 1:
            return
        self._running.update(sharing)
        try:
            is_stored = single.run_in_transaction([job.perform for job in sharing])
        except Exception as exc:  # noqa: BLE001 - locked, or no file: an error of each call
            for job in sharing:
                job.error = copy.copy(exc)
        else:
            if not is_stored:
                for job in sharing:
                    job.perform()
        self._running.difference_update(sharing)
        for loop in {job.loop for job in sharing}:  # each is woken once
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(_end, [job for job in sharing if job.loop is loop])


def _end(jobs: Iterable[_Job[Any]]) -> None:
    for job in jobs:
        job.end()
