"""The transport of asyncio drivers."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import Executable
from sqlalchemy.engine import Connection
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.util import greenlet_spawn

from slack_agents_sqlalchemy.dialects.driver_calls import AsyncDriverCalls
from slack_agents_sqlalchemy.engine.fast_path import FastPath, Prepared, Row
from slack_agents_sqlalchemy.engine.pool import Pool
from slack_agents_sqlalchemy.engine.transport import (
    CLOSE_TIMEOUT,
    GRACE,
    Outcome,
    Parameters,
    executing,
    fetching,
    settles,
)

_CLEANUP_TIMEOUT = 10.0
"""Seconds for a cancelled call to close its connection and to end its statement at the server.

Another cancellation would cut that short, and the statement would take effect later.
"""


class AsyncioTransport:
    """Transport with an asyncio driver: statements on its connection, functions in a greenlet.

    A statement on the driver connection runs in the caller's own task; a caller that gives it up
    leaves the connection to another task, which closes it. A greenlet runs in a task of its own,
    because a driver may take long to react to a cancellation.

    Args:
        pool: The connections.
        max_concurrency: Calls that may run concurrently, one for each connection. The others
            wait in turn; the pool alone gives a connection to the first caller after a checkin.
        fast_path: The prepared statements, where the driver's own calls are known.
        has_single_connection: Whether the only connection must outlive a call that is given up: the
            call's task is never cancelled, and one that reached its time limit is interrupted and
            awaited.
    """

    def __init__(
        self,
        pool: Pool,
        max_concurrency: int,
        fast_path: FastPath[AsyncDriverCalls] | None,
        *,
        has_single_connection: bool,
    ) -> None:
        self._pool = pool
        self._fast_path = fast_path
        self._has_single_connection = has_single_connection
        self._slots = asyncio.Semaphore(max_concurrency)
        self._calls = 0  # those that wait for a slot too: closing waits for them
        self._idle: asyncio.Event | None = None  # while closing waits for them
        self._given_up: set[asyncio.Task[Any]] = set()  # kept until they have ended
        self._given_up_writes: set[asyncio.Task[Any]] = set()
        self._connection: Any = None  # the single driver connection, while it is in use

    async def fetch(
        self, statement: Executable, parameters: Parameters, deadline: float
    ) -> Sequence[Row]:
        """Return all rows of a reading statement."""
        fast_path = self._fast_path
        if fast_path is None or (prepared := fast_path.prepare(statement, parameters)) is None:
            return await self.run(fetching(statement, parameters), deadline, writes=False)
        return prepared.rows(
            await self._send(fast_path, fast_path.calls.fetch, prepared, parameters, writes=False)
        )

    async def execute(self, statement: Executable, parameters: Parameters, deadline: float) -> int:
        """Return the number of rows that a writing statement matched or inserted."""
        fast_path = self._fast_path
        if fast_path is None or (prepared := fast_path.prepare(statement, parameters)) is None:
            return await self.run(executing(statement, parameters), deadline)
        return await self._send(
            fast_path, fast_path.calls.execute, prepared, parameters, writes=True
        )

    async def run[T](
        self, operation: Callable[[Connection], T], deadline: float, *, writes: bool = True
    ) -> T:
        """Return the result of a synchronous function of a connection."""
        await self._enter()
        loop = asyncio.get_running_loop()
        caller = asyncio.current_task()
        cancellations = 0 if caller is None else caller.cancelling()
        task = asyncio.Task(self._perform(operation), loop=loop, eager_start=True)
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            self._keep(task, writes=writes)
            is_late = loop.time() >= deadline
            interrupting = loop.create_task(self._interrupt(task, 0 if is_late else GRACE))
            self._keep(interrupting)
            # Another cancellation, at the same time, must reach the caller.
            is_cancelled = caller is not None and caller.cancelling() > cancellations + 1
            tells = is_late and not is_cancelled
            if not (tells and self._has_single_connection and await settles(task)):
                raise
        return task.result().get()

    async def stop(self, timeout: float) -> None:  # noqa: ASYNC109 - it raises nothing
        """Wait for the calls, and dispose of the engine in a greenlet."""
        if self._calls:
            self._idle = asyncio.Event()
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._idle.wait()
        with suppress(TimeoutError):  # a connection whose network is down never closes
            async with asyncio.timeout(max(timeout, CLOSE_TIMEOUT)):
                await greenlet_spawn(self._pool.dispose)

    async def _send[T](
        self,
        fast_path: FastPath[AsyncDriverCalls],
        send: Callable[[Any, str, list[Any]], Awaitable[T]],
        prepared: Prepared,
        parameters: Parameters,
        *,
        writes: bool,
    ) -> T:
        """Return the driver's answer to a statement on its own connection."""
        arguments = prepared.arguments(parameters)
        await self._enter()
        awaits = self._pool.awaits()
        try:
            pooled = None if awaits else self._pool.checkout_ready()
            if pooled is None:
                pooled = await greenlet_spawn(self._pool.checkout)
        except BaseException:
            self._exit()
            raise
        connection = pooled.driver_connection
        try:
            result = await send(connection, prepared.sql, arguments)
        except asyncio.CancelledError as exc:
            self._keep(asyncio.create_task(self._checkin(pooled, exc)), writes=writes)
            raise
        except Exception as exc:
            error = fast_path.wrap(exc, connection, prepared, parameters)
            self._keep(asyncio.create_task(self._checkin(pooled, error)))
            raise error from exc
        if awaits:
            await self._checkin(pooled)
        else:
            self._pool.checkin(pooled)
            self._exit()
        return result

    async def _checkin(
        self, pooled: PoolProxiedConnection, error: BaseException | None = None
    ) -> None:
        try:
            await greenlet_spawn(self._pool.checkin, pooled, error)
        finally:
            self._exit()

    async def _perform[T](self, operation: Callable[[Connection], T]) -> Outcome[T]:
        try:
            return Outcome(await greenlet_spawn(self._pool.run, operation, self._note))
        except BaseException as exc:  # noqa: BLE001 - it is raised where the outcome is read
            return Outcome(error=exc)
        finally:
            self._exit()

    def _note(self, driver_connection: Any) -> None:
        if self._has_single_connection:
            self._connection = driver_connection

    async def _interrupt(self, task: asyncio.Task[Any], delay: float) -> None:
        """End a call that was given up, unless it ends by itself within some seconds."""
        while not (await asyncio.wait((task,), timeout=delay))[0]:
            delay = GRACE
            if not self._has_single_connection:
                task.cancel()
                delay = _CLEANUP_TIMEOUT
            elif self._connection is not None:
                await greenlet_spawn(self._pool.interrupt, self._connection)

    async def _enter(self) -> None:
        """Wait for the writes that were given up, and for a slot."""
        self._calls += 1
        try:
            if self._given_up_writes:
                await asyncio.wait(self._given_up_writes)
            await self._slots.acquire()
        except BaseException:
            self._leave()
            raise

    def _exit(self) -> None:
        self._slots.release()
        self._leave()

    def _leave(self) -> None:
        self._calls -= 1
        if not self._calls and self._idle is not None:
            self._idle.set()

    def _keep(self, task: asyncio.Task[Any], *, writes: bool = False) -> None:
        """Keep a task until it has ended; later calls wait for it where it may write."""
        for kept in (self._given_up, self._given_up_writes) if writes else (self._given_up,):
            kept.add(task)
            task.add_done_callback(kept.discard)
