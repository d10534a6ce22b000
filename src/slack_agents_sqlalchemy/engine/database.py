"""One database: one hop per call, time limits, and drivers' errors translated."""

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from itertools import count
from typing import Any

from sqlalchemy import Executable, Insert, event, func, select, union_all
from sqlalchemy.engine import URL, Connection, Dialect, Engine
from sqlalchemy.exc import DBAPIError

from slack_agents_sqlalchemy.dialects import (
    DialectAdapter,
    InsertSelect,
    Upsert,
    adapter_for,
    driver_error,
)
from slack_agents_sqlalchemy.engine import factory as engines
from slack_agents_sqlalchemy.engine.attempts import Attempt
from slack_agents_sqlalchemy.engine.deadlines import DeadlineError, Deadlines
from slack_agents_sqlalchemy.engine.error_mapping import presentable, translate
from slack_agents_sqlalchemy.engine.failover import Failover
from slack_agents_sqlalchemy.engine.fast_path import DriverCalls, FastPath, Row
from slack_agents_sqlalchemy.engine.pool import (
    AsyncConnections,
    Connections,
    Freshness,
    OneConnection,
    ThreadConnections,
    connect,
)
from slack_agents_sqlalchemy.engine.retry import TRANSIENT, retry
from slack_agents_sqlalchemy.engine.transport import Runner, TaskRunner, ThreadRunner
from slack_agents_sqlalchemy.errors import (
    ConfigurationError,
    DatabaseTimeoutError,
    DatabaseUnavailableError,
    DuplicateKeyError,
    InvalidValueError,
    LockTimeoutError,
    NotInitializedError,
    StorageError,
    UnsupportedDatabaseError,
)
from slack_agents_sqlalchemy.identifiers import MAX_CLOCK_ID, next_id
from slack_agents_sqlalchemy.models import Block, Conversation, KeyValue, ListItem, Message
from slack_agents_sqlalchemy.options import Options
from slack_agents_sqlalchemy.urls import redact

type Parameters = Mapping[str, Any]

type _Write = Executable | Callable[[Connection, dict[str, Any]], int | None]

_LARGEST_IDS = union_all(
    *(
        select(func.max(model.id)).where(model.id <= MAX_CLOCK_ID)
        for model in (Conversation, Message, Block, KeyValue, ListItem)
    )
)

_LARGE_STATEMENT = 100_000  # bytes; no server's limit is lower
_INSERT_ATTEMPTS = 5  # each with a new id; one collision needs two processes in one microsecond


