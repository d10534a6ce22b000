"""The adapter for MySQL and MariaDB."""

import math
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, MetaData, Table, Text, bindparam, event, func, text
from sqlalchemy.dialects.mysql import DATETIME, LONGTEXT, VARCHAR, insert
from sqlalchemy.engine import URL, Connection, Dialect
from sqlalchemy.types import TypeEngine

from slack_agents_sqlalchemy.dialects.base import (
    DialectAdapter,
    TemporaryDatabase,
    migration_lock_error,
)
from slack_agents_sqlalchemy.dialects.driver_calls import AsyncDriverCalls
from slack_agents_sqlalchemy.dialects.error_kinds import ErrorKind
from slack_agents_sqlalchemy.dialects.servers import Server, named_servers
from slack_agents_sqlalchemy.dialects.timestamps import Timestamp
from slack_agents_sqlalchemy.dialects.transactions import wait_until
from slack_agents_sqlalchemy.dialects.upserts import Upsert
from slack_agents_sqlalchemy.errors import ConfigurationError, DatabaseUnavailableError
from slack_agents_sqlalchemy.identifiers import digest

_ERROR_KINDS = {
    1040: ErrorKind.UNAVAILABLE,  # too many connections
    1053: ErrorKind.UNAVAILABLE,  # server shutdown in progress
    1927: ErrorKind.UNAVAILABLE,  # connection was killed (MariaDB)
    2002: ErrorKind.UNAVAILABLE,  # no connection through the socket
    2003: ErrorKind.UNAVAILABLE,  # no connection to the host
    2005: ErrorKind.UNAVAILABLE,  # unknown host
    2006: ErrorKind.UNAVAILABLE,  # server has gone away
    2013: ErrorKind.UNAVAILABLE,  # connection lost during a query
    4031: ErrorKind.UNAVAILABLE,  # the server closed an idle connection (MySQL)
    3169: ErrorKind.UNAVAILABLE,  # session was killed (MySQL)
    1203: ErrorKind.UNAVAILABLE,  # too many connections of this user
    1226: ErrorKind.UNAVAILABLE,  # the account is at its limit of connections
    2055: ErrorKind.UNAVAILABLE,  # connection lost
    5013: ErrorKind.UNAVAILABLE,  # read error (MariaDB Connector/C)
    5014: ErrorKind.UNAVAILABLE,  # write error (MariaDB Connector/C)
    1044: ErrorKind.ACCESS_REFUSED,  # no right on the database
    1045: ErrorKind.ACCESS_REFUSED,  # wrong user or password
    1049: ErrorKind.NO_DATABASE,
    1290: ErrorKind.UNAVAILABLE,  # read-only: another server is the primary now
    1836: ErrorKind.UNAVAILABLE,  # read-only (MySQL)
    1792: ErrorKind.UNAVAILABLE,  # read-only, by the transaction's access mode
    1142: ErrorKind.ACCESS_REFUSED,  # no right on the table
    1698: ErrorKind.ACCESS_REFUSED,  # wrong authentication method
    1130: ErrorKind.ACCESS_REFUSED,  # no right to connect from this host
    1820: ErrorKind.ACCESS_REFUSED,  # the password has expired
    1862: ErrorKind.ACCESS_REFUSED,  # the password has expired, at the log-in
    3118: ErrorKind.ACCESS_REFUSED,  # the account is locked
    4151: ErrorKind.ACCESS_REFUSED,  # the account is locked (MariaDB)
    3159: ErrorKind.ACCESS_REFUSED,  # the server requires TLS
    1153: ErrorKind.UNAVAILABLE,  # packet too large: the server closes the connection
    2020: ErrorKind.UNAVAILABLE,  # packet too large, by the client library
    1047: ErrorKind.UNAVAILABLE,  # the node is no part of its cluster (Galera)
    1213: ErrorKind.CONFLICT,  # deadlock, or a conflict with another node of a cluster
    1020: ErrorKind.CONFLICT,  # a row changed since it was read (MariaDB's snapshot isolation)
    1180: ErrorKind.UNAVAILABLE,  # error at the commit: the node lost its cluster
    1205: ErrorKind.LOCKED,  # lock wait timeout; Galera: the node lags behind the others
    3572: ErrorKind.LOCKED,  # a lock that NOWAIT does not wait for (MySQL)
    3101: ErrorKind.CONFLICT,  # rolled back at the commit: a conflict in the group (MySQL)
    1021: ErrorKind.FULL,  # disk full
    1114: ErrorKind.FULL,  # the table is full
    1317: ErrorKind.TIMED_OUT,  # the statement was killed
    1969: ErrorKind.TIMED_OUT,  # max_statement_time (MariaDB)
    3024: ErrorKind.TIMED_OUT,  # max_execution_time (MySQL)
}

