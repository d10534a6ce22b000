"""The generic road: what works on any SQLAlchemy dialect, and what the others refine."""

import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, MetaData, String, Table, bindparam
from sqlalchemy.engine import URL, Connection, Dialect
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.types import TypeEngine

from slack_agents_sqlalchemy.dialects.columns import LikePattern, Timestamp, largest_text_type
from slack_agents_sqlalchemy.dialects.driver_calls import DriverCalls
from slack_agents_sqlalchemy.dialects.error_kinds import (
    ErrorKind,
    driver_error,
    is_transient,
    kind_of_sqlstate,
    sqlstate,
)
from slack_agents_sqlalchemy.dialects.insert_select import InsertSelect, select_then_insert
from slack_agents_sqlalchemy.dialects.transactions import transact
from slack_agents_sqlalchemy.dialects.upserts import Upsert, update_else_insert
from slack_agents_sqlalchemy.errors import ConfigurationError, MigrationLockedError


class TemporaryDatabase(NamedTuple):
    """Where to try things out beside a database that is somebody's.

    Attributes:
        url: The database to connect to.
        schema: The schema that takes the tables, made when they are.
        create: What to run before, on the database that was named.
        drop: What to run afterwards, on the same; None where the tables themselves must go.
    """

    url: URL
    schema: str | None = None
    create: str | None = None
    drop: str | None = None


