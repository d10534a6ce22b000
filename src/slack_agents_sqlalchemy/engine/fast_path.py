"""The fast path: SQL that SQLAlchemy compiled once, run on the pooled driver connection.

`Connection.execute` costs as much as the round trip of a point read. What it does for every call
(looking the statement up, an execution context, a cursor, a result) is done here once for each
statement. Pooling, types and SQL stay SQLAlchemy's.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol, cast

from sqlalchemy import Executable, Float
from sqlalchemy.engine import Dialect, Engine
from sqlalchemy.types import TypeEngine

from slack_agents_sqlalchemy.dialects import DialectAdapter, ErrorKind
from slack_agents_sqlalchemy.engine.attempts import Attempt
from slack_agents_sqlalchemy.engine.pool import Connections
from slack_agents_sqlalchemy.types import exact
from slack_agents_sqlalchemy.types.columns import ExactJSON, ExactText, UTCDateTime

type Row = Sequence[Any]
"""The values of a row, in the order of the statement's columns."""

type _Column = Sequence[Any]

_FEW = 2  # rows that are not worth turning into columns


class _Reader(NamedTuple):
    """What a column's type does with a value, none of which is None, and with a whole column."""

    value: Callable[[Any], Any]
    column: Callable[[_Column], _Column]


_READERS: dict[type, _Reader] = {
    ExactText: _Reader(exact.decode_text, exact.decode_texts),
    ExactJSON: _Reader(exact.load_json, exact.load_jsons),
}


class DriverCalls(Protocol):
    """How a driver's own connection is used.

    The calls of a synchronous driver never suspend, so that a worker thread can run them too.
    """

    async def fetch(
        self, connection: Any, sql: str, arguments: list[Any]
    ) -> Sequence[Sequence[Any]]:
        """Run a reading statement and return all its rows."""
        ...

    async def execute(self, connection: Any, sql: str, arguments: list[Any]) -> int:
        """Run a writing statement and return how many rows it matched or made."""
        ...

    def is_lost(self, connection: Any) -> bool:
        """Return whether the connection was closed under its user."""
        ...

    read_time: Callable[[Any], datetime] | None
    """Makes an aware UTC time of what the driver gives; None where that is one."""


class Prepared:
    """A statement as a driver takes it: SQL, and how values go in and come out."""

    def __init__(
        self, statement: Executable, dialect: Dialect, calls: DriverCalls, names: Sequence[str]
    ) -> None:
        """Compile the statement.

        Args:
            statement: What to run.
            dialect: Of a connected engine, so that it knows the server's version.
            calls: The driver's.
            names: The parameters that every call gives.
        """
        compiled = cast("Any", statement).compile(dialect=dialect, column_keys=list(names))
        self.sql: str = str(compiled)
        self._defaults: dict[str, Any] = compiled.params
        self._binders = [
            (name, _writer(compiled.binds[name].type, dialect)) for name in compiled.positiontup
        ]
        self._readers = [
            (position, reader)
            for position, column in enumerate(getattr(statement, "selected_columns", ()))
            if (reader := _reader(column.type, dialect, calls))
        ]

    def arguments(self, parameters: Mapping[str, Any]) -> list[Any]:
        """Return the values in the driver's order, as the columns' types write them."""
        values = {**self._defaults, **parameters}
        return [
            value if (value := values[name]) is None or write is None else write(value)
            for name, write in self._binders
        ]

    def rows(self, raw: Sequence[Sequence[Any]]) -> Sequence[Row]:
        """Return a driver's rows as the columns' types read them."""
        if not self._readers:
            return raw
        if len(raw) <= _FEW:
            return [self._read(row) for row in raw]
        columns: list[_Column] = list(zip(*raw, strict=True))
        for position, reader in self._readers:
            columns[position] = reader.column(columns[position])
        return list(zip(*columns, strict=True))

    def _read(self, row: Sequence[Any]) -> Row:
        values = list(row)
        for position, reader in self._readers:
            if (value := values[position]) is not None:
                values[position] = reader.value(value)
        return values


