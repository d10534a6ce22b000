"""MySQL and MariaDB."""

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

from slack_agents_sqlalchemy.dialects.base import DialectAdapter, TemporaryDatabase, lock_error
from slack_agents_sqlalchemy.dialects.columns import Timestamp
from slack_agents_sqlalchemy.dialects.error_kinds import ErrorKind
from slack_agents_sqlalchemy.dialects.servers import named_servers
from slack_agents_sqlalchemy.dialects.upserts import Upsert
from slack_agents_sqlalchemy.errors import ConfigurationError, DatabaseUnavailableError
from slack_agents_sqlalchemy.identifiers import digest

_FAULTS = {
    1040: ErrorKind.UNAVAILABLE,  # too many connections
    1053: ErrorKind.UNAVAILABLE,  # server shutdown in progress
    1927: ErrorKind.UNAVAILABLE,  # connection was killed (MariaDB)
    2002: ErrorKind.UNAVAILABLE,  # no connection through the socket
    2003: ErrorKind.UNAVAILABLE,  # no connection to the host
    2005: ErrorKind.UNAVAILABLE,  # unknown host
    2006: ErrorKind.UNAVAILABLE,  # server has gone away
    2013: ErrorKind.UNAVAILABLE,  # connection lost during a query
    4031: ErrorKind.UNAVAILABLE,  # the server closed a connection that was idle for long (MySQL)
    3169: ErrorKind.UNAVAILABLE,  # session was killed (the same)
    1203: ErrorKind.UNAVAILABLE,  # too many connections of this user
    1226: ErrorKind.UNAVAILABLE,  # the same, by a limit of its account
    2055: ErrorKind.UNAVAILABLE,  # connection lost
    5013: ErrorKind.UNAVAILABLE,  # read error (MariaDB Connector/C)
    5014: ErrorKind.UNAVAILABLE,  # write error (the same)
    1044: ErrorKind.ACCESS_REFUSED,  # no right on the database
    1045: ErrorKind.ACCESS_REFUSED,  # wrong user or password
    1049: ErrorKind.NO_DATABASE,
    1290: ErrorKind.UNAVAILABLE,  # read-only: another server is the primary now
    1836: ErrorKind.UNAVAILABLE,  # the same, MySQL
    1792: ErrorKind.UNAVAILABLE,  # the same, by the transaction's access mode
    1142: ErrorKind.ACCESS_REFUSED,  # no right on the table
    1698: ErrorKind.ACCESS_REFUSED,  # wrong way to authenticate
    1130: ErrorKind.ACCESS_REFUSED,  # no right to connect from this host
    1820: ErrorKind.ACCESS_REFUSED,  # the password has expired
    1862: ErrorKind.ACCESS_REFUSED,  # the same, told at the login
    3118: ErrorKind.ACCESS_REFUSED,  # the account is locked
    4151: ErrorKind.ACCESS_REFUSED,  # the same, MariaDB
    3159: ErrorKind.ACCESS_REFUSED,  # the server requires TLS
    1153: ErrorKind.UNAVAILABLE,  # packet too large: the server closes the connection
    2020: ErrorKind.UNAVAILABLE,  # the same, of the client library
    1047: ErrorKind.UNAVAILABLE,  # the node is no part of its cluster (Galera)
    1213: ErrorKind.CONFLICT,  # deadlock, or a cluster's other node won
    1020: ErrorKind.CONFLICT,  # a row changed since it was read (MariaDB's snapshot isolation)
    1180: ErrorKind.UNAVAILABLE,  # error at the commit: a cluster's node lost the others meanwhile
    1205: ErrorKind.LOCKED,  # lock wait timeout; Galera: the node lags behind the others
    3572: ErrorKind.LOCKED,  # a lock that NOWAIT does not wait for (MySQL)
    3101: ErrorKind.CONFLICT,  # rolled back at the commit: another member of the group won (MySQL)
    1021: ErrorKind.FULL,  # disk full
    1114: ErrorKind.FULL,  # the table is full
    1317: ErrorKind.TIMED_OUT,  # the statement was killed
    1969: ErrorKind.TIMED_OUT,  # max_statement_time (MariaDB)
    3024: ErrorKind.TIMED_OUT,  # max_execution_time (MySQL)
}

# A table, column, index or row that is there already, one that is gone, and a table that another
# changes at this moment.
_OVERTAKEN = (1050, 1060, 1061, 1062, 1091, 1684)

_NO_NUMBER = -1  # of an error that MySQL Connector found itself

_PORT = 3306

_TOO_LARGE = (1153, 2020)

_LOCK_WAIT = 0.8  # of the time that a call may take

_NO_LIMIT = 2**63 - 1  # SeekDB takes no larger one


# What the provider relies on: a value that a column cannot hold is an error, quotes and
# backslashes are what the drivers take them for, and an empty text is not NULL.
_SQL_MODE = "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION"

_TRUE = ("true", "yes", "on", "y", "t", "1")  # as SQLAlchemy reads it


