"""Connections checked out of the engine's pool; one that was idle is checked before its use."""

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError, MissingGreenlet
from sqlalchemy.pool import PoolProxiedConnection, QueuePool
from sqlalchemy.util import await_only, greenlet_spawn
from sqlalchemy.util.concurrency import in_greenlet

from slack_agents_sqlalchemy.dialects import DialectAdapter
from slack_agents_sqlalchemy.engine.error_mapping import ErrorMapping
from slack_agents_sqlalchemy.engine.keepalive import shut_down_after

_IDLE_SECONDS = 30.0
_PING_TIMEOUT = 3.0  # seconds; ten times the longest round trip around the world
_INTERRUPT_TIMEOUT = 3.0  # seconds for asking the server to end a statement
_USED_AT = "slack_agents_used_at"  # in a connection's info; seconds of the monotonic clock


class Pool:
    """The connections of one engine.

    :meth:`connect` and :meth:`checkout` run in a greenlet for an asyncio driver, on a worker thread
    for a synchronous one.

    Args:
        engine: The engine; its pool may be of any kind.
        adapter: The adapter of its dialect.
        errors: Maps the errors of connecting.
        connect_timeout: Seconds.
        autocommits: Whether the connections are in AUTOCOMMIT.
        pre_pings: Whether the pool itself checks each connection.
    """

    def __init__(
        self,
        engine: Engine,
        adapter: DialectAdapter,
        errors: ErrorMapping,
        connect_timeout: float,
        *,
        autocommits: bool,
        pre_pings: bool,
    ) -> None:
        self.engine = engine
        self.adapter = adapter
        self._errors = errors
        self._autocommits = autocommits
        self._ping_timeout = min(_PING_TIMEOUT, connect_timeout)
        self._always_awaits = pre_pings or not isinstance(engine.pool, QueuePool)
        self._lost_at = -math.inf
        self._is_disposed = False
        if engine.dialect.is_async:
            event.listen(engine, "do_connect", _require_greenlet)

    def note_loss(self) -> None:
        """Check every connection before its next use: the server may be gone."""
        self._lost_at = time.monotonic()

    def dispose(self, *, close: bool = True) -> None:
        """Close the connections; one that is in use is closed at its checkin.

        Args:
            close: Whether the idle connections may be closed.
        """
        self._is_disposed = True
        self.engine.dispose(close=close)

    @contextmanager
    def connect(
        self, note: Callable[[Any], None] | None = None, *, interrupts: bool = True
    ) -> Iterator[Connection]:
        """Check a connection out as one of SQLAlchemy's, and in again.

        Args:
            note: Is called with the driver connection, and with None when its use has ended.
            interrupts: Whether a statement that is cut off is ended at the database too.

        Raises:
            StorageError: There is no connection; see :class:`ErrorMapping`.
        """
        connection = self._connect()
        pooled = connection.connection
        driver_connection = pooled.driver_connection
        was_cut_off = False
        try:
            if note is not None:
                note(driver_connection)
            yield connection
            pooled.info[_USED_AT] = time.monotonic()
        except asyncio.CancelledError:  # an asyncio driver may have disconnected
            was_cut_off = interrupts and connection.invalidated
            raise
        finally:
            if note is not None:
                note(None)
            if self._is_disposed:
                connection.invalidate()  # nobody would close it in the pool of before
            connection.close()
            if was_cut_off:
                self.interrupt(driver_connection)

    def run[T](
        self, operation: Callable[[Connection], T], note: Callable[[Any], None] | None = None
    ) -> T:
        """Return the result of a function of a connection; see :meth:`connect`."""
        with self.connect(note) as connection:
            if self._autocommits:
                return operation(connection)
            return self.adapter.run_in_transaction(connection, operation)

    def checkout(self) -> PoolProxiedConnection:
        """Check a driver connection out; to be given to :meth:`checkin`.

        Raises:
            StorageError: There is no connection; see :class:`ErrorMapping`.
        """
        try:
            while True:
                pooled = self.engine.raw_connection()
                if self._needs_no_check(pooled) or self._ping(pooled):
                    return pooled
                pooled.invalidate()
        except Exception as exc:  # noqa: BLE001 - it is raised again, mapped
            raise self._errors.map(exc, connecting=True)  # noqa: B904 - the mapping names the cause

    def checkout_ready(self) -> PoolProxiedConnection | None:
        """Return an open and fresh connection of a pool that awaits nothing, or None."""
        if not self.engine.pool.checkedin():  # type: ignore[attr-defined] # a QueuePool
            return None
        try:
            pooled = self.engine.raw_connection()
        except MissingGreenlet:  # the pool has a record without an open connection
            return None
        if self._needs_no_check(pooled):
            return pooled
        pooled.close()
        return None

    def checkin(self, pooled: PoolProxiedConnection, error: BaseException | None = None) -> None:
        """Check a connection in.

        Args:
            pooled: The connection.
            error: How its statement ended. The connection is closed where it was lost, and where
                the statement was given up, of which the answer may still come.
        """
        is_given_up = error is not None and not isinstance(error, Exception)
        is_lost = isinstance(error, DBAPIError) and error.connection_invalidated
        driver_connection = pooled.driver_connection
        pooled.info[_USED_AT] = time.monotonic()
        if is_given_up or is_lost or self._is_disposed:
            pooled.invalidate(error)
        pooled.close()
        if is_given_up:
            self.interrupt(driver_connection)

    def awaits(self) -> bool:
        """Return whether each checkout or checkin may await something, with an asyncio driver."""
        events = self.engine.pool.dispatch
        return bool(self._always_awaits or events.checkout or events.checkin or events.reset)

    def interrupt(self, driver_connection: Any) -> None:
        """End what a driver connection runs at the database, within a limited time."""
        # An interruption that is cut off is not interrupted in its turn.
        cancel = partial(
            self.adapter.cancel_statement,
            driver_connection,
            partial(self.connect, interrupts=False),
        )
        with suppress(Exception):  # the network is down, or the server
            if self.engine.dialect.is_async:
                await_only(_in_time(cancel))
            else:
                cancel()

    def _connect(self) -> Connection:
        try:
            while True:
                connection = self.engine.connect()
                if self._needs_no_check(connection.connection) or self._ping(connection.connection):
                    return connection
                connection.invalidate()
                connection.close()
        except Exception as exc:  # noqa: BLE001 - it is raised again, mapped
            raise self._errors.map(exc, connecting=True)  # noqa: B904 - the mapping names the cause

    def _needs_no_check(self, pooled: PoolProxiedConnection) -> bool:
        used_at = pooled.info.get(_USED_AT)
        return used_at is None or used_at > max(self._lost_at, time.monotonic() - _IDLE_SECONDS)

    def _ping(self, pooled: PoolProxiedConnection) -> bool:
        dialect, connection = self.engine.dialect, pooled.driver_connection
        try:
            with shut_down_after(self._ping_timeout, connection, is_async=dialect.is_async):
                return bool(dialect.do_ping(pooled.dbapi_connection))  # type: ignore[arg-type] # it is open
        except Exception:  # noqa: BLE001 - any error: the connection is of no use
            return False
        except BaseException:  # cancelled: no other code checks it in
            pooled.invalidate()
            raise


async def _in_time(cancel: Callable[[], None]) -> None:
    async with asyncio.timeout(_INTERRUPT_TIMEOUT):
        await greenlet_spawn(cancel)


def _require_greenlet(*_: object) -> None:
    """Refuse to open a connection of an asyncio driver where nothing can be awaited."""
    if not in_greenlet():
        raise MissingGreenlet("the pool has no open connection")
