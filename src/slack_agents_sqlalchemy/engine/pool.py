"""Connections from the engine's pool and back: one that was idle for long is checked before use."""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, Self
from weakref import WeakSet

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import PoolProxiedConnection, QueuePool
from sqlalchemy.util import greenlet_spawn

from slack_agents_sqlalchemy.dialects import TransactionCalls
from slack_agents_sqlalchemy.engine.attempts import Attempt
from slack_agents_sqlalchemy.engine.keepalive import shut_down_after

_IDLE_SECONDS = 30.0
_PING_SECONDS = 3.0  # a round trip takes a tenth of that, around the world
_USED_AT = "slack_agents_used_at"  # in a connection's info; seconds of the monotonic clock


class Freshness:
    """Which connections need no look: new ones, and those used lately and since one was lost.

    Attributes:
        patience: Seconds that a look may take; a connection that does not answer is dropped.
    """

    def __init__(self, connect_timeout: float) -> None:
        self.patience = min(_PING_SECONDS, connect_timeout)
        self._lost_at = -math.inf

    def note_loss(self) -> None:
        """Have every connection looked at before its next use: the server may be gone."""
        self._lost_at = time.monotonic()

    def note_use(self, pooled: PoolProxiedConnection) -> None:
        """Remember when a connection was used."""
        pooled.info[_USED_AT] = time.monotonic()

    def is_fresh(self, pooled: PoolProxiedConnection) -> bool:
        """Return whether the connection may be used as it is."""
        used_at = pooled.info.get(_USED_AT)
        return used_at is None or used_at > max(self._lost_at, time.monotonic() - _IDLE_SECONDS)


@contextmanager
def connect(
    engine: Engine, freshness: Freshness, attempt: Attempt | None = None
) -> Iterator[Connection]:
    """Lend a connection of SQLAlchemy's; in a greenlet or on a worker thread.

    Args:
        engine: Whose pool is used.
        freshness: Tells which connections must be looked at.
        attempt: The attempt of a call that the connection is for.
    """
    while True:
        connection = engine.connect()
        pooled = connection.connection
        if freshness.is_fresh(pooled) or _is_alive(engine, pooled, freshness.patience):
            break
        connection.invalidate()
        connection.close()
    with connection:
        if attempt is not None:
            attempt.connected = True
            attempt.connection = pooled.driver_connection
        try:
            yield connection
        finally:
            # An asyncio driver's connection that is cut off is closed, which the server may not
            # know: that of a cancelled call stays noted.
            if attempt is not None and not (engine.dialect.is_async and connection.invalidated):
                attempt.end()
        freshness.note_use(pooled)


class Lent(Protocol):
    """A connection in use; a ``PoolProxiedConnection`` is one."""

    @property
    def driver_connection(self) -> Any:
        """The driver's own connection."""
        ...


class Connections[T: Lent](Protocol):
    """Where the fast path gets its connections from."""

    async def take(self) -> T:
        """Check a connection out; one that was idle for long is checked first."""
        ...

    async def invalidate(self, lent: T, error: BaseException) -> None:
        """Close the connection, so that nobody uses it again."""
        ...

    async def give_back(self, lent: T, attempt: Attempt) -> None:
        """Check the connection in; one that was invalidated too."""
        ...


class AsyncConnections:
    """Connections of an asyncio driver.

    A pool that may have to await something is used in a greenlet, which costs a fifth of a point
    read: that is spared where the pool has a connection at hand.
    """

    def __init__(self, engine: Engine, freshness: Freshness, *, pings: bool) -> None:
        """Remember the engine.

        Args:
            engine: Whose pool is used; of any kind.
            freshness: Tells which connections must be looked at.
            pings: Whether the pool itself awaits an answer on each connection that it gives.
        """
        self._engine = engine
        self._freshness = freshness
        self._always_awaits = pings or not isinstance(engine.pool, QueuePool)
        self._may_connect = True
        event.listen(engine, "do_connect", self._refuse_to_connect)

    async def take(self) -> PoolProxiedConnection:
        """Check a connection out."""
        lent = None if self._may_await() else self._take_at_hand()
        if lent is None:
            lent = await greenlet_spawn(_take, self._engine, self._freshness)
        return lent

    async def invalidate(self, lent: PoolProxiedConnection, error: BaseException) -> None:
        """Close the connection; the driver asks the server to cancel, and awaits that."""
        await greenlet_spawn(lent.invalidate, error)

    async def give_back(self, lent: PoolProxiedConnection, attempt: Attempt) -> None:
        """Check the connection in."""
        if lent.is_valid:
            attempt.connection = None
        self._freshness.note_use(lent)
        if self._may_await():
            await greenlet_spawn(lent.close)
        else:
            lent.close()

    def _may_await(self) -> bool:
        of_pool = self._engine.pool.dispatch
        return bool(self._always_awaits or of_pool.checkout or of_pool.checkin or of_pool.reset)

    def _take_at_hand(self) -> PoolProxiedConnection | None:
        if not self._engine.pool.checkedin():  # type: ignore[attr-defined] # a QueuePool
            return None
        self._may_connect = False
        try:
            lent = self._engine.raw_connection()
        except _NotConnectedError:
            return None
        finally:
            self._may_connect = True
        if self._freshness.is_fresh(lent):
            return lent
        lent.close()
        return None

    def _refuse_to_connect(self, *_: object) -> None:
        if not self._may_connect:
            raise _NotConnectedError


