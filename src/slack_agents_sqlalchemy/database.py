"""One database: URL to engine, one hop per call, time limits, and drivers' errors translated."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Executable, create_engine, event
from sqlalchemy.engine import URL, Connection, Engine, ExceptionContext, Row
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError, IntegrityError

from slack_agents_sqlalchemy.dialects import Backend, Fault, backend
from slack_agents_sqlalchemy.errors import (
    ConfigurationError,
    DatabaseTimeoutError,
    DatabaseUnavailableError,
    InvalidValueError,
    NotInitializedError,
    StorageError,
)
from slack_agents_sqlalchemy.identifiers import next_id
from slack_agents_sqlalchemy.options import Options, describe
from slack_agents_sqlalchemy.runner import (
    GreenletRunner,
    Runner,
    ShieldedGreenletRunner,
    ThreadRunner,
)
from slack_agents_sqlalchemy.translation import presentable, translate

type Parameters = Mapping[str, Any]

_IDLE_SECONDS = 30.0  # a connection unused for longer is checked before it is used
_LARGE_STATEMENT = 100_000  # bytes; no server's limit is lower
_INSERT_ATTEMPTS = 5  # each with a new id; one collision needs two processes in one microsecond


class Database:
    """Runs statements on one database; every call is one hop, and one statement one round trip.

    The engine autocommits: a call of one statement needs no transaction.
    """

    def __init__(self, url: URL, options: Options) -> None:
        self.url = url
        self.backend: Backend = backend(url.get_backend_name())
        self._options = options
        self._engine: Engine | None = None
        self._runner: Runner | None = None
        self._closed = False

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
            DatabaseUnavailableError: The database cannot be reached within ``connect_timeout``.
            AccessRefusedError: It refuses the user, the password or the database name.
        """
        if self._engine is not None:
            return
        if self._options.migrate != "auto" and self.backend.is_missing(self.url):
            raise DatabaseUnavailableError(
                f"{describe(self.url)} does not exist: run slack-agents-db upgrade to create it"
            )
        self._engine = self._create_engine()
        self._runner = self._create_runner(self._engine)
        try:
            await self.run(_do_nothing, timeout=self._options.connect_timeout)
        except BaseException as exc:
            await self.close(patience=0)
            if isinstance(exc, DatabaseTimeoutError):
                raise DatabaseUnavailableError(
                    f"no connection to {describe(self.url)} "
                    f"within {self._options.connect_timeout:g} s: is the database running?"
                ) from exc
            raise

    async def close(self, *, patience: float = 10.0) -> None:
        """Wait for the calls in flight and close every connection. A second call does nothing.

        Args:
            patience: Seconds to wait, for the calls and for the connections.
        """
        engine, runner = self._engine, self._runner
        self._engine = self._runner = None
        self._closed = True
        if engine is not None and runner is not None:
            await runner.stop(engine.dispose, patience)

    async def fetch(self, statement: Executable, parameters: Parameters) -> Sequence[Row[Any]]:
        """Run a reading statement and return all its rows."""

        def read(connection: Connection) -> Sequence[Row[Any]]:
            return connection.execute(statement, parameters).all()

        return await self.run(read)

    async def execute(self, statement: Executable, parameters: Parameters) -> int:
        """Run a writing statement and return how many rows it matched or made."""

        def write(connection: Connection) -> int:
            return connection.execute(statement, parameters).rowcount

        return await self.run(write)

    async def insert(self, statement: Executable, parameters: Parameters) -> int | None:
        """Insert a row under a new id.

        Args:
            statement: An INSERT whose parameter ``id`` is the row's id.
            parameters: All its other parameters.

        Returns:
            The id, or None where the statement found no parent to insert the row under.
        """

        def write(connection: Connection) -> int | None:
            for attempt in range(1, _INSERT_ATTEMPTS + 1):
                row_id = next_id()
                try:
                    result = connection.execute(statement, {**parameters, "id": row_id})
                except IntegrityError:  # another process made the same id
                    if attempt == _INSERT_ATTEMPTS:
                        raise
                else:
                    return row_id if result.rowcount else None
            return None

        return await self.run(write)

    async def run[T](
        self,
        operation: Callable[[Connection], T],
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - it also names the error
    ) -> T:
        """Run a function of a connection in one hop.

        Args:
            operation: What to do; plain synchronous code.
            timeout: Seconds it may take; by default the option ``command_timeout``.

        Raises:
            NotInitializedError: The database is not open.
            DatabaseTimeoutError: It took too long.
            DatabaseError: The database refused; see the subclasses.
        """
        engine, runner = self._engine, self._runner
        if engine is None or runner is None:
            raise self._not_open()

        connected = False

        def hop() -> T:
            nonlocal connected
            with engine.connect() as connection:
                connected = True
                return operation(connection)

        limit = self._options.command_timeout if timeout is None else timeout
        try:
            async with asyncio.timeout(limit) as timer:
                return await runner.run(hop)
        except StorageError:
            raise
        except Exception as exc:
            where = describe(self.url)
            if isinstance(exc, TimeoutError) and timer.expired():
                raise DatabaseTimeoutError(f"{where} did not answer within {limit:g} s") from exc
            await self._refuse_what_is_too_large(exc)
            meaning = translate(exc, self.backend, where, connected=connected)
            if meaning is None:
                raise
            raise meaning from presentable(exc)

    def _create_engine(self) -> Engine:
        options = self._options
        driver = self.url.get_driver_name()
        connect_arguments = self.backend.connect_arguments(
            driver, options.connect_timeout, options.command_timeout
        )
        arguments: dict[str, Any] = {
            "isolation_level": "AUTOCOMMIT",
            "skip_autocommit_rollback": True,
            "pool_reset_on_return": None,
            "hide_parameters": True,
            "echo": options.echo,
            **self.backend.engine_arguments(self.url, options.pool_size),
            **options.engine_options,
            "connect_args": {**connect_arguments, **options.connect_args},
        }
        try:
            engine = create_engine(self.url, **arguments)
        except (TypeError, ArgumentError) as exc:
            raise ConfigurationError(f"storage option 'engine_options' is unusable: {exc}") from exc
        event.listen(engine, "connect", self._on_connect)
        event.listen(engine, "checkin", _note_use)
        event.listen(engine, "checkout", self._check_idle)
        event.listen(engine, "handle_error", self._mark_lost)
        return engine

    def _create_runner(self, engine: Engine) -> Runner:
        one_connection = self.backend.keeps_one_connection
        if engine.dialect.is_async:
            return ShieldedGreenletRunner() if one_connection else GreenletRunner()
        return ThreadRunner(1 if one_connection else self._options.pool_size)

    def _on_connect(self, dbapi_connection: Any, _record: Any) -> None:
        self.backend.prepare_connection(dbapi_connection)

    def _mark_lost(self, context: ExceptionContext) -> None:
        """Have the pool drop a connection whose driver can no longer use it."""
        if self.backend.classify(context.original_exception) is Fault.UNAVAILABLE:
            context.is_disconnect = True

    def _check_idle(self, dbapi_connection: Any, record: Any, _proxy: Any) -> None:
        used_at = record.info.get("used_at")
        if used_at is None or time.monotonic() - used_at < _IDLE_SECONDS:
            return
        try:
            alive = self.engine.dialect.do_ping(dbapi_connection)
        except Exception as exc:
            raise DisconnectionError from exc
        if not alive:
            raise DisconnectionError

    def _not_open(self) -> NotInitializedError:
        return NotInitializedError(
            "the storage is closed: call initialize() to use it again"
            if self._closed
            else "the storage is not initialized: call initialize() first"
        )

    async def _refuse_what_is_too_large(self, error: Exception) -> None:
        """Raise where the server dropped the connection for the size of a statement."""
        setting = self.backend.size_setting
        if setting is None or not isinstance(error, DBAPIError) or not error.connection_invalidated:
            return
        parameters: Any = error.params or ()
        values = parameters.values() if isinstance(parameters, Mapping) else parameters
        size = self.backend.statement_size(list(values))
        if size < _LARGE_STATEMENT:
            return
        limit = await self.run(self.backend.ask_size_limit)
        if size > limit:
            raise InvalidValueError(
                f"a value of {size:,} bytes is larger than the server accepts: raise its setting "
                f"{setting}, which is {limit:,} bytes now"
            ) from error


def _do_nothing(connection: Connection) -> None:
    """Be the operation of a call that only wants a connection."""


def _note_use(_dbapi_connection: Any, record: Any) -> None:
    record.info["used_at"] = time.monotonic()
