"""The execution of calls: one time limit and one retry policy for each, and ids for new rows."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import count
from typing import Any

from sqlalchemy import Executable, Insert
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from slack_agents_sqlalchemy.dialects import DialectAdapter, InsertSelect, Upsert, driver_error
from slack_agents_sqlalchemy.engine.error_mapping import ErrorMapping
from slack_agents_sqlalchemy.engine.fast_path import Row
from slack_agents_sqlalchemy.engine.pool import Pool
from slack_agents_sqlalchemy.engine.retry import TRANSIENT, retry
from slack_agents_sqlalchemy.engine.transport import Parameters, Transport
from slack_agents_sqlalchemy.errors import (
    DatabaseTimeoutError,
    DatabaseUnavailableError,
    DuplicateKeyError,
    InvalidValueError,
    LockTimeoutError,
    NotInitializedError,
)
from slack_agents_sqlalchemy.identifiers import next_id
from slack_agents_sqlalchemy.options import Options
from slack_agents_sqlalchemy.queries.largest_ids import LARGEST_IDS

type _Write = Executable | Callable[[Connection, dict[str, Any]], int | None]

_LARGE_STATEMENT = 100_000  # bytes; no server's limit is lower
_CLOSED = "the storage is closed: call initialize() to use it again"
_INSERT_ATTEMPTS = 5  # each with a new id; one collision needs two processes in one microsecond


class Executor:
    """The executor of statements on an open database.

    Args:
        transport: Runs what a call sends.
        pool: The connections.
        errors: Maps the errors of the database.
        options: The options of the provider.
        loop: The event loop that the connections belong to; None for connections of no loop.
    """

    def __init__(
        self,
        transport: Transport,
        pool: Pool,
        errors: ErrorMapping,
        options: Options,
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        self.adapter: DialectAdapter = pool.adapter
        self._transport = transport
        self._pool = pool
        self._errors = errors
        self._options = options
        self._loop = loop
        self._process = os.getpid()
        self._is_stopped = False
        self._has_observed_ids = False

    async def stop(self, timeout: float) -> None:  # noqa: ASYNC109 - it raises nothing
        """Wait for the calls in flight, and dispose of the engine; see :class:`Transport`."""
        self._is_stopped = True
        if self.is_elsewhere():
            self._pool.engine.dispose(close=False)  # the connections can no longer be closed
        else:
            await self._transport.stop(timeout)

    def is_elsewhere(self) -> bool:
        """Return whether the connections belong to another event loop or process."""
        in_loop = self._loop is None or self._loop is asyncio.get_running_loop()
        return not in_loop or self._process != os.getpid()

    def fetch(self, statement: Executable, parameters: Parameters) -> Awaitable[Sequence[Row]]:
        """Return all rows of a reading statement."""
        return self._call(partial(self._transport.fetch, statement, parameters))

    def execute(self, statement: Executable, parameters: Parameters) -> Awaitable[int]:
        """Return the number of rows that a writing statement matched or inserted."""
        return self._call(partial(self._transport.execute, statement, parameters))

    async def run[T](
        self,
        operation: Callable[[Connection], T],
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - it also names the error
        once: bool = False,
        writes: bool = True,
    ) -> T:
        """Return the result of a synchronous function of a connection.

        Args:
            operation: The function. It is retried after a transient error.
            timeout: Seconds; by default the option ``command_timeout``.
            once: Whether it is never retried.
            writes: Whether it may change rows.

        Raises:
            NotInitializedError: The database is not open.
            DatabaseTimeoutError: The time limit was reached.
            DatabaseError: The database refused; see the subclasses.
        """
        send = partial(self._transport.run, operation, writes=writes)
        return await self._call(send, timeout, once=once)

    async def upsert(
        self,
        build: Callable[[DialectAdapter], Upsert],
        row: dict[str, Any],
        *,
        with_id: bool = False,
    ) -> None:
        """Insert a row, or replace columns of the row with its key.

        Args:
            build: Returns the operation for a dialect, cached.
            row: All columns of the row.
            with_id: Whether a new row gets a new ``id`` too.
        """
        upsert = build(self.adapter)
        if with_id:
            await self._store(upsert, row)
        elif isinstance(upsert, Executable):
            await self.execute(upsert, row)
        else:
            await self.run(lambda connection: upsert(connection, row))

    async def insert(self, insertion: Insert | InsertSelect, parameters: Parameters) -> int | None:
        """Insert a row under a new id.

        Args:
            insertion: An INSERT whose parameter ``id`` is the row's id.
            parameters: All its other parameters.

        Returns:
            The id, or None where the statement found no parent to insert the row under.
        """
        write: _Write
        if isinstance(insertion, Insert):
            write = insertion
        elif self.adapter.supports_insert_select:
            write = insertion.statement
        else:
            write = partial(self._insert_select, insertion)
        for attempt in count(1):
            row = dict(parameters)
            try:
                inserted = await self._store(write, row)
            except DuplicateKeyError as exc:
                if not exc.was_stored:
                    if attempt < _INSERT_ATTEMPTS:
                        continue
                    raise  # each time another process had made the same id
                inserted = 1
            row_id: int = row["id"]
            return row_id if inserted else None
        return None

    def _insert_select(
        self, insertion: InsertSelect, connection: Connection, row: dict[str, Any]
    ) -> int:
        return self.adapter.insert_select(connection, insertion, row)

    def _store(self, write: _Write, row: dict[str, Any]) -> Awaitable[int]:
        """Write a row under a new id, which is added to it, and return the row count."""
        if self._has_observed_ids:
            row["id"] = next_id()
            if isinstance(write, Executable):
                return self.execute(write, row)

        def run(connection: Connection) -> int:
            if "id" not in row:  # else it is a retry, and may be stored already
                row["id"] = self.new_id(connection)
            if isinstance(write, Executable):
                return connection.execute(write, row).rowcount
            return write(connection, row) or 0

        return self.run(run)

    def new_id(self, connection: Connection) -> int:
        """Return an id for a new row, larger than all that were in the tables at the first call.

        Concurrent first callers each read the largest ids, so that none depends on the cancellation
        or the error of another. Each reads them in the call of its insertion, for which closing
        waits.
        """
        if not self._has_observed_ids:
            largest = connection.execute(LARGEST_IDS).scalars()
            next_id.observe(max(found or 0 for found in largest))
            self._has_observed_ids = True
        return next_id()

    async def _call[T](
        self,
        send: Callable[[float], Awaitable[T]],
        timeout: float | None = None,  # noqa: ASYNC109 - see run
        *,
        once: bool = False,
    ) -> T:
        """Return what a call of the transport returns, within the time limit."""
        loop = asyncio.get_running_loop()
        if (self._loop is not loop and self._loop is not None) or self._process != os.getpid():
            raise self._elsewhere_error()
        if self._is_stopped:
            raise NotInitializedError(_CLOSED)
        limit = self._options.command_timeout if timeout is None else timeout
        began = loop.time()
        deadline = began + limit
        timer = asyncio.timeout_at(deadline)
        try:
            async with timer:
                try:
                    return await send(deadline)
                except Exception as exc:  # noqa: BLE001 - it is raised again, mapped
                    return await self._recover(send, exc, began, deadline, once=once)
        except TimeoutError:
            if not timer.expired():
                raise
            self._pool.note_loss()  # the other connections may not respond either
            raise self._timeout_error(limit) from None

    async def _recover[T](
        self,
        send: Callable[[float], Awaitable[T]],
        error: Exception,
        began: float,
        deadline: float,
        *,
        once: bool,
    ) -> T:
        """Retry a call whose error is transient; raise any other error, mapped."""
        error = await self._map(error)
        if not isinstance(error, TRANSIENT):
            raise error
        is_late = asyncio.get_running_loop().time() >= deadline
        if is_late and not isinstance(error, DatabaseTimeoutError):
            raise self._timeout_error(deadline - began) from error
        polls_locks = self.adapter.has_short_lock_timeout
        if once and not (polls_locks and isinstance(error, LockTimeoutError)):
            raise error

        async def attempt() -> T:
            if self._is_stopped:
                raise NotInitializedError(_CLOSED)
            try:
                return await send(deadline)
            except Exception as exc:  # noqa: BLE001 - it is raised again, mapped
                raise await self._map(exc)  # noqa: B904 - the mapping names the cause

        return await retry(
            attempt,
            error,
            retry_timeout=self._options.connect_timeout,
            began=began,
            deadline=deadline,
            polls_locks=polls_locks,
        )

    async def _map(self, error: Exception) -> Exception:
        mapped = self._errors.map(error)
        if isinstance(mapped, DatabaseUnavailableError):
            self._pool.note_loss()
        return await self._too_large(error) or mapped

    async def _too_large(self, error: Exception) -> Exception | None:
        """Return the error of a statement that was refused for its size, or None."""
        if not (isinstance(error, DBAPIError) and error.connection_invalidated and error.params):
            return None
        sent: Any = error.params
        values = list(sent.values() if isinstance(sent, dict) else sent)
        size = self.adapter.statement_size(error.statement or "", values)
        if size < _LARGE_STATEMENT:
            return None
        setting = self.adapter.statement_size_setting
        if setting is None:
            return self._errors.caused_by(
                error,
                DatabaseUnavailableError(
                    f"{self._errors.where} closed the connection while a value of {size:,} bytes "
                    "was sent: is it larger than the server accepts?"
                ),
            )
        limit = await self.run(self.adapter.read_statement_size_limit)
        if size < limit and not self.adapter.is_statement_too_large(driver_error(error)):
            return None
        return self._errors.caused_by(
            error,
            InvalidValueError(
                f"a value is larger than the server accepts, with its statement {size:,} bytes: "
                f"raise its setting {setting}, which is {limit:,} bytes now"
            ),
        )

    def _timeout_error(self, limit: float) -> DatabaseTimeoutError:
        return DatabaseTimeoutError(f"{self._errors.where} did not answer within {limit:g} s")

    def _elsewhere_error(self) -> NotInitializedError:
        owner = "event loop" if self._process == os.getpid() else "process, before a fork"
        return NotInitializedError(
            f"the storage was initialized in another {owner}, which its connections belong "
            "to: call close() and initialize() in this one"
        )