def _writer(column_type: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    if type(column_type) is ExactText:
        return exact.encode_text  # what the type does, without the calls between
    return column_type.dialect_impl(dialect).bind_processor(dialect)


def _reader(column_type: TypeEngine[Any], dialect: Dialect, calls: DriverCalls) -> _Reader | None:
    if isinstance(column_type, Float):
        return None  # a float is one already; SQLAlchemy would ask which kind the server sent
    if type(column_type) in _READERS:
        return _READERS[type(column_type)]
    read: Callable[[Any], Any] | None
    if isinstance(column_type, UTCDateTime):
        read = calls.read_time
    else:
        read = column_type.dialect_impl(dialect).result_processor(dialect, None)
    if read is None:
        return None
    return _Reader(read, lambda column: [None if it is None else read(it) for it in column])


class FastPath:
    """Runs statements on the driver connections of one engine's pool."""

    def __init__(
        self,
        engine: Engine,
        adapter: DialectAdapter,
        calls: DriverCalls,
        connections: Connections[Any],
    ) -> None:
        self._engine = engine
        self._adapter = adapter
        self._calls = calls
        self._connections = connections
        self._prepared: dict[Executable, Prepared] = {}

    def is_watched(self) -> bool:
        """Return whether somebody must see every statement pass through SQLAlchemy."""
        of_engine, of_dialect = self._engine.dispatch, self._engine.dialect.dispatch
        return bool(
            of_engine.before_cursor_execute
            or of_engine.after_cursor_execute
            or of_engine.before_execute
            or of_engine.after_execute
            or of_engine.engine_connect
            or of_dialect.do_execute
            or of_dialect.do_execute_no_params
            or of_dialect.do_setinputsizes
            or self._engine.logger.isEnabledFor(logging.INFO)
        )

    async def fetch(
        self, attempt: Attempt, statement: Executable, parameters: Mapping[str, Any]
    ) -> Sequence[Row]:
        """Run a reading statement and return all its rows."""
        prepared, raw = await self._run(self._calls.fetch, attempt, statement, parameters)
        return prepared.rows(raw)

    async def execute(
        self, attempt: Attempt, statement: Executable, parameters: Mapping[str, Any]
    ) -> int:
        """Run a writing statement and return how many rows it matched or made."""
        return (await self._run(self._calls.execute, attempt, statement, parameters))[1]

    async def _run[T](
        self,
        call: Callable[[Any, str, list[Any]], Awaitable[T]],
        attempt: Attempt,
        statement: Executable,
        parameters: Mapping[str, Any],
    ) -> tuple[Prepared, T]:
        lent = await self._connections.take()
        attempt.connected = True
        connection = lent.driver_connection
        try:
            prepared = self._prepare(statement, parameters)
            attempt.sql, attempt.sent = prepared.sql, prepared.arguments(parameters)
            attempt.connection = connection
            raw = await call(connection, prepared.sql, attempt.sent)
        except Exception as exc:
            attempt.lost = (
                self._calls.is_lost(connection)
                or self._adapter.error_kind(exc) is ErrorKind.UNAVAILABLE
            )
            if attempt.lost:
                await self._connections.invalidate(lent, exc)
            raise
        except BaseException as exc:  # cancelled half-way: the answer may still come
            await self._connections.invalidate(lent, exc)
            raise
        else:
            return prepared, raw
        finally:
            await self._connections.give_back(lent, attempt)

    def _prepare(self, statement: Executable, parameters: Mapping[str, Any]) -> Prepared:
        # The statements of this package are built once, so that this never grows beyond them.
        prepared = self._prepared.get(statement)
        if prepared is None:
            prepared = Prepared(statement, self._engine.dialect, self._calls, list(parameters))
            self._prepared[statement] = prepared
        return prepared
