"""The portable fallback: what works on an unknown dialect, and what a dialect's adapter refines."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, MetaData, String, Table, UnicodeText, text
from sqlalchemy.engine import URL, Connection, Dialect
from sqlalchemy.exc import IntegrityError
from sqlalchemy.types import TypeEngine

from slack_agents_sqlalchemy.dialects.driver_calls import DriverCalls
from slack_agents_sqlalchemy.dialects.error_kinds import (
    ErrorKind,
    driver_error,
    kind_of_sqlstate,
    sqlstate,
)
from slack_agents_sqlalchemy.dialects.insert_select import InsertSelect, select_then_insert
from slack_agents_sqlalchemy.dialects.like import like
from slack_agents_sqlalchemy.dialects.servers import Server
from slack_agents_sqlalchemy.dialects.timestamps import EpochMicroseconds, Timestamp
from slack_agents_sqlalchemy.dialects.transactions import run_in_transaction
from slack_agents_sqlalchemy.dialects.upserts import Upsert, update_else_insert
from slack_agents_sqlalchemy.errors import ConfigurationError, MigrationLockedError


class TemporaryDatabase(NamedTuple):
    """A database for tests, beside one that is in use.

    Attributes:
        url: The URL to connect to.
        schema: The schema of the tables, which is created with them.
        create: A statement to run first, on the database that is in use.
        drop: A statement to run last, on the same; None where the tables themselves are dropped.
    """

    url: URL
    schema: str | None = None
    create: str | None = None
    drop: str | None = None


class DialectAdapter:
    """The properties and operations of a SQLAlchemy dialect that this package needs.

    This class is the portable fallback; a subclass overrides what differs. A member that only one
    database overrides names it, and says why.
    """

    is_supported = False
    """Whether its texts are known to be exact; else new tables get a round-trip check first."""

    minimum_versions: Sequence[tuple[str, tuple[int, ...], str]] = ()
    """For each product: its name, the minimum version, and the feature that older ones lack."""

    def product_name(self, dialect: Dialect) -> str:
        """Return the name of the database; one dialect serves both MySQL and MariaDB."""
        return dialect.name

    # URL

    default_driver: str | None = None
    """Driver for a URL without one; None leaves the choice to SQLAlchemy."""

    extra: str | None = None
    """Extra of this distribution that installs the default driver."""

    def complete_url(self, url: URL) -> URL:
        """Return the URL with its driver.

        Raises:
            ConfigurationError: A part of the URL is missing or of no use.
        """
        if "+" in url.drivername or self.default_driver is None:
            return url
        return url.set(drivername=f"{url.drivername}+{self.default_driver}")

    def driver_url(self, url: URL) -> URL:
        """Return the URL for the driver; messages show the URL as the user wrote it."""
        return url

    def is_in_memory(self, url: URL) -> bool:
        """Return whether the database is in this process's memory (SQLite)."""
        return False

    def is_missing(self, url: URL) -> bool:
        """Return whether a connection would create the database (SQLite: its file)."""
        return False

    def create_private_files(self, url: URL) -> None:
        """Create the files of a missing database, readable by their owner only (SQLite)."""

    def servers(self, url: URL) -> Sequence[Server]:
        """Return the servers of the URL that the engine must try in turn.

        None where the driver tries them itself.
        """
        return ()

    def server_count(self, url: URL) -> int:
        """Return how many servers a new connection may try (PostgreSQL: libpq tries several)."""
        return max(len(self.servers(url)), 1)

    def temporary_database(self, url: URL, name: str, directory: Path) -> TemporaryDatabase:
        """Return a temporary database; the database of the URL itself on an unknown dialect.

        Args:
            url: A database that is in use.
            name: ASCII letters, digits and underscores.
            directory: An empty one, for a database that is a file.
        """
        return TemporaryDatabase(url)

    # Connections

    has_single_connection = False
    """Whether all calls share one connection, which must survive a cancelled call (SQLite)."""

    supports_autocommit = False
    """Whether connections have the isolation level AUTOCOMMIT; not every dialect has."""

    supports_synchronous = False
    """Whether the option ``synchronous`` applies (SQLite)."""

    has_short_lock_timeout = False
    """Whether a call that met a lock timeout is retried until its own time limit.

    SQLite's lock timeout is short, because nothing interrupts the wait.
    """

    def engine_arguments(self, url: URL, pool_size: int) -> dict[str, Any]:
        """Return the arguments of ``create_engine``: the pool and its size."""
        return {"pool_size": pool_size, "max_overflow": 0, "pool_use_lifo": True}

    def connect_arguments(
        self, driver: str, connect_timeout: float, command_timeout: float
    ) -> dict[str, Any]:
        """Return the arguments of the driver's ``connect``; the timeouts are in seconds."""
        return {}

    def keepalive_arguments(self, driver: str, limit: float) -> dict[str, Any]:
        """Return the arguments of ``connect`` that set TCP keepalive (PostgreSQL: libpq's).

        Args:
            driver: The name of the driver. Where it has no such arguments, the engine sets the
                options of its socket.
            limit: Seconds after which a server that does not respond is given up.
        """
        return {}

    def tls_arguments(self, url: URL) -> dict[str, Any]:
        """Return the arguments of ``connect`` for the URL's TLS parameters.

        Only for a driver that does not understand those of SQLAlchemy (aiomysql).
        """
        return {}

    def schema_arguments(self, driver: str, schema: str) -> dict[str, Any]:
        """Return the arguments of ``connect`` that select a schema (PostgreSQL).

        Raises:
            ConfigurationError: The driver has none, or the name is of no use.
        """
        raise ConfigurationError(
            f"storage option 'schema' is for PostgreSQL; with the driver {driver} name the "
            "database in the URL, or use 'connect_args'"
        )

    def unprepared_arguments(self, driver: str) -> dict[str, Any]:
        """Return the arguments of ``connect`` that disable prepared statements (PostgreSQL).

        Other databases' drivers prepare no statements.
        """
        return {}

    def prepares_separately(self, driver: str) -> bool:
        """Return whether the driver prepares each statement in a round trip of its own.

        Then a pooler that shares connections by transaction needs a transaction around both
        (PostgreSQL: asyncpg).
        """
        return False

    def enforces_connect_timeout(self, driver: str) -> bool:
        """Return whether the driver's timeout includes the log-in, for each server of a list.

        PostgreSQL's drivers do. Others stop their timer when the TCP connection is open.
        """
        return False

    def configure_dialect(self, dialect: Dialect) -> None:
        """Configure the SQLAlchemy dialect of a new engine (PostgreSQL: a type of libpq's)."""

    def require_ready_server(self, dbapi_connection: Any) -> None:
        """Check that one of several servers is ready, and configure the new connection for it.

        MySQL and MariaDB: a node of a Galera cluster answers before it is synced.

        Raises:
            DatabaseUnavailableError: Another server must be used.
        """

    def configure_connection(self, dbapi_connection: Any, info: dict[str, Any]) -> None:
        """Configure a new connection.

        Args:
            dbapi_connection: SQLAlchemy's adapted connection.
            info: Its :attr:`sqlalchemy.engine.Connection.info`, with the ``url``, the option
                ``command_timeout``, the option ``schema`` or None, and the option ``synchronous``
                where it was given.

        Raises:
            StorageError: The provider cannot work with the database; the connection is closed.
        """

    def cancel_statement(
        self, driver_connection: Any, connect: Callable[[], AbstractContextManager[Connection]]
    ) -> None:
        """Cancel the running statement of a connection, where the driver does not do it itself.

        Args:
            driver_connection: The driver's own connection. If it is asynchronous, it is closed.
            connect: Returns another connection, as a context manager.
        """

    def driver_calls(self, driver: str) -> DriverCalls | None:
        """Return how statements run on the driver's own connection; None without a fast path."""
        return None

    # Types

    timestamp: Timestamp[Any] = EpochMicroseconds()
    """The column type for times."""

    empty_text_is_null = True
    """Whether the database may store an empty text as NULL, as Oracle does."""

    def ascii_type(self, length: int) -> TypeEngine[str]:
        """Return the type of a short ASCII key (MySQL: with the character set ascii)."""
        return String(length)

    def large_text_type(self, dialect: Dialect) -> TypeEngine[str]:
        """Return the largest text type that holds every character."""
        # A dialect with a LONGTEXT has one because its TEXT is short.
        types: dict[str, type[TypeEngine[str]]] = getattr(dialect, "ischema_names", {})
        return types.get("longtext", UnicodeText)()

    # Tables and statements

    def set_table_options(self, metadata: MetaData) -> None:
        """Set the dialect's own options of tables and indexes, before they are created.

        The models do not name them: SQLAlchemy would import each dialect that they name.
        """

    def contains(self, column: ColumnElement[str], parameter: str) -> ColumnElement[bool]:
        """Return a condition that is true for every text that contains the parameter's value."""
        return like(column, parameter)

    def upsert(self, table: Table, replaced: Sequence[str]) -> Upsert:
        """Return the operation that inserts a row or, where its key exists, replaces columns.

        Args:
            table: The table of the row; its primary key is the row's key.
            replaced: Names of the columns that are replaced in an existing row.
        """
        return update_else_insert(table, replaced, self.is_duplicate_key)

    supports_insert_select = False
    """Whether ``INSERT … SELECT`` takes parameters as columns and returns its row count."""

    def insert_select(
        self, connection: Connection, insertion: InsertSelect, row: Mapping[str, Any]
    ) -> int:
        """Insert a row under its parent row by two statements; return the row count.

        Called where ``INSERT … SELECT`` is not supported.
        """
        return select_then_insert(connection, insertion, row)

    def run_in_transaction[T](
        self, connection: Connection, operation: Callable[[Connection], T]
    ) -> T:
        """Run an operation as one transaction, and return its result.

        It is retried as a whole after a conflict with another transaction.

        Args:
            connection: A new one, which has run nothing yet.
            operation: What to do; it may run several times.
        """
        return run_in_transaction(
            connection,
            operation,
            error_code=self.error_code,
            is_duplicate_key=self.is_duplicate_key,
        )

    # Migrations

    has_transactional_ddl = False
    """Whether an interrupted migration is rolled back."""

    def revision_query(self, version_table: str) -> str:
        """Return the SQL that selects the revision.

        PostgreSQL: the search path may lead to another agent's table.
        """
        return f"SELECT version_num FROM {version_table}"  # noqa: S608 - a constant

    @contextmanager
    def migration_lock(self, connection: Connection, timeout: float) -> Iterator[None]:
        """Hold the lock that lets one process migrate at a time; a no-op on an unknown dialect.

        Args:
            connection: An autocommitting connection, on which the migration runs.
            timeout: Seconds to wait for another process.

        Raises:
            MigrationLockedError: Another process held the lock for longer.
        """
        yield

    def is_concurrent_migration_error(self, error: BaseException) -> bool:
        """Return whether another process has migrated at the same time, despite the lock.

        MySQL and MariaDB: the lock of a Galera cluster's node is no lock of the cluster.
        """
        return False

    def apply_database_settings(self, connection: Connection) -> None:
        """Apply the settings that a migration leaves in the database, where they are missing.

        It never waits and never fails. SQLite: a copy of a file is not in WAL mode.

        Args:
            connection: An autocommitting connection to a database with the tables.
        """

    # Errors

    unreachable_hint = "Is the database running, and is the URL right?"
    access_refused_hint = "Check user, password, database name and rights."

    def hint(self, error: BaseException) -> str:
        """Return what to do about a driver's error (PostgreSQL: a pooler's); empty if unknown."""
        return ""

    def error_code(self, error: BaseException) -> str | int | None:
        """Return the SQLSTATE or the database's own number of a driver's error."""
        return sqlstate(error)

    def error_kind(self, error: BaseException) -> ErrorKind:
        """Return the kind of a driver's error, by its code and never by its text."""
        return kind_of_sqlstate(self.error_code(error))

    duplicate_key_codes: Collection[str | int] = ("23505", "23000")
    """Codes of the errors that say that a row with this key exists."""

    def is_duplicate_key(self, error: BaseException) -> bool:
        """Return whether an error of SQLAlchemy or of the driver says that the key exists."""
        if isinstance(error, IntegrityError):
            return True
        return self.error_code(driver_error(error)) in self.duplicate_key_codes

    def error_shows_values(self, error: BaseException) -> bool:
        """Return whether the text of a driver's error may show values of the statement."""
        return str(self.error_code(error)).startswith(("22", "23"))  # data, integrity

    # MySQL and MariaDB limit the size of a statement, and close the connection of a larger one.

    statement_size_setting: str | None = None
    """Name of the server's setting that limits the size of a statement."""

    def read_statement_size_limit(self, connection: Connection) -> int:
        """Return the value of that setting, in bytes."""
        raise LookupError(self.statement_size_setting)

    def is_statement_too_large(self, error: BaseException) -> bool:
        """Return whether a driver's error says that a statement exceeds that setting."""
        return False

    def statement_size(self, sql: str, parameters: Sequence[Any]) -> int:
        """Return the approximate size of a statement with its parameters, in bytes."""
        return len(sql) + sum(len(str(value).encode(errors="replace")) for value in parameters)


def set_partial_indexes(metadata: MetaData, dialect: str) -> None:
    """Give each index its condition ``info["where"]``, on a dialect with partial indexes."""
    for table in metadata.tables.values():
        for index in table.indexes:
            if "where" in index.info:
                index.dialect_options[dialect]["where"] = text(index.info["where"])


def migration_lock_error(timeout: float) -> MigrationLockedError:
    """Return the error of a migration lock that another process has held for too long."""
    return MigrationLockedError(
        f"another process has held the migration lock for {timeout:g} s: wait until it has "
        "finished, or look for a process that hangs, and start again"
    )