class DialectAdapter:
    """One SQLAlchemy dialect as this package needs to know it; this one knows nothing special."""

    default_driver: str | None = None
    """Driver for a URL that names none; None leaves the choice to SQLAlchemy."""
    extra: str | None = None
    """Extra of this distribution that installs the default driver."""
    timestamp = Timestamp()
    supports_autocommit = False
    """Whether its connections can be put in AUTOCOMMIT; not every dialect has that."""
    empty_text_is_null = True
    """Whether the database may take an empty text for NULL, as Oracle does."""

    is_supported = False
    """Whether somebody has looked at what it does with text; else that is tried with new tables."""
    minimum_versions: Sequence[tuple[str, tuple[int, ...], str]] = ()
    """Versions that this package works with: (database, oldest, what the one before lacks)."""

    def product_name(self, dialect: Dialect) -> str:
        """Return the name of the database, where one dialect serves several."""
        return dialect.name

    # Connections

    def complete_url(self, url: URL) -> URL:
        """Return the URL with its driver.

        Raises:
            ConfigurationError: The URL lacks something.
        """
        if "+" in url.drivername or self.default_driver is None:
            return url
        return url.set(drivername=f"{url.drivername}+{self.default_driver}")

    def driver_url(self, url: URL) -> URL:
        """Return the URL as its driver understands it; it is shown as the user wrote it."""
        return url

    has_single_connection = False
    """Whether one connection serves all calls, so that it must outlive a cancelled one."""

    def is_in_memory(self, url: URL) -> bool:
        """Return whether the database lives in this process and goes with it."""
        return False

    def is_missing(self, url: URL) -> bool:
        """Return whether connecting would make the database, which is not there yet."""
        return False

    def create_private_files(self, url: URL) -> None:
        """Make what connecting would make for everybody to read, so that only its owner can."""

    supports_synchronous = False
    """Whether the option ``synchronous`` means something to it."""

    def engine_arguments(self, url: URL, pool_size: int) -> dict[str, Any]:
        """Return arguments of ``create_engine`` that this dialect needs."""
        return {"pool_size": pool_size, "max_overflow": 0, "pool_use_lifo": True}

    def connect_arguments(
        self, driver: str, connect_timeout: float, command_timeout: float
    ) -> dict[str, Any]:
        """Return arguments of the driver's ``connect``; time-outs are in seconds."""
        return {}

    def keepalive_arguments(self, driver: str, limit: float) -> dict[str, Any]:
        """Return arguments of the driver's ``connect`` that have it give a silent server up.

        Args:
            driver: Its name; for one that takes no such arguments its socket is used.
            limit: Seconds without a sign of life.
        """
        return {}

    def tls_arguments(self, url: URL) -> dict[str, Any]:
        """Return arguments of the driver's ``connect`` that say what the URL says of TLS.

        Only where the driver does not understand it itself.
        """
        return {}

    def schema_arguments(self, driver: str, schema: str) -> dict[str, Any]:
        """Return arguments of the driver's ``connect`` that put the tables in a schema.

        Raises:
            ConfigurationError: There is no way to say it.
        """
        raise ConfigurationError(
            f"storage option 'schema' is for PostgreSQL; with the driver {driver} name the "
            "database in the URL, or use 'connect_args'"
        )

    def unprepared_arguments(self, driver: str) -> dict[str, Any]:
        """Return arguments of the driver's ``connect`` that have it prepare no statements."""
        return {}

    def prepares_separately(self, driver: str) -> bool:
        """Return whether a driver that keeps no statement still prepares in a trip of its own.

        Where connections are shared by transaction, only a transaction keeps the two together.
        """
        return False

    unreachable_hint = "Is the database running, and is the URL right?"
    access_refused_hint = "Check user, password, database name and rights."

    def hint(self, error: BaseException) -> str:
        """Return what to do about a driver's error, where that is known."""
        return ""

    def servers(self, url: URL) -> Sequence[dict[str, Any]]:
        """Return the servers that a URL lists, unless the driver goes through them as it should.

        Returns:
            For each the arguments of the driver's ``connect`` that name it.
        """
        return ()

    def server_count(self, url: URL) -> int:
        """Return how many servers a new connection may have to be tried with."""
        return max(len(self.servers(url)), 1)

    def enforces_connect_timeout(self, driver: str) -> bool:
        """Return whether the driver's limit lasts until a server lets it in, and is each one's."""
        return False

    def require_ready_server(self, dbapi_connection: Any) -> None:
        """Look whether one of several servers may be used, and set the new connection up for it.

        Raises:
            DatabaseUnavailableError: Another one is to be used.
        """

    def configure_connection(self, dbapi_connection: Any, info: dict[str, Any]) -> None:
        """Set up a new driver connection.

        Args:
            dbapi_connection: As SQLAlchemy adapts it.
            info: Its :attr:`sqlalchemy.engine.Connection.info`, with the ``url``, the option
                ``command_timeout``, the option ``schema`` or None, and the option ``synchronous``
                where it was given.

        Raises:
            StorageError: The provider cannot work on it; it is closed then.
        """

    def configure_dialect(self, dialect: Dialect) -> None:
        """Set up the SQLAlchemy dialect of a new engine."""

    has_short_lock_timeout = False
    """Whether a lock is given up so early that its call is made again until its own limit."""

    def cancel_statement(
        self, driver_connection: Any, connect: Callable[[], AbstractContextManager[Connection]]
    ) -> None:
        """Have the database end what a connection runs, where the driver does not do it itself.

        Args:
            driver_connection: The driver's own; an asyncio driver's is closed already.
            connect: Lends another connection.
        """

    def driver_calls(self, driver: str) -> DriverCalls | None:
        """Return how statements run on the driver's own connection; None without a fast path."""
        return None

    def temporary_database(self, url: URL, name: str, directory: Path) -> TemporaryDatabase:
        """Return a place of that name that nobody uses, or the database itself where none is known.

        Args:
            url: A database on which things are to be tried out.
            name: ASCII letters, digits and underscores.
            directory: An empty one, for databases that are files.
        """
        return TemporaryDatabase(url)

    # Columns

    def ascii_type(self, length: int) -> TypeEngine[Any]:
        """Return the type of a short ASCII key."""
        return String(length)

    def large_text_type(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the largest text type, of those that hold any sign."""
        return largest_text_type(dialect)

    # Tables

    def set_table_options(self, metadata: MetaData) -> None:
        """Give tables and indexes what only this dialect has, before they are created.

        Not said in the tables, where SQLAlchemy would import every dialect that is named.
        """

    # Statements

    def contains(self, column: ColumnElement[str], parameter: str) -> ColumnElement[bool]:
        """Build a condition that is true wherever a text contains the parameter's value."""
        return column.like(bindparam(parameter, type_=LikePattern))

    def upsert(self, table: Table, replaced: Sequence[str]) -> Upsert:
        """Build the operation that inserts a row or, where its key is there, replaces columns.

        Args:
            table: Where the row goes; its primary key tells whether it is there.
            replaced: Names of the columns that an existing row gets anew.

        Returns:
            A function of a connection and the row: update, else insert, else (another was first)
            update again.
        """
        return update_else_insert(table, replaced, self.is_duplicate_key)

    supports_insert_select = False
    """Whether ``INSERT … SELECT`` takes parameters as columns, and tells whether it made a row."""

    def insert_select(
        self, connection: Connection, insertion: InsertSelect, row: Mapping[str, Any]
    ) -> int:
        """Insert a row under its parent in two steps; return 0 where there is no parent."""
        return select_then_insert(connection, insertion, row)

    # Transactions

    def run_in_transaction[T](
        self, connection: Connection, operation: Callable[[Connection], T]
    ) -> T:
        """Run an operation as one transaction.

        An operation that lost against the transaction of another is run again as a whole.

        Args:
            connection: A new one, which has run nothing yet.
            operation: What to do; it may be run several times.
        """
        return transact(
            connection,
            operation,
            self.is_transient,
            lambda error: self.error_code(driver_error(error)),
            self.is_duplicate_key,
        )

    def is_transient(self, error: DBAPIError) -> bool:
        """Return whether a transaction that got this error may succeed when it is run again."""
        return is_transient(error, self.error_code(driver_error(error)))

    duplicate_key_codes: Collection[str | int] = ("23505", "23000")
    """Codes of the errors that say that a row with this key exists."""

    def is_duplicate_key(self, error: BaseException) -> bool:
        """Return whether an error of SQLAlchemy or of the driver says that the key exists."""
        if isinstance(error, IntegrityError):
            return True
        return self.error_code(driver_error(error)) in self.duplicate_key_codes

    # Migrations

    def revision_query(self, version_table: str) -> str:
        """Return the SQL that reads the revision, and finds no row where there is no schema."""
        return f"SELECT version_num FROM {version_table}"  # noqa: S608 - a constant

    has_transactional_ddl = False
    """Whether a migration that is interrupted leaves nothing behind."""

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

    @property
    def migration_retry_delays(self) -> Iterator[float]:
        """Seconds to wait before a migration that failed is run again, once for each time."""
        return (random.uniform(0.01, 0.1) for _ in range(20))  # noqa: S311 - no secret

    def is_concurrent_migration_error(self, error: BaseException) -> bool:
        """Return whether a migration met what another process made, past the lock."""
        return False

    def apply_database_settings(self, connection: Connection) -> None:
        """Give a database, made otherwise than by a migration, the settings of a migrated one.

        Asks nothing where it has them, waits for nobody, and fails for nothing.

        Args:
            connection: An autocommitting connection to a database that holds the tables.
        """

    # Errors

    statement_size_setting: str | None = None
    """Name of the server's setting that limits a statement's size, if there is one."""

    def read_statement_size_limit(self, connection: Connection) -> int:
        """Return the value of that setting, in bytes."""
        raise LookupError(self.statement_size_setting)

    def is_statement_too_large(self, error: BaseException) -> bool:
        """Return whether a driver's error says that a statement is larger than that setting."""
        return False

    def statement_size(self, sql: str, parameters: Sequence[Any]) -> int:
        """Return about how many bytes a statement with these parameters has."""
        return len(sql) + sum(len(str(value).encode(errors="replace")) for value in parameters)

    def error_code(self, error: BaseException) -> str | int | None:
        """Return the SQLSTATE or the database's own number of a driver's error."""
        return sqlstate(error)

    def error_shows_values(self, error: BaseException) -> bool:
        """Return whether the text of a driver's error may show what was to be stored."""
        return str(self.error_code(error)).startswith(("22", "23"))  # data, integrity

    def error_kind(self, error: BaseException) -> ErrorKind:
        """Tell what a driver's error means, by its code and never by its text."""
        return kind_of_sqlstate(self.error_code(error))


def migration_lock_error(timeout: float) -> MigrationLockedError:
    """Return the error of a migration lock that another process has held for too long."""
    return MigrationLockedError(
        f"another process has held the migration lock for {timeout:g} s: wait until it has "
        "finished, or look for a process that hangs, and start again"
    )
