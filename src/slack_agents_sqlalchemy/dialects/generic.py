"""The generic road: what works on any SQLAlchemy dialect, and what the others refine."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Executable,
    MetaData,
    String,
    Table,
    Text,
    bindparam,
    insert,
    text,
    update,
)
from sqlalchemy.engine import URL, Connection, Dialect
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.types import TypeDecorator, TypeEngine

from slack_agents_sqlalchemy.errors import MigrationLockedError

type Upsert = Executable | Callable[[Connection, dict[str, Any]], None]
"""One statement where the dialect has one for it, else a function of a connection and the row."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Fault(Enum):
    """What a driver's error means to a caller."""

    UNAVAILABLE = auto()  # no connection, or it was lost
    ACCESS_REFUSED = auto()  # user, password, database name or a missing right
    TIMED_OUT = auto()  # a lock or the statement took longer than allowed
    OTHER = auto()


class Timestamp:
    """Microseconds since 1970 in an integer column: exact on every database."""

    def column_type(self) -> TypeEngine[Any]:
        """Return the type of the column."""
        return BigInteger()

    def to_database(self, value: datetime) -> Any:
        """Convert an aware UTC time to what the column takes."""
        return (value - _EPOCH) // timedelta(microseconds=1)

    def from_database(self, value: Any) -> datetime:
        """Convert what the column gives to an aware UTC time."""
        return _EPOCH + timedelta(microseconds=int(value))


class LikePattern(TypeDecorator[str]):
    """A text that LIKE shall find anywhere in another."""

    ESCAPE = "/"

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        for special in (self.ESCAPE, "%", "_"):
            value = value and value.replace(special, self.ESCAPE + special)
        return f"%{value}%"