# A table, column, index or row exists already, or no longer; another session alters the table.
_CONCURRENT_MIGRATION = (1050, 1060, 1061, 1062, 1091, 1684)

_NO_NUMBER = -1  # MySQL Connector's number for an error of its own

_PORT = 3306

_TOO_LARGE = (1153, 2020)

_LOCK_TIMEOUT = 0.8  # of the option command_timeout

_NO_LIMIT = 2**63 - 1  # SeekDB accepts no larger one

# The provider relies on it: a value that does not fit a column is an error, quotes and backslashes
# mean what the drivers assume, and an empty text is not NULL.
_SQL_MODE = "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION"

_TRUE = ("true", "yes", "on", "y", "t", "1")  # as SQLAlchemy reads it


class DateTime6(Timestamp[datetime]):
    """``DATETIME(6)``, in UTC."""

    def column_type(self) -> TypeEngine[datetime]:
        return DATETIME(fsp=6)

    def to_database(self, value: datetime) -> datetime:
        return value.replace(tzinfo=None)

    def from_database(self, value: datetime) -> datetime:
        return value.replace(tzinfo=UTC)


class AiomysqlCalls(AsyncDriverCalls):
    """The calls of aiomysql, whose cursors read all rows into memory."""

    @staticmethod
    def read_time(value: datetime) -> datetime:
        """Return the aware UTC time for a time of the driver."""
        return value.replace(tzinfo=UTC)

    async def fetch(
        self, connection: Any, sql: str, arguments: list[Any]
    ) -> Sequence[Sequence[Any]]:
        """Run a reading statement and return all its rows."""
        async with connection.cursor() as cursor:
            await cursor.execute(sql, arguments)
            rows: Sequence[Sequence[Any]] = await cursor.fetchall()
            return rows

    async def execute(self, connection: Any, sql: str, arguments: list[Any]) -> int:
        """Run a writing statement and return how many rows it matched or inserted."""
        async with connection.cursor() as cursor:
            matched: int = await cursor.execute(sql, arguments)
            return matched

    def is_closed(self, connection: Any) -> bool:
        """Return whether the connection was closed, by the server for example."""
        return bool(connection.closed)


