"""The execution of calls without blocking the event loop; one transport for each way.

========================  =========================  ===================================
driver                    connections                transport
========================  =========================  ===================================
asyncio                   a pool                     :class:`tasks.AsyncioTransport`
asyncio                   one (aiosqlite)            the same, with ``has_single_connection``
synchronous               a pool                     :class:`threads.ThreadTransport`
synchronous               one (SQLite)               the same, with a ``single`` connection
========================  =========================  ===================================

A call is given up when its caller was cancelled (once or many times) or its time limit was reached.
All transports then do the same. The caller does not wait. The database is asked to end the
statement. Calls that may write are remembered until they have ended, and later calls wait for them:
a write that was given up never takes effect after a later call has returned.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy import Executable
from sqlalchemy.engine import Connection

from slack_agents_sqlalchemy.engine.fast_path import Row

GRACE = 1.0  # seconds until a call that was given up is interrupted: most end before
CLOSE_TIMEOUT = 1.0  # seconds for closing the connections, at least
_SETTLE_TIMEOUT = 10.0  # seconds for a local file, whose driver always reports how a call ended

type Parameters = Mapping[str, Any]


class Transport(Protocol):
    """The execution of calls on connections.

    Errors are those of SQLAlchemy, the driver's own where SQLAlchemy has none, or a
    :class:`StorageError` where there is no connection. The deadline, in the time of the event loop,
    is enforced by the caller, which cancels; here it tells a time limit from another cancellation.
    """

    def fetch(
        self, statement: Executable, parameters: Parameters, deadline: float
    ) -> Awaitable[Sequence[Row]]:
        """Return all rows of a reading statement."""
        ...

    def execute(
        self, statement: Executable, parameters: Parameters, deadline: float
    ) -> Awaitable[int]:
        """Return the number of rows that a writing statement matched or inserted."""
        ...

    def run[T](
        self, operation: Callable[[Connection], T], deadline: float, *, writes: bool = True
    ) -> Awaitable[T]:
        """Return the result of a synchronous function of a connection."""
        ...

    async def stop(self, timeout: float) -> None:  # noqa: ASYNC109 - it raises nothing
        """Wait for the calls, and dispose of the engine.

        Args:
            timeout: Seconds to wait for the calls, and as many for closing the connections.
        """
        ...


class Outcome[T]:
    """The outcome of a call. Its ``repr`` shows nothing of it: asyncio's debug mode logs results.

    Attributes:
        value: The result; None where there is an error.
        error: The error, if any.
    """

    __slots__ = ("error", "value")

    def __init__(self, value: T | None = None, error: BaseException | None = None) -> None:
        self.value = value
        self.error = error

    def get(self) -> T:
        """Return the result, or raise the error."""
        if self.error is not None:
            # Not kept here: an error whose traceback leads back to it is freed late.
            error, self.error = self.error, None
            try:
                raise error
            finally:
                del error
        return self.value  # type: ignore[return-value] # None only where T has it


def fetching(
    statement: Executable, parameters: Parameters
) -> Callable[[Connection], Sequence[Row]]:
    """Return the function of a connection that fetches all rows of a statement."""
    return lambda connection: connection.execute(statement, parameters).all()


def executing(statement: Executable, parameters: Parameters) -> Callable[[Connection], int]:
    """Return the function of a connection that runs a statement and returns its row count."""
    return lambda connection: connection.execute(statement, parameters).rowcount


async def settles(call: asyncio.Future[Any]) -> bool:
    """Wait until a call that was interrupted has ended, and return whether it has."""
    done, _ = await asyncio.wait((call,), timeout=_SETTLE_TIMEOUT)
    return bool(done)