class Backend:
    """One SQLAlchemy dialect as this package needs to know it; this one knows nothing special."""

    default_driver: str | None = None
    """Driver for a URL that names none; None leaves the choice to SQLAlchemy."""
    extra: str | None = None
    """Extra of this distribution that installs the default driver."""
    integer_key_is_row_number = False
    """Whether a primary key of type INTEGER is the table's own row number."""
    timestamp = Timestamp()

    # Connections

    def complete(self, url: URL) -> URL:
        """Return the URL with its driver, and as that driver understands it.

        Raises:
            ConfigurationError: The URL lacks something.
        """
        if "+" in url.drivername or self.default_driver is None:
            return url
        return url.set(drivername=f"{url.drivername}+{self.default_driver}")

    keeps_one_connection = False
    """Whether one connection serves all calls, so that it must outlive a cancelled one."""

    def is_private_memory(self, url: URL) -> bool:
        """Return whether the database lives in this process and goes with it."""
        return False

    def is_missing(self, url: URL) -> bool:
        """Return whether connecting would make the database, which is not there yet."""
        return False

    def engine_arguments(self, url: URL, pool_size: int) -> dict[str, Any]:
        """Return arguments of ``create_engine`` that this dialect needs."""
        return {"pool_size": pool_size, "max_overflow": 0, "pool_use_lifo": True}

    def connect_arguments(
        self, driver: str, connect_timeout: float, command_timeout: float
    ) -> dict[str, Any]:
        """Return arguments of the driver's ``connect``; time-outs are in seconds."""
        return {}

    def prepare_connection(self, dbapi_connection: Any) -> None:
        """Set up a new driver connection."""

    def driver_calls(self, driver: str) -> Any:
        """Return how the driver's own connection is used, or None where that is not known.

        See :class:`slack_agents_sqlalchemy.fast_path.DriverCalls`.
        """
        return None

    # Columns

    def ascii_type(self, length: int) -> TypeEngine[Any]:
        """Return the type of a short ASCII key."""
        return String(length)

    def large_text_type(self) -> TypeEngine[Any]:
        """Return the largest text type."""
        return Text()

    # Tables

    def declare(self, metadata: MetaData) -> None:
        """Give tables and indexes what only this dialect has, before they are created.

        Not said in the models, where SQLAlchemy would import every dialect that is named.
        """

    # Statements

    def contains(self, column: ColumnElement[str], parameter: str) -> ColumnElement[bool]:
        """Build the condition that a text holds another, which is the parameter's value."""
        return column.like(bindparam(parameter, type_=LikePattern), escape=LikePattern.ESCAPE)

    def upsert(self, table: Table, replaced: Sequence[str]) -> Upsert:
        """Build the operation that inserts a row or, where its key is there, replaces columns.

        Args:
            table: Where the row goes; its primary key tells whether it is there.
            replaced: Names of the columns that an existing row gets anew.

        Returns:
            A function of a connection and the row: update, else insert, else (another was first)
            update again.
        """
        # A column's own name is taken by the values of an UPDATE: the key's parameters get another.
        change = (
            update(table)
            .where(*(column == bindparam(f"key_{column.name}") for column in table.primary_key))
            .values({name: bindparam(name) for name in replaced})
        )
        create = insert(table)

        def run(connection: Connection, row: dict[str, Any]) -> None:
            known = {name: row[name] for name in replaced}
            known |= {f"key_{column.name}": row[column.name] for column in table.primary_key}
            if connection.execute(change, known).rowcount:
                return
            try:
                connection.execute(create, row)
            except IntegrityError:
                if not connection.execute(change, known).rowcount:
                    raise

        return run

    # Migrations

    @contextmanager
    def migration_lock(self, connection: Connection, timeout: float) -> Iterator[None]:
        """Keep other processes from migrating meanwhile.

        Args:
            connection: An autocommitting connection; the migration runs on it.
            timeout: Seconds to wait for another process.

        Raises:
            MigrationLockedError: Another process held the lock for longer.
        """
        yield

    # Errors

    size_setting: str | None = None
    """Name of the server's setting that limits a statement's size, if there is one."""

    def ask_size_limit(self, connection: Connection) -> int:
        """Return the value of that setting, in bytes."""
        raise LookupError(self.size_setting)

    def statement_size(self, parameters: Sequence[Any]) -> int:
        """Return about how many bytes a statement with these parameters has."""
        return sum(len(value.encode()) for value in parameters if isinstance(value, str))

    def error_code(self, error: BaseException) -> str | int | None:
        """Return the SQLSTATE or the database's own number of a driver's error."""
        for attribute in ("sqlstate", "pgcode"):
            code = getattr(error, attribute, None)
            if code:
                return str(code)
        return None

    def is_duplicate(self, error: BaseException) -> bool:
        """Return whether a driver's error says that a row with this key is there already."""
        return self.error_code(error) in ("23505", "23000")

    def repeats_row(self, error: BaseException) -> bool:
        """Return whether the text of a driver's error may show what was to be stored."""
        return str(self.error_code(error)).startswith(("22", "23"))  # data, integrity

    def classify(self, error: BaseException) -> Fault:
        """Tell what a driver's error means, by its code and never by its text."""
        code = self.error_code(error)
        match code:
            case str() if code.startswith("08"):
                return Fault.UNAVAILABLE
            case str() if code.startswith("28"):
                return Fault.ACCESS_REFUSED
            case _:
                return Fault.OTHER


def upsert_on_conflict(create: Any, table: Table, replaced: Sequence[str]) -> Executable:
    """Return the upsert of PostgreSQL, and of SQLite which took it over.

    Args:
        create: The dialect's own ``INSERT`` into the table.
        table: Where the row goes.
        replaced: Names of the columns that an existing row gets anew.
    """
    statement: Executable = create.on_conflict_do_update(
        index_elements=table.primary_key.columns,
        set_={name: create.excluded[name] for name in replaced},
    )
    return statement


def declare_partial_indexes(metadata: MetaData, dialect: str) -> None:
    """Leave out of an index the rows that its ``info["where"]`` leaves out."""
    for table in metadata.tables.values():
        for index in table.indexes:
            if "where" in index.info:
                index.dialect_options[dialect]["where"] = text(index.info["where"])


def lock_error(timeout: float) -> MigrationLockedError:
    """Return the error of a migration lock that another process has held for too long."""
    return MigrationLockedError(
        f"another process has held the migration lock for {timeout:g} s: wait until it has "
        "finished, or look for a process that hangs, and start again"
    )


def driver_error(error: BaseException) -> BaseException:
    """Return the driver's own error that SQLAlchemy wrapped, or the error itself."""
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