class MySQL(DialectAdapter):
    """MySQL and MariaDB, under either name in the URL."""

    default_driver = "aiomysql"
    extra = "mysql"
    timestamp = DateTime6()
    supports_autocommit = True
    is_supported = True
    minimum_versions = (
        ("mysql", (5, 6, 4), "DATETIME(6)"),
        ("mariadb", (5, 3), "DATETIME(6)"),
    )
    supports_insert_select = True
    empty_text_is_null = False
    statement_size_setting = "max_allowed_packet"
    duplicate_key_codes = (1062,)  # ER_DUP_ENTRY

    def product_name(self, dialect: Dialect) -> str:
        # The URL's name does not tell: SQLAlchemy asks the server.
        return "mariadb" if getattr(dialect, "is_mariadb", False) else "mysql"

    # URL

    def complete_url(self, url: URL) -> URL:
        if not url.database:
            raise ConfigurationError(
                "storage option 'url' names no database: mysql://user:password@host/database"
            )
        named_servers(url, _PORT)  # it checks the ports
        return super().complete_url(url)

    def driver_url(self, url: URL) -> URL:
        # SQLAlchemy's dialect `mariadb` refuses a MySQL server; `mysql` works with both.
        return url.set(drivername=f"mysql+{url.get_driver_name()}")

    def servers(self, url: URL) -> Sequence[Server]:
        return named_servers(url, _PORT)

    def temporary_database(self, url: URL, name: str, directory: Path) -> TemporaryDatabase:
        return TemporaryDatabase(
            url.set(database=name),
            create=f"CREATE DATABASE {name}",
            drop=f"DROP DATABASE IF EXISTS {name}",
        )

    # Connections

    def connect_arguments(
        self, driver: str, connect_timeout: float, command_timeout: float
    ) -> dict[str, Any]:
        seconds = max(1, round(connect_timeout))
        if driver == "mysqlconnector":
            return {"connection_timeout": seconds, "sql_mode": _SQL_MODE}
        if driver not in ("aiomysql", "asyncmy", "pymysql", "mysqldb"):
            return {}
        limits: dict[str, Any] = {
            "connect_timeout": seconds,
            "charset": "utf8mb4",
            # The asyncio drivers do not quote it.
            "sql_mode": f"'{_SQL_MODE}'" if driver in ("aiomysql", "asyncmy") else _SQL_MODE,
        }
        if driver in ("pymysql", "mysqldb"):
            # Nothing else ends a call whose server no longer responds.
            limits["read_timeout"] = limits["write_timeout"] = math.ceil(command_timeout) + 1
        return limits

    def tls_arguments(self, url: URL) -> dict[str, Any]:
        if not _asks_aiomysql_for_tls(url):
            return {}
        asked = {name: str(value) for name, value in url.query.items()}
        try:
            context = ssl.create_default_context(
                cafile=asked.get("ssl_ca"), capath=asked.get("ssl_capath")
            )
            if "ssl_cert" in asked:
                context.load_cert_chain(asked["ssl_cert"], asked.get("ssl_key"))
        except OSError as exc:
            raise ConfigurationError(
                f"a certificate that the URL names cannot be read: {exc}"
            ) from exc
        context.check_hostname = asked.get("ssl_check_hostname", "true").lower() in _TRUE
        return {"ssl": context}

    def require_ready_server(self, dbapi_connection: Any) -> None:
        cursor = dbapi_connection.cursor()
        try:
            cursor.execute("SHOW VARIABLES LIKE 'wsrep_on'")
            is_galera = any(value == "ON" for _, value in cursor.fetchall())
            if not is_galera:
                return
            cursor.execute("SHOW STATUS LIKE 'wsrep_local_state_comment'")
            state = dict(cursor.fetchall()).get("wsrep_local_state_comment")
            if state != "Synced":
                raise DatabaseUnavailableError(f"the node is not synced with its cluster: {state}")
            # This node may lag behind another one: each statement waits until it has caught up.
            cursor.execute("SET SESSION wsrep_sync_wait = 7")
        finally:
            cursor.close()

    def configure_connection(self, dbapi_connection: Any, info: dict[str, Any]) -> None:
        cursor = dbapi_connection.cursor()
        # aiomysql 0.3 connects without TLS where the server has none; the other drivers refuse.
        if _asks_aiomysql_for_tls(info["url"]):
            cursor.execute("SHOW STATUS LIKE 'Ssl_cipher'")
            [(_, cipher)] = cursor.fetchall()
            if not cipher:
                raise DatabaseUnavailableError(
                    "the URL asks for TLS, and the server does not offer it: enable it there"
                )
        # The lock timeout is shorter than the call's: the server cannot see that a client has left.
        wait = max(1, int(_LOCK_TIMEOUT * info["command_timeout"]))
        cursor.execute(
            "SET SESSION innodb_lock_wait_timeout ="
            # MySQL 9.7 takes LEAST(...) of the variable for a text, and refuses it (error 1232).
            f" CAST(LEAST(@@SESSION.innodb_lock_wait_timeout, {wait}) AS SIGNED),"
            # A limit of the server would truncate a history.
            f" sql_select_limit = {_NO_LIMIT},"
            # Alembic's version table names no engine.
            " default_storage_engine = InnoDB"
        )
        cursor.close()

    def cancel_statement(
        self, driver_connection: Any, connect: Callable[[], AbstractContextManager[Connection]]
    ) -> None:
        # The server finishes a statement after its client has disconnected.
        session = _session(driver_connection)
        with connect() as connection:
            own = connection.exec_driver_sql("SELECT CONNECTION_ID()").scalar_one()
            running = _sessions(connection)
            _, user, _, database, *_ = running[own]
            # Behind a proxy the number may be another user's session, which must not be killed.
            match running.get(session):
                case (_, name, _, used, *_) if (name, used) == (user, database):
                    # A session that sleeps may have a statement in its socket.
                    connection.exec_driver_sql(f"KILL {session:d}")
                    # It may be committing, which KILL does not stop.
                    wait_until(connection, lambda: session not in _sessions(connection))

    def driver_calls(self, driver: str) -> AiomysqlCalls | None:
        return AiomysqlCalls() if driver == "aiomysql" else None

    # Types

    def ascii_type(self, length: int) -> TypeEngine[Any]:
        return VARCHAR(length, charset="ascii", collation="ascii_bin")

    def large_text_type(self, dialect: Dialect) -> TypeEngine[Any]:
        return LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin")

    # Tables and statements

    def set_table_options(self, metadata: MetaData) -> None:
        for table in metadata.tables.values():
            for dialect in ("mysql", "mariadb"):
                options = table.dialect_options[dialect]
                options["engine"] = "InnoDB"
                options["row_format"] = (
                    "DYNAMIC"  # the server's default may limit the size of a row
                )
                options["charset"] = "utf8mb4"
                options["collate"] = "utf8mb4_bin"

    def contains(self, column: ColumnElement[str], parameter: str) -> ColumnElement[bool]:
        # Measured on 10,000 rows: 0.7 of the time of LIKE.
        return func.instr(column, bindparam(parameter, type_=Text)) > 0

    def upsert(self, table: Table, replaced: Sequence[str]) -> Upsert:
        create = insert(table)
        return create.on_duplicate_key_update({name: create.inserted[name] for name in replaced})

    # Migrations

    @contextmanager
    def migration_lock(self, connection: Connection, timeout: float) -> Iterator[None]:
        # The lock is the server's: its name contains the database's.
        database = connection.exec_driver_sql("SELECT DATABASE()").scalar_one()
        name = {"name": "slack_agents_" + digest(database=database)}
        locked = connection.execute(
            text("SELECT GET_LOCK(:name, :timeout)"), name | {"timeout": timeout}
        ).scalar()
        if not locked:
            raise migration_lock_error(timeout)
        try:
            with _ascii_replaced(connection):
                yield
        finally:
            # The connection autocommits: each statement before this one is committed.
            if not connection.invalidated:
                connection.execute(text("SELECT RELEASE_LOCK(:name)"), name)

    def is_concurrent_migration_error(self, error: BaseException) -> bool:
        # GET_LOCK locks one node of a Galera cluster; all nodes apply DDL in the same order.
        return self.error_code(error) in _CONCURRENT_MIGRATION

    # Errors

    def error_code(self, error: BaseException) -> str | int | None:
        code = error.args[0] if error.args else None
        if not isinstance(code, int):
            code = getattr(error, "errno", None)  # MariaDB Connector: the text is first
        return code if isinstance(code, int) else None

    def error_kind(self, error: BaseException) -> ErrorKind:
        code = self.error_code(error)
        if isinstance(code, int) and code != _NO_NUMBER:
            return _ERROR_KINDS.get(code, ErrorKind.OTHER)
        # PyMySQL and aiomysql: an InternalError says that the packets are out of order.
        # MySQL Connector: an OperationalError without a number is a lost connection.
        name = "InternalError" if code is None else "OperationalError"
        return ErrorKind.UNAVAILABLE if type(error).__name__ == name else ErrorKind.OTHER

    def error_shows_values(self, error: BaseException) -> bool:
        return self.error_code(error) in (1048, 1062, 1264, 1265, 1366, 1406, 1452)

    def read_statement_size_limit(self, connection: Connection) -> int:
        return int(connection.exec_driver_sql("SELECT @@max_allowed_packet").scalar_one())

    def is_statement_too_large(self, error: BaseException) -> bool:
        return self.error_code(error) in _TOO_LARGE

    def statement_size(self, sql: str, parameters: Sequence[Any]) -> int:
        # The drivers write the values into the statement, quoted and escaped.
        escaped = sum(2 + sum(map(str(value).count, "\0\n\r\x1a\"'\\")) for value in parameters)
        return super().statement_size(sql, parameters) + escaped


