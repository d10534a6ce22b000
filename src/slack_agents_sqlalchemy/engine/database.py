"""One database: how it is opened and closed."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable

from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Dialect, Engine

from slack_agents_sqlalchemy.dialects import DialectAdapter, adapter_for
from slack_agents_sqlalchemy.dialects.driver_calls import AsyncDriverCalls, TransactionCalls
from slack_agents_sqlalchemy.engine import factory
from slack_agents_sqlalchemy.engine.error_mapping import ErrorMapping
from slack_agents_sqlalchemy.engine.executor import Executor
from slack_agents_sqlalchemy.engine.failover import Failover
from slack_agents_sqlalchemy.engine.fast_path import FastPath
from slack_agents_sqlalchemy.engine.pool import Pool
from slack_agents_sqlalchemy.engine.single_connection import SingleConnection
from slack_agents_sqlalchemy.engine.tasks import AsyncioTransport
from slack_agents_sqlalchemy.engine.threads import ThreadTransport
from slack_agents_sqlalchemy.engine.transport import Transport
from slack_agents_sqlalchemy.errors import (
    ConfigurationError,
    DatabaseTimeoutError,
    DatabaseUnavailableError,
    LockTimeoutError,
    NotInitializedError,
    UnsupportedDatabaseError,
)
from slack_agents_sqlalchemy.options import Options
from slack_agents_sqlalchemy.urls import redact

_CLOSE_TIMEOUT = 10.0  # seconds, for the calls in flight and for the connections


class Database:
    """A database by its URL and options; :attr:`executor` runs statements while it is open.

    The engine autocommits: a call of one statement needs no transaction.
    """

    def __init__(self, url: URL, options: Options) -> None:
        self.url = url
        self.adapter: DialectAdapter = adapter_for(url.get_backend_name())
        if options.synchronous is not None and not self.adapter.supports_synchronous:
            raise ConfigurationError(
                "storage option 'synchronous' is for SQLite: what a power failure may lose is a "
                f"setting of the server of {redact(url)}"
            )
        self._options = options
        self._servers = self.adapter.servers(url)
        self._errors = ErrorMapping(self.adapter, redact(url))
        self._engine: Engine | None = None
        self._executor: Executor | None = None
        self._until_loop_ends: AsyncGenerator[None] | None = None
        self._closing: asyncio.Future[None] | None = None

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
    def executor(self) -> Executor:
        """The executor of statements.

        Raises:
            NotInitializedError: The database is not open.
        """
        if self._executor is None:
            raise self._not_open()
        return self._executor

    @property
    def is_open(self) -> bool:
        """Whether it was opened, and not closed since."""
        return self._executor is not None

    async def run[T](
        self,
        operation: Callable[[Connection], T],
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - it also names the error
        once: bool = False,
    ) -> T:
        """Return the result of a function of a connection; see :meth:`Executor.run`."""
        return await self.executor.run(operation, timeout=timeout, once=once)

    async def open(self) -> None:
        """Create the engine and make the first connection. A second call does nothing.

        Raises:
            DatabaseUnavailableError: The database does not exist, or cannot be reached within
                ``connect_timeout``.
            AccessRefusedError: It refuses the user, the password or a right.
        """
        if self._executor is not None:
            return
        if self._options.migrate != "auto" and self.adapter.is_missing(self.url):
            raise DatabaseUnavailableError(
                f"{redact(self.url)} does not exist: run slack-agents-db upgrade to create it"
            )
        engine = self._engine = factory.create(self.url, self.adapter, self._options)
        self.adapter.create_private_files(self.url)  # not before the options are known to be valid
        serves_any_loop = self.adapter.has_single_connection and not engine.dialect.is_async
        loop = None if serves_any_loop else asyncio.get_running_loop()
        pool = self._create_pool(engine)
        transport = self._create_transport(pool)
        self._executor = Executor(transport, pool, self._errors, self._options, loop)
        try:
            await self.executor.run(_ping, timeout=self._options.connect_timeout, once=True)
            self._require_version(engine.dialect)
        except BaseException as exc:
            await self.close(timeout=0)
            if isinstance(exc, DatabaseTimeoutError) and not isinstance(exc, LockTimeoutError):
                raise DatabaseUnavailableError(
                    f"no connection to {redact(self.url)} "
                    f"within {self._options.connect_timeout:g} s: is the database running?"
                ) from None
            raise
        if loop is not None:
            self._until_loop_ends = self._close_with_loop(self._executor)
            await anext(self._until_loop_ends)

    async def close(self, *, timeout: float = _CLOSE_TIMEOUT) -> None:  # noqa: ASYNC109 - see stop
        """Wait for the calls in flight and close every connection. A second call does nothing.

        Args:
            timeout: Seconds to wait for the calls, and as many for closing the connections.
        """
        executor, self._engine, self._executor = self._executor, None, None
        if executor is not None:
            self._closing = asyncio.ensure_future(executor.stop(timeout))
        if self._closing is not None and not self._closing.done():
            await asyncio.shield(self._closing)  # a cancelled caller does not leave it half closed
        generator, self._until_loop_ends = self._until_loop_ends, None
        if generator is not None and executor is not None and not executor.is_elsewhere():
            await generator.aclose()

    async def _close_with_loop(self, executor: Executor | None) -> AsyncGenerator[None]:
        """Close the connections when the event loop ends, which closes its generators.

        Drivers write to the log about connections that are left open then.

        Args:
            executor: The one in use now. The database may be closed and opened again before.
        """
        try:
            yield
        finally:
            if self._executor is executor is not None:
                self._until_loop_ends = None
                await self.close(timeout=0)

    def _create_pool(self, engine: Engine) -> Pool:
        may_hang = (
            engine.dialect.is_async
            and not self.adapter.has_single_connection
            and not self.adapter.enforces_connect_timeout(self.url.get_driver_name())
        )
        pool = Pool(
            engine,
            self.adapter,
            self._errors,
            self._options.connect_timeout,
            autocommits=self._autocommits(),
            pre_pings=bool(self._options.engine_options.get("pool_pre_ping")),
        )
        if self._servers or may_hang:  # after the listener of the pool, which may refuse to connect
            limit = self._options.connect_timeout / self.adapter.server_count(self.url)
            event.listen(engine, "do_connect", Failover(self.adapter, self._servers, limit))
        return pool

    def _autocommits(self) -> bool:
        return factory.uses_autocommit(self.url, self.adapter, self._options)

    def _create_transport(self, pool: Pool) -> Transport:
        engine, is_single = pool.engine, self.adapter.has_single_connection
        size = 1 if is_single else self._options.pool_size
        calls = None
        if self._autocommits():
            calls = self.adapter.driver_calls(self.url.get_driver_name())
        if engine.dialect.is_async:
            fast_path = None
            if isinstance(calls, AsyncDriverCalls):
                fast_path = FastPath(engine, self.adapter, calls)
            return AsyncioTransport(pool, size, fast_path, has_single_connection=is_single)
        single = None
        if isinstance(calls, TransactionCalls):
            single = SingleConnection(pool, FastPath(engine, self.adapter, calls))
        return ThreadTransport(pool, size, single)

    def _require_version(self, dialect: Dialect) -> None:
        """Raise if the server is older than the minimum version."""
        product = self.adapter.product_name(dialect)
        found = dialect.server_version_info or ()
        for name, oldest, feature in self.adapter.minimum_versions:
            if product == name and found and tuple(found) < oldest:
                raise UnsupportedDatabaseError(
                    f"{redact(self.url)} is {name} {_dotted(found)}, which lacks {feature}: "
                    f"this package needs {name} {_dotted(oldest)} or newer"
                )

    def _not_open(self) -> NotInitializedError:
        return NotInitializedError(
            "the storage is not initialized: call initialize() first"
            if self._closing is None
            else "the storage is closed: call initialize() to use it again"
        )


def _dotted(version: Iterable[object]) -> str:
    return ".".join(map(str, version))


def _ping(connection: Connection) -> None:
    """Do nothing: the call only opens a connection."""
