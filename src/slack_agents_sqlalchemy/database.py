"""One database: URL to engine, one hop per call, time limits, and drivers' errors translated."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any

from sqlalchemy import Executable, create_engine, event
from sqlalchemy.engine import URL, Connection, Engine, ExceptionContext
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError

from slack_agents_sqlalchemy.dialects import Backend, Fault, Upsert, backend
from slack_agents_sqlalchemy.errors import (
    ConfigurationError,
    DatabaseTimeoutError,
    DatabaseUnavailableError,
    DuplicateKeyError,
    InvalidValueError,
    NotInitializedError,
    StorageError,
)
from slack_agents_sqlalchemy.fast_path import FastPath, Row
from slack_agents_sqlalchemy.identifiers import next_id
from slack_agents_sqlalchemy.options import Options, describe
from slack_agents_sqlalchemy.runner import (
    GreenletRunner,
    Runner,
    ShieldedGreenletRunner,
    ThreadRunner,
)
from slack_agents_sqlalchemy.translation import Attempt, presentable, translate

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
        self._fast_path: FastPath | None = None
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
        calls = self.backend.driver_calls(self.url.get_driver_name())
        self._fast_path = None if calls is None else FastPath(self._engine, self.backend, calls)
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
        self._engine = self._runner = self._fast_path = None
        self._closed = True
        if engine is not None and runner is not None:
            await runner.stop(engine.dispose, patience)

    async def fetch(self, statement: Executable, parameters: Parameters) -> Sequence[Row]:
        """Run a reading statement and return all its rows."""
        fast = self._fast_path
        if fast is None or fast.is_watched():
            return await self.run(
                lambda connection: connection.execute(statement, parameters).all()
            )
        return await self._hop(lambda attempt: fast.fetch(attempt, statement, parameters))

    async def execute(self, statement: Executable, parameters: Parameters) -> int:
        """Run a writing statement and return how many rows it matched or made."""
        fast = self._fast_path
        if fast is None or fast.is_watched():
            return await self.run(
                lambda connection: connection.execute(statement, parameters).rowcount
            )
        return await self._hop(lambda attempt: fast.execute(attempt, statement, parameters))

    async def upsert(self, upsert: Upsert, row: dict[str, Any]) -> None:
        """Insert a row, or replace what is there under its key."""
        if isinstance(upsert, Executable):
            await self.execute(upsert, row)
        else:
            await self.run(lambda connection: upsert(connection, row))

    async def insert(self, statement: Executable, parameters: Parameters) -> int | None:
        """Insert a row under a new id.

        Args:
            statement: An INSERT whose parameter ``id`` is the row's id.
            parameters: All its other parameters.

        Returns:
            The id, or None where the statement found no parent to insert the row under.
        """
        for attempt in count(1):
            row_id = next_id()
            try:
                made = await self.execute(statement, {**parameters, "id": row_id})
            except DuplicateKeyError:  # another process made the same id
                if attempt == _INSERT_ATTEMPTS:
                    raise
            else:
                return row_id if made else None
        return None

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
        engine = self.engine

        def connect_and_run(attempt: Attempt) -> T:
            with engine.connect() as connection:
                attempt.connected = True
                return operation(connection)

        return await self._hop(connect_and_run, timeout)

    async def _hop[T](self, function: Callable[[Attempt], T], timeout: float | None = None) -> T:  # noqa: ASYNC109 - see run
        runner = self._runner
        if runner is None:
            raise self._not_open()
        attempt = Attempt()
        limit = self._options.command_timeout if timeout is None else timeout
        try:
            async with asyncio.timeout(limit) as timer:
                return await runner.run(lambda: function(attempt))
        except StorageError:
            raise
        except Exception as exc:
            where = describe(self.url)
            if isinstance(exc, TimeoutError) and timer.expired():
                raise DatabaseTimeoutError(f"{where} did not answer within {limit:g} s") from exc
            await self._refuse_what_is_too_large(exc, attempt)
            meaning = translate(exc, self.backend, where, attempt)
            if meaning is None:
                raise
            raise meaning from presentable(exc, self.backend)

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

    async def _refuse_what_is_too_large(self, error: Exception, attempt: Attempt) -> None:
        """Raise where the server dropped the connection for the size of a statement."""
        setting = self.backend.size_setting
        sent: Any = attempt.sent
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            sent = error.params
        elif not attempt.lost:
            return
        if setting is None or not sent:
            return
        size = self.backend.statement_size(
            list(sent.values() if isinstance(sent, Mapping) else sent)
        )
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