def _sessions(connection: Connection) -> dict[int, Any]:
    """Return the rows of SHOW PROCESSLIST by the session's number."""
    return {row[0]: row for row in connection.exec_driver_sql("SHOW PROCESSLIST")}


def _session(driver_connection: Any) -> int:
    """Return the connection's id at the server."""
    if hasattr(driver_connection, "thread_id"):  # aiomysql, asyncmy, PyMySQL, mysqlclient
        return int(driver_connection.thread_id())
    return int(driver_connection.connection_id)  # MySQL Connector and MariaDB Connector


@contextmanager
def _ascii_replaced(connection: Connection) -> Iterator[None]:
    """Create keys in utf8mb4 where the server has no character set ascii (OceanBase)."""
    if connection.exec_driver_sql("SHOW CHARACTER SET LIKE 'ascii'").first() is not None:
        yield
        return
    event.listen(connection, "before_cursor_execute", _replace_ascii, retval=True)
    try:
        yield
    finally:
        event.remove(connection, "before_cursor_execute", _replace_ascii)


def _replace_ascii(
    _connection: Connection, _cursor: object, statement: str, parameters: Any, *_: object
) -> tuple[str, Any]:
    ascii_key = "CHARACTER SET ascii COLLATE ascii_bin"
    return statement.replace(ascii_key, "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"), parameters


def _asks_aiomysql_for_tls(url: URL) -> bool:
    # SQLAlchemy passes these as a dict, which every driver but this one accepts.
    return url.get_driver_name() == "aiomysql" and any(
        name.startswith("ssl_") for name in url.query
    )
