"""The fast path: SQL that SQLAlchemy compiled once, run on the pooled driver connection.

`Connection.execute` costs as much as the round trip of a point read. What it does for every call
(looking the statement up, an execution context, a cursor, a result) is done here once for each
statement. Pooling, types and SQL stay SQLAlchemy's.
"""

import logging
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast

from sqlalchemy import Executable, Float
from sqlalchemy.engine import Dialect, Engine
from sqlalchemy.types import TypeEngine

from slack_agents_sqlalchemy import exact
from slack_agents_sqlalchemy.column_types import ExactJSON, ExactText
from slack_agents_sqlalchemy.dialects import Backend, Fault
from slack_agents_sqlalchemy.translation import Attempt

type Row = Any
"""A row with its columns as attributes and an ``_asdict()``: SQLAlchemy's or a named tuple."""

# What these types do with a value, without the calls in between: histories have thousands.
_READ: dict[type, Callable[[str], Any]] = {
    ExactText: exact.decode_text,
    ExactJSON: exact.load_json,
}

_SQL_LOG = logging.getLogger("sqlalchemy.engine.Engine")


class DriverCalls(Protocol):
    """How a driver's own connection is used; called where its asyncio calls may be awaited."""

    def fetch(self, connection: Any, sql: str, arguments: list[Any]) -> Sequence[Sequence[Any]]:
        """Run a reading statement and return all its rows."""
        ...

    def execute(self, connection: Any, sql: str, arguments: list[Any]) -> int:
        """Run a writing statement and return how many rows it matched or made."""
        ...

    def is_lost(self, connection: Any) -> bool:
        """Return whether the connection was closed under its user."""
        ...


class Prepared:
    """A statement as a driver takes it: SQL, and how values go in and come out."""

    def __init__(self, statement: Executable, dialect: Dialect, names: Sequence[str]) -> None:
        """Compile the statement.

        Args:
            statement: What to run.
            dialect: Of a connected engine, so that it knows the server's version.
            names: The parameters that every call gives.
        """
        compiled = cast("Any", statement).compile(dialect=dialect, column_keys=list(names))
        self.sql: str = str(compiled)
        self._defaults: dict[str, Any] = compiled.params
        self._binders = [
            (name, compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect))
            for name in compiled.positiontup
        ]
        columns = list(getattr(statement, "selected_columns", ()))
        row = namedtuple("Row", [column.name for column in columns])  # type: ignore[misc]  # noqa: PYI024 - its fields are data
        self._make: Callable[[Sequence[Any]], Row] = row._make
        self._readers = [
            (position, reader)
            for position, column in enumerate(columns)
            if (reader := _reader(column.type, dialect))
        ]

    def arguments(self, parameters: Mapping[str, Any]) -> list[Any]:
        """Return the values in the driver's order, as the columns' types write them."""
        values = {**self._defaults, **parameters}
        return [
            values[name] if write is None else write(values[name]) for name, write in self._binders
        ]

    def rows(self, raw: Sequence[Sequence[Any]]) -> list[Row]:
        """Return a driver's rows as the columns' types read them."""
        if not self._readers:
            return [self._make(row) for row in raw]
        return [self._make(self._read(row)) for row in raw]

    def _read(self, row: Sequence[Any]) -> list[Any]:
        values = list(row)
        for position, read in self._readers:
            if values[position] is not None:
                values[position] = read(values[position])
        return values


def _reader(column_type: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    if isinstance(column_type, Float):
        return None  # a float is one already; SQLAlchemy would ask which kind the server sent
    if type(column_type) in _READ:
        return _READ[type(column_type)]
    return column_type.dialect_impl(dialect).result_processor(dialect, None)


class FastPath:
    """Runs statements on the driver connections of one engine's pool."""

    def __init__(self, engine: Engine, backend: Backend, calls: DriverCalls) -> None:
        self._engine = engine
        self._backend = backend
        self._calls = calls
        self._prepared: dict[Executable, Prepared] = {}

    def is_watched(self) -> bool:
        """Return whether somebody must see every statement pass through SQLAlchemy."""
        watching = self._engine.dispatch
        return bool(
            watching.before_cursor_execute
            or watching.after_cursor_execute
            or watching.before_execute
            or watching.after_execute
            or _SQL_LOG.isEnabledFor(logging.INFO)
        )

    def fetch(
        self, attempt: Attempt, statement: Executable, parameters: Mapping[str, Any]
    ) -> list[Row]:
        """Run a reading statement and return all its rows."""
        prepared, raw = self._run(self._calls.fetch, attempt, statement, parameters)
        return prepared.rows(raw)

    def execute(
        self, attempt: Attempt, statement: Executable, parameters: Mapping[str, Any]
    ) -> int:
        """Run a writing statement and return how many rows it matched or made."""
        return self._run(self._calls.execute, attempt, statement, parameters)[1]

    def _run[T](
        self,
        call: Callable[[Any, str, list[Any]], T],
        attempt: Attempt,
        statement: Executable,
        parameters: Mapping[str, Any],
    ) -> tuple[Prepared, T]:
        pooled = self._engine.raw_connection()
        attempt.connected = True
        connection = pooled.driver_connection
        try:
            prepared = self._prepare(statement, parameters)
            attempt.sent = prepared.arguments(parameters)
            return prepared, call(connection, prepared.sql, attempt.sent)
        except Exception as exc:
            attempt.lost = (
                self._calls.is_lost(connection) or self._backend.classify(exc) is Fault.UNAVAILABLE
            )
            if attempt.lost:
                pooled.invalidate(exc)
            raise
        except BaseException as exc:  # cancelled half-way: the answer may still come
            pooled.invalidate(exc)
            raise
        finally:
            pooled.close()

    def _prepare(self, statement: Executable, parameters: Mapping[str, Any]) -> Prepared:
        # The statements of this package are built once, so that this never grows beyond them.
        prepared = self._prepared.get(statement)
        if prepared is None:
            prepared = Prepared(statement, self._engine.dialect, list(parameters))
            self._prepared[statement] = prepared
        return prepared