class Database:
    """Runs statements on one database; every call is one hop, and one statement one round trip.

    The engine autocommits: a call of one statement needs no transaction.
    """

    def __init__(self, url: URL, options: Options) -> None:
        self.url = url
        self.adapter: DialectAdapter = adapter_for(url.get_backend_name())
        if options.synchronous is not None and not self.adapter.has_synchronous:
            raise ConfigurationError(
                "storage option 'synchronous' is for SQLite: what a power cut may take from "
                f"{redact(url)} is a setting of its server"
            )
        self._options = options
        self._servers = self.adapter.servers(url)
        self._time_to_connect = options.connect_timeout / self.adapter.server_count(url)
        self._autocommits = engines.autocommits(url, self.adapter, options)
        self._engine: Engine | None = None
        self._runner: Runner | None = None
        self._fast_path: FastPath | None = None
        self._deadlines = Deadlines(options.command_timeout)
        self._freshness = Freshness(options.connect_timeout)
        self._loop: asyncio.AbstractEventLoop | None = None  # that the connections belong to
        self._process = 0  # the same
        self._lifetime: AsyncGenerator[None] | None = None  # ends with the event loop
        self._closing: asyncio.Future[None] | None = None
        self._has_observed_ids = False  # since it was opened

    @property
    def engine(self) -> Engine:
        """The SQLAlchemy engine.

        Raises:
            NotInitializedError: The database is not open.
        """
        if self._engine is None:
            raise self._not_open()
        return self._engine

    @property
    def is_open(self) -> bool:
        """Whether it was opened, and not closed since."""
        return self._engine is not None

    async def open(self) -> None:
        """Create the engine and make the first connection. A second call does nothing.

        Raises:
            DatabaseUnavailableError: The database does not exist, or cannot be reached within
                ``connect_timeout``.
            AccessRefusedError: It refuses the user, the password or a right.
        """
        if self._engine is not None:
            return
        if self._options.migrate != "auto" and self.adapter.is_missing(self.url):
            raise DatabaseUnavailableError(
                f"{redact(self.url)} does not exist: run slack-agents-db upgrade to create it"
            )
        self._engine = engines.create(self.url, self.adapter, self._options)
        self.adapter.make_private(self.url)  # not for an option that is of no use
        serves_any_loop = self.adapter.has_single_connection and not self._engine.dialect.is_async
        self._loop = None if serves_any_loop else asyncio.get_running_loop()
        self._process = os.getpid()
        calls = self._driver_calls()
        connections = None if calls is None else self._create_connections(self._engine, calls)
        self._runner = self._create_runner(self._engine, connections)
        if calls is not None and connections is not None:
            self._fast_path = FastPath(self._engine, self.adapter, calls, connections)
        self._has_observed_ids = False
        may_hang = (
            self._engine.dialect.is_async
            and not self.adapter.has_single_connection
            and not self.adapter.limits_connecting(self.url.get_driver_name())
        )
        if self._servers or may_hang:  # after the fast path, which may forbid to connect
            choose = Failover(self.adapter, self._servers, self._time_to_connect)
            event.listen(self._engine, "do_connect", choose)
        try:
            await self.run(_do_nothing, timeout=self._options.connect_timeout, once=True)
            self._require_version(self._engine.dialect)
        except BaseException as exc:
            await self.close(patience=0)
            if isinstance(exc, DatabaseTimeoutError) and not isinstance(exc, LockTimeoutError):
                raise DatabaseUnavailableError(
                    f"no connection to {redact(self.url)} "
                    f"within {self._options.connect_timeout:g} s: is the database running?"
                ) from None
            raise
        if self._loop is not None:
            self._lifetime = self._close_with_loop()
            await anext(self._lifetime)

    async def close(self, *, patience: float = 10.0) -> None:
        """Wait for the calls in flight and close every connection. A second call does nothing.

        Args:
            patience: Seconds to wait, for the calls and for the connections.
        """
        engine, runner = self._engine, self._runner
        self._engine = self._runner = self._fast_path = None
        if engine is not None and runner is not None:
            self._closing = asyncio.ensure_future(self._close(engine, runner, patience))
        if self._closing is not None and not self._closing.done():
            await asyncio.shield(self._closing)  # who is cancelled does not leave it half closed
        lifetime, self._lifetime = self._lifetime, None
        if lifetime is not None and not self._is_elsewhere():
            await lifetime.aclose()

    async def _close_with_loop(self) -> AsyncGenerator[None]:
        """Close the connections when the event loop ends, which closes its generators.

        Drivers write to the log about connections that are left open then.
        """
        try:
            yield
        finally:
            self._lifetime = None
            await self.close(patience=0)

    async def _close(self, engine: Engine, runner: Runner, patience: float) -> None:
        if self._is_elsewhere():
            engine.dispose(close=False)  # nobody can close them any more
        else:
            await runner.stop(engine.dispose, patience)
        self._deadlines.stop()

    async def fetch(self, statement: Executable, parameters: Parameters) -> Sequence[Row]:
        """Run a reading statement and return all its rows."""
        fast, runner = self._fast_path, self._open_runner()
        if fast is None or fast.is_watched():
            return await self.run(
                lambda connection: connection.execute(statement, parameters).all(), writes=False
            )
        return await self._hop(
            lambda attempt: runner.drive(
                lambda: fast.fetch(attempt, statement, parameters), attempt
            ),
            runner,
            writes=False,
        )

    async def execute(self, statement: Executable, parameters: Parameters) -> int:
        """Run a writing statement and return how many rows it matched or made."""
        fast, runner = self._fast_path, self._open_runner()
        if fast is None or fast.is_watched():
            return await self.run(
                lambda connection: connection.execute(statement, parameters).rowcount
            )
        return await self._hop(
            lambda attempt: runner.drive(
                lambda: fast.execute(attempt, statement, parameters), attempt
            ),
            runner,
            shares_commit=True,
        )

    async def upsert(
        self,
        build: Callable[[DialectAdapter], Upsert],
        row: dict[str, Any],
        *,
        with_id: bool = False,
    ) -> None:
        """Insert a row, or replace what is there under its key.

        Args:
            build: Makes the operation for a dialect, once.
            row: All its columns.
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
        write = self._write(insertion)
        for attempt in count(1):
            row = dict(parameters)
            try:
                made = await self._store(write, row)
            except DuplicateKeyError as exc:
                if not exc.was_stored:
                    if attempt < _INSERT_ATTEMPTS:
                        continue
                    raise  # each time another process made the same id
                made = 1
            row_id: int = row["id"]
            return row_id if made else None
        return None

    def _write(self, insertion: Insert | InsertSelect) -> _Write:
        if isinstance(insertion, Insert):
            return insertion
        if self.adapter.supports_insert_select:
            return insertion.statement
        return lambda connection, row: self.adapter.insert_select(connection, insertion, row)

    async def _store(self, write: _Write, row: dict[str, Any]) -> int:
        """Write a row under a new id, which is added to it, and return how many rows were made."""
        if self._has_observed_ids:
            row["id"] = next_id()
            if isinstance(write, Executable):
                return await self.execute(write, row)

        def run(connection: Connection) -> int:
            if "id" not in row:  # else it is run again, and may be stored already
                row["id"] = self.new_id(connection)
            if isinstance(write, Executable):
                return connection.execute(write, row).rowcount
            return write(connection, row) or 0

        return await self.run(run)

    def new_id(self, connection: Connection) -> int:
        """Return an id for a new row, larger than all that were in the tables at the first call.

        Callers that come first at the same time read the largest ids each for itself, so that none
        depends on the cancellation or the error of another. Each does so in the same call of the
        database as its insertion, so that :meth:`close` waits for both.
        """
        if not self._has_observed_ids:
            largest = connection.execute(_LARGEST_IDS).scalars()
            next_id.observe(max(found or 0 for found in largest))
            self._has_observed_ids = True
        return next_id()

    async def run[T](
        self,
        operation: Callable[[Connection], T],
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - it also names the error
        once: bool = False,
        writes: bool = True,
    ) -> T:
        """Run a function of a connection in one hop.

        Args:
            operation: What to do; plain synchronous code. It is run again where the connection was
                lost meanwhile.
            timeout: Seconds it may take; by default the option ``command_timeout``.
            once: Whether it may not be run again.
            writes: Whether it may change rows.

        Raises:
            NotInitializedError: The database is not open.
            DatabaseTimeoutError: It took too long.
            DatabaseError: The database refused; see the subclasses.
        """
        engine, runner = self.engine, self._open_runner()

        def connect_and_run(attempt: Attempt) -> T:
            with connect(engine, self._freshness, attempt) as connection:
                if self._autocommits:
                    return operation(connection)
                return self.adapter.transact(connection, operation)

        return await self._hop(
            lambda attempt: runner.run(lambda: connect_and_run(attempt), attempt),
            runner,
            timeout,
            once=once,
            writes=writes,
        )

    async def _hop[T](
        self,
        call: Callable[[Attempt], Awaitable[T]],
        runner: Runner,
        timeout: float | None = None,  # noqa: ASYNC109 - see run
        *,
        once: bool = False,
        writes: bool = True,
        shares_commit: bool = False,
    ) -> T:
        deadlines = self._deadlines if timeout is None else Deadlines(timeout)
        try:
            with deadlines.start():
                began = asyncio.get_running_loop().time()
                deadline = began + deadlines.limit

                def attempt() -> Awaitable[T]:
                    new = Attempt(deadline, writes=writes, shares_commit=shares_commit)
                    return self._try(call, runner, new)

                try:
                    return await attempt()
                except TRANSIENT as exc:
                    is_late = asyncio.get_running_loop().time() >= deadline
                    if is_late and not isinstance(exc, DatabaseTimeoutError):
                        raise self._too_late(deadlines.limit) from exc
                    polls_locks = self.adapter.has_short_lock_timeout
                    if once and not (polls_locks and isinstance(exc, LockTimeoutError)):
                        raise
                    return await retry(
                        attempt,
                        exc,
                        patience=self._options.connect_timeout,
                        began=began,
                        deadline=deadline,
                        polls_locks=polls_locks,
                    )
        except DeadlineError:
            self._freshness.note_loss()  # where one is silent, the others may be
            raise self._too_late(deadlines.limit) from None

    def _too_late(self, limit: float) -> DatabaseTimeoutError:
        return DatabaseTimeoutError(f"{redact(self.url)} did not answer within {limit:g} s")

    async def _try[T](
        self, call: Callable[[Attempt], Awaitable[T]], runner: Runner, attempt: Attempt
    ) -> T:
        """Make a call, and tell its error as one of this package's."""
        if self._runner is not runner:  # it was closed while the call waited to be made again
            raise self._not_open()
        try:
            return await call(attempt)
        except StorageError:
            raise
        except Exception as exc:
            meaning = translate(exc, self.adapter, redact(self.url), attempt)
            if isinstance(meaning, DatabaseUnavailableError):
                self._freshness.note_loss()
            await self._refuse_what_is_too_large(exc, attempt)
            if meaning is None:
                raise
            raise meaning from presentable(exc, self.adapter)

    def _require_version(self, dialect: Dialect) -> None:
        """Raise where the server is older than the statements of this package."""
        product = self.adapter.product(dialect)
        found = dialect.server_version_info or ()
        for name, oldest, feature in self.adapter.needs:
            if product == name and found and tuple(found) < oldest:
                raise UnsupportedDatabaseError(
                    f"{redact(self.url)} is {name} {_dotted(found)}, which lacks {feature}: "
                    f"this package needs {name} {_dotted(oldest)} or newer"
                )

    def _driver_calls(self) -> DriverCalls | None:
        calls: DriverCalls | None = self.adapter.driver_calls(self.url.get_driver_name())
        return calls if self._autocommits else None

    def _create_connections(self, engine: Engine, calls: Any) -> Connections[Any]:
        if engine.dialect.is_async:
            pings = bool(self._options.engine_options.get("pool_pre_ping"))
            return AsyncConnections(engine, self._freshness, pings=pings)
        if self.adapter.has_single_connection:
            return OneConnection(engine, calls)
        return ThreadConnections(engine, self._freshness)

    def _create_runner(self, engine: Engine, connections: Connections[Any] | None) -> Runner:
        def interrupt(driver_connection: Any) -> None:
            self.adapter.interrupt(driver_connection, lambda: connect(engine, self._freshness))

        one_connection = self.adapter.has_single_connection
        size = 1 if one_connection else self._options.pool_size
        if engine.dialect.is_async:
            return TaskRunner(size, interrupt, keeps_connection=one_connection)
        shared = connections if isinstance(connections, OneConnection) else None
        return ThreadRunner(size, interrupt, settles=one_connection, transaction=shared)

    def _open_runner(self) -> Runner:
        if self._runner is None:
            raise self._not_open()
        if self._is_elsewhere():
            place = "event loop" if self._process == os.getpid() else "process, before a fork"
            raise NotInitializedError(
                f"the storage was initialized in another {place}, which its connections belong "
                "to: call close() and initialize() in this one"
            )
        return self._runner

    def _is_elsewhere(self) -> bool:
        in_loop = self._loop is None or self._loop is asyncio.get_running_loop()
        return not in_loop or self._process != os.getpid()

    def _not_open(self) -> NotInitializedError:
        return NotInitializedError(
            "the storage is not initialized: call initialize() first"
            if self._closing is None
            else "the storage is closed: call initialize() to use it again"
        )

    async def _refuse_what_is_too_large(self, error: Exception, attempt: Attempt) -> None:
        """Raise where the server refused a statement, or dropped the connection, for its size."""
        setting = self.adapter.size_setting
        sql = attempt.sql
        sent: Any = attempt.sent
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            sql, sent = error.statement or "", error.params
        elif not attempt.lost:
            return
        if not sent:
            return
        size = self.adapter.statement_size(
            sql, list(sent.values() if isinstance(sent, Mapping) else sent)
        )
        if size < _LARGE_STATEMENT:
            return
        cause = presentable(error, self.adapter)
        if setting is None:
            raise DatabaseUnavailableError(
                f"{redact(self.url)} closed the connection while a value of {size:,} bytes was "
                "sent: is it larger than the server accepts?"
            ) from cause
        limit = await self.run(self.adapter.ask_size_limit)
        if size >= limit or self.adapter.is_too_large(driver_error(error)):
            raise InvalidValueError(
                f"a value is larger than the server accepts, with its statement {size:,} bytes: "
                f"raise its setting {setting}, which is {limit:,} bytes now"
            ) from cause


def _dotted(version: Iterable[object]) -> str:
    return ".".join(map(str, version))


def _do_nothing(connection: Connection) -> None:
    """Be the operation of a call that only wants a connection."""