class DateTime6(Timestamp):
    """``DATETIME(6)``, in UTC."""

    def column_type(self) -> TypeEngine[Any]:
        return DATETIME(fsp=6)

    def to_database(self, value: datetime) -> datetime:
        return value.replace(tzinfo=None)

    def from_database(self, value: datetime) -> datetime:
        return value.replace(tzinfo=UTC)


class AiomysqlCalls:
    """aiomysql, whose cursors read all rows at once."""

    def read_time(self, value: datetime) -> datetime:
        """Return a time of the driver's as an aware one."""
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
        """Run a writing statement and return how many rows it matched or made."""
        async with connection.cursor() as cursor:
            matched: int = await cursor.execute(sql, arguments)
            return matched

    def is_lost(self, connection: Any) -> bool:
        """Return whether the connection was closed under its user."""
        return bool(connection.closed)


class MySQL(DialectAdapter):
    """MySQL and MariaDB."""

    default_driver = "aiomysql"
    extra = "mysql"
    timestamp = DateTime6()
    autocommits = True
    is_supported = True
    needs = (
        ("mysql", (5, 6, 4), "DATETIME(6)"),
        ("mariadb", (5, 3), "DATETIME(6)"),
    )
    supports_insert_select = True
    empty_text_is_null = False

    def product(self, dialect: Dialect) -> str:
        # Either name in the URL leads to either server.
        return "mariadb" if getattr(dialect, "is_mariadb", False) else "mysql"

    def complete(self, url: URL) -> URL:
        if not url.database:
            raise ConfigurationError(
                "storage option 'url' names no database: mysql://user:password@host/database"
            )
        named_servers(url, _PORT)  # is there a port that is none?
        return super().complete(url)

    def driver_url(self, url: URL) -> URL:
        # SQLAlchemy's dialect `mariadb` refuses a MySQL server; `mysql` finds out which one it is.
        return url.set(drivername=f"mysql+{url.get_driver_name()}")

    def connect_arguments(
        self, driver: str, connect_timeout: float, command_timeout: float
    ) -> dict[str, Any]:
        patience = max(1, round(connect_timeout))
        if driver == "mysqlconnector":
            return {"connection_timeout": patience, "sql_mode": _SQL_MODE}
        if driver not in ("aiomysql", "asyncmy", "pymysql", "mysqldb"):
            return {}
        limits: dict[str, Any] = {
            "connect_timeout": patience,
            "charset": "utf8mb4",
            # The asyncio drivers write it into their statement as it is.
            "sql_mode": f"'{_SQL_MODE}'" if driver in ("aiomysql", "asyncmy") else _SQL_MODE,
        }
        if driver in ("pymysql", "mysqldb"):
            # Nothing else frees a thread whose connection was cut off silently.
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

    def prepare_connection(self, dbapi_connection: Any, info: dict[str, Any]) -> None:
        cursor = dbapi_connection.cursor()
        # aiomysql 0.3 goes on in clear where the server offers no TLS; the other drivers refuse.
        if _asks_aiomysql_for_tls(info["url"]):
            cursor.execute("SHOW STATUS LIKE 'Ssl_cipher'")
            [(_, cipher)] = cursor.fetchall()
            if not cipher:
                raise DatabaseUnavailableError(
                    "the URL asks for TLS, and the server does not offer it: set it up there"
                )
        # The server gives up before the call is given up: no closed connection tells it.
        wait = max(1, int(_LOCK_WAIT * info["command_timeout"]))
        cursor.execute(
            "SET SESSION innodb_lock_wait_timeout ="
            # MySQL 9.7 takes LEAST of the variable for text, and refuses it (error 1232).
            f" CAST(LEAST(@@SESSION.innodb_lock_wait_timeout, {wait}) AS SIGNED),"
            # A limit of the server's would cut a history short.
            f" sql_select_limit = {_NO_LIMIT},"
            # The table of the revision names none.
            " default_storage_engine = InnoDB"
        )
        cursor.close()

    def servers(self, url: URL) -> Sequence[dict[str, Any]]:
        return named_servers(url, _PORT)

    def require_service(self, dbapi_connection: Any) -> None:
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
            # Another node may have acknowledged what this one has not applied yet: every
            # statement waits until it has.
            cursor.execute("SET SESSION wsrep_sync_wait = 7")
        finally:
            cursor.close()

    def driver_calls(self, driver: str) -> AiomysqlCalls | None:
        return AiomysqlCalls() if driver == "aiomysql" else None

    def interrupt(
        self, driver_connection: Any, connect: Callable[[], AbstractContextManager[Connection]]
    ) -> None:
        # The server runs a statement to its end though its client is gone.
        session = _session(driver_connection)
        with connect() as connection:
            own = connection.exec_driver_sql("SELECT CONNECTION_ID()").scalar_one()
            running = {row[0]: row for row in connection.exec_driver_sql("SHOW PROCESSLIST")}
            _, user, _, database, *_ = running[own]
            # Behind a proxy the number may be that of another session, which is left alone.
            match running.get(session):
                case (_, name, _, place, command, *_) if (name, place) == (user, database):
                    if command != "Sleep":
                        connection.exec_driver_sql(f"KILL {session:d}")

    def ascii_type(self, length: int) -> TypeEngine[Any]:
        return VARCHAR(length, charset="ascii", collation="ascii_bin")

    def large_text_type(self, dialect: Dialect) -> TypeEngine[Any]:
        return LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin")

    def temporary_database(self, url: URL, name: str, directory: Path) -> TemporaryDatabase:
        return TemporaryDatabase(
            url.set(database=name),
            create=f"CREATE DATABASE {name}",
            drop=f"DROP DATABASE IF EXISTS {name}",
        )

    def declare(self, metadata: MetaData) -> None:
        for table in metadata.tables.values():
            for dialect in ("mysql", "mariadb"):
                options = table.dialect_options[dialect]
                options["engine"] = "InnoDB"
                options["row_format"] = "DYNAMIC"  # the server's default may be one for short rows
                options["charset"] = "utf8mb4"
                options["collate"] = "utf8mb4_bin"

    def contains(self, column: ColumnElement[str], parameter: str) -> ColumnElement[bool]:
        # 0.7 of the time of LIKE, measured on 10,000 rows.
        return func.instr(column, bindparam(parameter, type_=Text)) > 0

    def upsert(self, table: Table, replaced: Sequence[str]) -> Upsert:
        create = insert(table)
        return create.on_duplicate_key_update({name: create.inserted[name] for name in replaced})

    @contextmanager
    def migration_lock(self, connection: Connection, timeout: float) -> Iterator[None]:
        # The lock's name is shared by the whole server, so it names the database too.
        database = connection.exec_driver_sql("SELECT DATABASE()").scalar_one()
        name = {"name": "slack_agents_" + digest(database=database)}
        locked = connection.execute(
            text("SELECT GET_LOCK(:name, :timeout)"), name | {"timeout": timeout}
        ).scalar()
        if not locked:
            raise lock_error(timeout)
        try:
            with _ascii_replaced(connection):
                yield
        finally:
            # Every statement committed before this one: the connection autocommits.
            if not connection.invalidated:
                connection.execute(text("SELECT RELEASE_LOCK(:name)"), name)

    def was_overtaken(self, error: BaseException) -> bool:
        # GET_LOCK locks one node of a Galera cluster; all nodes run schema changes in one order.
        return self.error_code(error) in _OVERTAKEN

    size_setting = "max_allowed_packet"

    def ask_size_limit(self, connection: Connection) -> int:
        return int(connection.exec_driver_sql("SELECT @@max_allowed_packet").scalar_one())

    def is_too_large(self, error: BaseException) -> bool:
        return self.error_code(error) in _TOO_LARGE

    def statement_size(self, sql: str, parameters: Sequence[Any]) -> int:
        # The drivers write the values into the statement, in quotes and escaped.
        escaped = sum(2 + sum(map(str(value).count, "\0\n\r\x1a\"'\\")) for value in parameters)
        return super().statement_size(sql, parameters) + escaped

    def error_code(self, error: BaseException) -> str | int | None:
        code = error.args[0] if error.args else None
        if not isinstance(code, int):
            code = getattr(error, "errno", None)  # MariaDB's own driver has its text first
        return code if isinstance(code, int) else None

    def is_duplicate(self, error: BaseException) -> bool:
        return self.error_code(error) == 1062  # noqa: PLR2004 - ER_DUP_ENTRY

    def repeats_row(self, error: BaseException) -> bool:
        return self.error_code(error) in (1048, 1062, 1264, 1265, 1366, 1406, 1452)

    def error_kind(self, error: BaseException) -> ErrorKind:
        code = self.error_code(error)
        if isinstance(code, int) and code != _NO_NUMBER:
            return _FAULTS.get(code, ErrorKind.OTHER)
        # PyMySQL and aiomysql: client and server no longer agree where a packet begins.
        # MySQL Connector: the connection was lost.
        name = "InternalError" if code is None else "OperationalError"
        return ErrorKind.UNAVAILABLE if type(error).__name__ == name else ErrorKind.OTHER


def _session(driver_connection: Any) -> int:
    """Return the server's number of a connection."""
    if hasattr(driver_connection, "thread_id"):  # aiomysql, asyncmy, PyMySQL, mysqlclient
        return int(driver_connection.thread_id())
    return int(driver_connection.connection_id)  # the connectors of MySQL and MariaDB


@contextmanager
def _ascii_replaced(connection: Connection) -> Iterator[None]:
    """Create keys in utf8mb4 where the server has no character set ascii, as OceanBase."""
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
    # SQLAlchemy hands these on as a dict, which is what all drivers but this one take.
    return url.get_driver_name() == "aiomysql" and any(
        name.startswith("ssl_") for name in url.query
    )
