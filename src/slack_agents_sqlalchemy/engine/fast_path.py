"""The fast path: statements that SQLAlchemy compiled once, run on the pooled driver connection.

``Connection.execute`` costs as much as the round trip of a point read. What it does for each call
(statement cache, execution context, cursor, result) is done here once for each statement. Pool,
types and SQL stay SQLAlchemy's, and so do the errors. Everything works without this module.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple, cast

from sqlalchemy import Executable, Float
from sqlalchemy.engine import Dialect, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeEngine

from slack_agents_sqlalchemy.dialects import DialectAdapter, ErrorKind
from slack_agents_sqlalchemy.dialects.driver_calls import DriverCalls
from slack_agents_sqlalchemy.types import exact
from slack_agents_sqlalchemy.types.columns import ExactJSON, ExactText, UTCDateTime

type Row = Sequence[Any]
"""The values of a row, in the order of the statement's columns."""

type ReadTime = Callable[[Any], datetime] | None

_FEW = 2  # rows up to which reading by row is faster than by column


class _Reader(NamedTuple):
    """The functions that read a value of a column (never None), and a whole column."""

    value: Callable[[Any], Any]
    column: Callable[[Sequence[Any]], Iterable[Any]]


_READERS: dict[type, _Reader] = {
    ExactText: _Reader(exact.decode_text, exact.decode_texts),
    ExactJSON: _Reader(exact.load_json, exact.load_jsons),
}


class Prepared:
    """A statement as a driver takes it: SQL, and how values are written and read.

    Args:
        statement: The statement.
        dialect: The dialect of a connected engine, which knows the server's version.
        read_time: Converts the driver's value of a time; None where it is an aware UTC time.
        names: The parameters that every call gives.
    """

    def __init__(
        self, statement: Executable, dialect: Dialect, read_time: ReadTime, names: Sequence[str]
    ) -> None:
        compiled = cast("Any", statement).compile(dialect=dialect, column_keys=list(names))
        self.sql: str = str(compiled)
        self._defaults: dict[str, Any] = compiled.params
        self._writers = [
            (name, _writer(compiled.binds[name].type, dialect)) for name in compiled.positiontup
        ]
        self._readers = [
            (position, reader)
            for position, column in enumerate(getattr(statement, "selected_columns", ()))
            if (reader := _reader(column.type, dialect, read_time))
        ]

    def arguments(self, parameters: Mapping[str, Any]) -> list[Any]:
        """Return the values in the driver's order, as the columns' types write them."""
        values = {**self._defaults, **parameters}
        return [
            value if (value := values[name]) is None or write is None else write(value)
            for name, write in self._writers
        ]

    def fetch(self, connection: Any, parameters: Mapping[str, Any]) -> Sequence[Row]:
        """Return all rows, by the connection of a synchronous driver."""
        cursor = connection.cursor()
        cursor.execute(self.sql, self.arguments(parameters))
        return self.rows(cursor.fetchall())

    def execute(self, connection: Any, parameters: Mapping[str, Any]) -> int:
        """Return the number of rows matched or inserted, by a synchronous driver's connection."""
        cursor = connection.cursor()
        cursor.execute(self.sql, self.arguments(parameters))
        matched: int = cursor.rowcount
        return matched

    def rows(self, raw: Sequence[Sequence[Any]]) -> Sequence[Row]:
        """Return a driver's rows as the columns' types read them."""
        if not self._readers:
            return raw
        if len(raw) <= _FEW:
            return [self._read(row) for row in raw]
        columns: list[Any] = list(zip(*raw, strict=True))
        for position, reader in self._readers:
            column = columns[position]
            if column[0] is not None or column.count(None) < len(raw):  # many are empty
                columns[position] = reader.column(column)
        return list(zip(*columns, strict=True))

    def _read(self, row: Sequence[Any]) -> Row:
        values = list(row)
        for position, reader in self._readers:
            if (value := values[position]) is not None:
                values[position] = reader.value(value)
        return values


def _writer(column_type: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    """Return how a column's type writes a value, without the calls of a ``TypeDecorator``."""
    if isinstance(column_type, ExactText):
        return exact.encode_text
    if isinstance(column_type, ExactJSON):
        return attrgetter("text")  # of WrittenJSON
    if isinstance(
        column_type, UTCDateTime
    ):  # the values are in UTC, which the dialect's type keeps
        column_type = column_type.load_dialect_impl(dialect)
    return column_type.dialect_impl(dialect).bind_processor(dialect)


def _reader(column_type: TypeEngine[Any], dialect: Dialect, read_time: ReadTime) -> _Reader | None:
    if isinstance(column_type, Float):
        return None  # a float is one already; SQLAlchemy would ask which kind the server sent
    if type(column_type) in _READERS:
        return _READERS[type(column_type)]
    if isinstance(column_type, UTCDateTime):
        if read_time is None:
            return None
        return _Reader(
            read_time, lambda times: [None if time is None else read_time(time) for time in times]
        )
    read = column_type.dialect_impl(dialect).result_processor(dialect, None)
    return None if read is None else _Reader(read, partial(map, read))  # None is read as None


class FastPath[Calls: DriverCalls]:
    """The prepared statements of one engine.

    Args:
        engine: A connected engine.
        adapter: The adapter of its dialect.
        calls: How the driver's own connection is used.
    """

    def __init__(self, engine: Engine, adapter: DialectAdapter, calls: Calls) -> None:
        self.calls = calls
        self._engine = engine
        self._adapter = adapter
        self._prepared: dict[Executable, Prepared] = {}

    def prepare(self, statement: Executable, parameters: Mapping[str, Any]) -> Prepared | None:
        """Return the prepared statement, or None where a listener must see every statement."""
        of_engine, of_dialect = self._engine.dispatch, self._engine.dialect.dispatch
        if (
            of_engine.before_cursor_execute
            or of_engine.after_cursor_execute
            or of_engine.before_execute
            or of_engine.after_execute
            or of_engine.engine_connect
            or of_dialect.do_execute
            or of_dialect.do_execute_no_params
            or of_dialect.do_setinputsizes
            or self._engine.logger.isEnabledFor(logging.INFO)
        ):
            return None
        # The statements of this package are built once: the cache never grows beyond them.
        prepared = self._prepared.get(statement)
        if prepared is None:
            dialect, names = self._engine.dialect, list(parameters)
            prepared = Prepared(statement, dialect, self.calls.read_time, names)
            self._prepared[statement] = prepared
        return prepared

    def wrap(
        self,
        error: Exception,
        connection: Any,
        prepared: Prepared | None,
        parameters: Mapping[str, Any],
    ) -> Exception:
        """Return a driver's error as SQLAlchemy wraps it; another error as it is.

        Args:
            error: What was raised while the statement ran.
            connection: The driver connection.
            prepared: The statement; None where it could not be prepared.
            parameters: Its parameters.
        """
        is_lost = (
            self.calls.is_closed(connection)
            or self._adapter.error_kind(error) is ErrorKind.UNAVAILABLE
        )
        if prepared is None or not (is_lost or self._adapter.error_code(error) is not None):
            return error
        return DBAPIError(
            prepared.sql,
            prepared.arguments(parameters),
            error,
            hide_parameters=True,
            connection_invalidated=is_lost,
        )