class _NotConnectedError(Exception):
    """The pool gave a place whose connection was closed, and would have made a new one."""


class ThreadConnections:
    """Connections of a synchronous driver, for a worker thread: nothing is ever awaited."""

    def __init__(self, engine: Engine, freshness: Freshness) -> None:
        self._engine = engine
        self._freshness = freshness

    async def take(self) -> PoolProxiedConnection:
        """Check a connection out."""
        return _take(self._engine, self._freshness)

    async def invalidate(self, lent: PoolProxiedConnection, error: BaseException) -> None:
        """Close the connection."""
        lent.invalidate(error)

    async def give_back(self, lent: PoolProxiedConnection, attempt: Attempt) -> None:
        """Check the connection in."""
        attempt.end()
        self._freshness.note_use(lent)
        lent.close()


class OneConnection:
    """The one connection of a database that has no more, for its one worker thread.

    It is looked up once and then used by all, while it stays the pool's: a check-out would cost a
    third of a point read. Calls that wait together share a transaction, unless somebody else has
    the connection from the pool: what that one commits or rolls back would be the calls' too.
    """

    def __init__(self, engine: Engine, calls: TransactionCalls) -> None:
        self._engine = engine
        self._calls = calls
        self.driver_connection: Any = None
        self._lent: WeakSet[PoolProxiedConnection] = WeakSet()
        self._alone = threading.RLock()  # held by a transaction: the pool lends to nobody then
        event.listen(engine, "close", self._forget)
        event.listen(engine, "checkout", self._note)

    async def take(self) -> Self:
        """Return the connection."""
        self._look_up()
        return self

    async def invalidate(self, _lent: Self, error: BaseException) -> None:
        """Close the connection, so that the next call makes a new one."""
        self._engine.raw_connection().invalidate(error)

    async def give_back(self, _lent: Self, attempt: Attempt) -> None:
        """Keep the connection."""
        attempt.end()

    def begin(self) -> bool:
        """Begin a transaction; return False where others use the connection."""
        self._alone.acquire()
        has_begun = False
        try:
            if not any(lent.is_valid for lent in self._lent):
                self._look_up()
                self._calls.begin(self.driver_connection)
                has_begun = True
        finally:
            if not has_begun:
                self._alone.release()
        return has_begun

    def is_open(self) -> bool:
        """Return whether the transaction was neither committed nor rolled back."""
        connection = self.driver_connection  # None after it was closed
        return connection is not None and self._calls.is_in_transaction(connection)

    def commit(self) -> bool:
        """Commit the transaction; return whether all of it is stored."""
        try:
            return self.is_open() and self._calls.commit(self.driver_connection)
        finally:
            self._alone.release()

    def _look_up(self) -> None:
        if self.driver_connection is None:
            pooled = self._engine.raw_connection()
            self.driver_connection = pooled.driver_connection
            pooled.close()

    def _note(self, _dbapi_connection: Any, _record: Any, lent: PoolProxiedConnection) -> None:
        with self._alone:
            self._lent.add(lent)

    def _forget(self, _dbapi_connection: Any, _record: Any) -> None:
        self.driver_connection = None


def _take(engine: Engine, freshness: Freshness) -> PoolProxiedConnection:
    while True:
        pooled = engine.raw_connection()
        if freshness.is_fresh(pooled) or _is_alive(engine, pooled, freshness.patience):
            return pooled
        pooled.invalidate()


def _is_alive(engine: Engine, pooled: PoolProxiedConnection, patience: float) -> bool:
    dialect, connection = engine.dialect, pooled.driver_connection
    try:
        with shut_down_after(patience, connection, is_async=dialect.is_async):
            return bool(dialect.do_ping(pooled.dbapi_connection))  # type: ignore[arg-type] # it is open
    except Exception:  # noqa: BLE001 - whatever it is, the connection is of no use
        return False
    except BaseException:  # cancelled: nobody else would give it back
        pooled.invalidate()
        raise
