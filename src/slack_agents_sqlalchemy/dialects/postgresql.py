"""The adapter for PostgreSQL."""

import re
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import ColumnElement, Double, MetaData, Table, Text, bindparam, func, select, text
from sqlalchemy.dialects.postgresql import TIMESTAMP, insert
from sqlalchemy.engine import URL, Connection, Dialect
from sqlalchemy.types import TypeEngine

from slack_agents_sqlalchemy.dialects.base import (
    DialectAdapter,
    TemporaryDatabase,
    migration_lock_error,
    set_partial_indexes,
)
from slack_agents_sqlalchemy.dialects.driver_calls import AsyncDriverCalls
from slack_agents_sqlalchemy.dialects.error_kinds import ErrorKind, sqlstate
from slack_agents_sqlalchemy.dialects.keepalive import Keepalive
from slack_agents_sqlalchemy.dialects.postgresql_schemas import (
    check_schema_name,
    lasting_schema,
    not_in_schema,
)
from slack_agents_sqlalchemy.dialects.servers import Server, named_servers
from slack_agents_sqlalchemy.dialects.timestamps import Timestamp
from slack_agents_sqlalchemy.dialects.transactions import pause, wait_until
from slack_agents_sqlalchemy.dialects.upserts import Upsert, insert_on_conflict
from slack_agents_sqlalchemy.errors import (
    ConfigurationError,
    UnsupportedDatabaseError,
)

_LOCK_KEY = 0x51AC_A6E7_5A1C_0DB1 >> 1  # an arbitrary number; every release uses the same
_TRY_LOCK = text("SELECT pg_try_advisory_xact_lock(:key)")
_TERMINATE = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE pid = :pid AND usename = current_user AND datname = current_database()"
)
_LOCK_POLL = 0.05  # seconds
_FEATURE_NOT_SUPPORTED = "0A000"

# libpq's parameters of TLS.
_TLS = (
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslcrl",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
)

_PORT = 5432
_LIBPQ = ("psycopg", "psycopg_async", "psycopg2")

# The errors of a statement that was prepared on another connection.
_NOT_PREPARED = ("26000", "42P05", "08P01")

_ERROR_KINDS = {
    "08P01": ErrorKind.OTHER,  # protocol violation: see _NOT_PREPARED
    "08": ErrorKind.UNAVAILABLE,  # connection exception
    "53300": ErrorKind.UNAVAILABLE,  # too many connections
    "57P01": ErrorKind.UNAVAILABLE,  # admin shutdown
    "57P02": ErrorKind.UNAVAILABLE,  # crash shutdown
    "57P03": ErrorKind.UNAVAILABLE,  # cannot connect now
    "57P05": ErrorKind.UNAVAILABLE,  # idle_session_timeout
    "25P03": ErrorKind.UNAVAILABLE,  # idle_in_transaction_session_timeout
    "25006": ErrorKind.UNAVAILABLE,  # read-only: another server is the primary now
    "53100": ErrorKind.FULL,  # disk full
    "28": ErrorKind.ACCESS_REFUSED,  # invalid authorization
    "40": ErrorKind.CONFLICT,  # transaction rollback
    "3D000": ErrorKind.NO_DATABASE,
    "42501": ErrorKind.ACCESS_REFUSED,  # insufficient privilege
    "55P03": ErrorKind.LOCKED,  # lock_timeout
    "57014": ErrorKind.TIMED_OUT,  # query canceled, by statement_timeout or an operator
}


class TimestampTZ(Timestamp[datetime]):
    """``TIMESTAMP WITH TIME ZONE``."""

    def column_type(self) -> TypeEngine[datetime]:
        return TIMESTAMP(timezone=True)

    def to_database(self, value: datetime) -> datetime:
        return value

    def from_database(self, value: datetime) -> datetime:
        return value.astimezone(UTC)  # psycopg2 returns the session's time zone


class _BinaryDouble(Double[float]):
    """A float that is read as its eight bytes.

    libpq's drivers read text, which the setting ``extra_float_digits`` rounds. A pooler that shares
    connections by transaction loses a setting of the session.
    """

    def column_expression(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        return func.float8send(column, type_=self)

    def bind_processor(self, dialect: Dialect) -> None:
        return None

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], float | None]:
        def read(value: Any) -> float | None:
            return None if value is None else float(struct.unpack("!d", value)[0])

        return read


class AsyncpgCalls(AsyncDriverCalls):
    """The calls of asyncpg, which caches prepared statements itself."""

    async def fetch(
        self, connection: Any, sql: str, arguments: list[Any]
    ) -> Sequence[Sequence[Any]]:
        """Run a reading statement and return all its rows."""
        rows: Sequence[Sequence[Any]] = await connection.fetch(sql, *arguments)
        return rows

    async def execute(self, connection: Any, sql: str, arguments: list[Any]) -> int:
        """Run a writing statement and return how many rows it matched or inserted."""
        tag: str = await connection.execute(sql, *arguments)  # as INSERT 0 1
        return int(tag.rpartition(" ")[2])

    def is_closed(self, connection: Any) -> bool:
        """Return whether the connection was closed, by the server for example."""
        return bool(connection.is_closed())


class PostgreSQL(DialectAdapter):
    """PostgreSQL; tested with 15 and 18."""

    default_driver = "asyncpg"
    extra = "postgresql"
    timestamp = TimestampTZ()
    supports_autocommit = True
    is_supported = True
    has_transactional_ddl = True
    minimum_versions = (("postgresql", (9, 5), "INSERT … ON CONFLICT"),)
    supports_insert_select = True
    empty_text_is_null = False

    # URL

    def complete_url(self, url: URL) -> URL:
        # Hosting services use libpq's form: postgres:// and ?sslmode=.
        if url.drivername == "postgres":
            url = url.set(drivername="postgresql")
        url = super().complete_url(url)
        driver = url.get_driver_name()
        if driver in ("asyncpg", *_LIBPQ) and len(named_servers(url, _PORT)) > 1:
            # A standby accepts connections too, and refuses to write.
            url = url.update_query_dict({"target_session_attrs": "read-write"} | url.query)
        if driver == "psycopg":  # its asyncio side
            return url.set(drivername="postgresql+psycopg_async")
        return url

    def driver_url(self, url: URL) -> URL:
        driver = url.get_driver_name()
        if driver in ("asyncpg", *_LIBPQ) and (listed := named_servers(url, None)):
            # SQLAlchemy splits a list by other rules, and cannot split an IPv6 address.
            url = url.difference_update_query(("host", "port"))
            if driver == "asyncpg":  # the engine tries the others in turn, by `servers`
                url = url.set(**listed[0])
            else:
                ports = [str(server["port"] or "") for server in listed]
                hosts = [server["host"] for server in listed]
                url = url.update_query_dict({"host": ",".join(hosts)})
                url = url.update_query_dict({"port": ",".join(ports)} if any(ports) else {})
        of_tls = {name: url.query[name] for name in _TLS if name in url.query}
        if driver == "asyncpg" and of_tls:  # asyncpg accepts these names in a DSN only
            dsn = "postgresql:///?" + urlencode(of_tls)
            url = url.difference_update_query(of_tls).update_query_dict({"dsn": dsn})
        return url

    def servers(self, url: URL) -> Sequence[Server]:
        # libpq tries the next one itself. asyncpg does too, but one unresponsive server uses up the
        # timeout of all.
        servers = named_servers(url, _PORT)
        return servers if len(servers) > 1 and url.get_driver_name() == "asyncpg" else ()

    def server_count(self, url: URL) -> int:
        return max(len(named_servers(url, _PORT)), 1)

    def temporary_database(self, url: URL, name: str, directory: Path) -> TemporaryDatabase:
        return TemporaryDatabase(
            url,
            schema=name,
            create=f"CREATE SCHEMA {name}",
            drop=f"DROP SCHEMA IF EXISTS {name} CASCADE",
        )

    # Connections

    def connect_arguments(
        self, driver: str, connect_timeout: float, command_timeout: float
    ) -> dict[str, Any]:
        if driver == "asyncpg":
            return {"timeout": connect_timeout}
        if driver in _LIBPQ:
            # Else the settings of the role or the database choose it; asyncpg always uses UTF8.
            return {
                "connect_timeout": max(1, round(connect_timeout)),
                "client_encoding": "utf8",
            }
        return {}

    def keepalive_arguments(self, driver: str, limit: float) -> dict[str, Any]:
        if driver not in _LIBPQ:
            return {}
        settings = Keepalive.within(limit)
        return {
            "keepalives": 1,
            "keepalives_idle": settings.idle,
            "keepalives_interval": settings.interval,
            "keepalives_count": settings.number,
            "tcp_user_timeout": settings.limit,
        }

    def schema_arguments(self, driver: str, schema: str) -> dict[str, Any]:
        check_schema_name(schema)
        path = '"' + schema.replace('"', '""') + '"'
        if driver == "asyncpg":
            return {"server_settings": {"search_path": path}}
        if driver in _LIBPQ:
            escaped = re.sub(r"([\\\s])", r"\\\1", path)  # the server splits at spaces
            return {"options": f"-csearch_path={escaped}"}
        return super().schema_arguments(driver, schema)

    def unprepared_arguments(self, driver: str) -> dict[str, Any]:
        if driver == "asyncpg":
            return {
                "statement_cache_size": 0,
                "prepared_statement_cache_size": 0,
                "prepared_statement_name_func": str,  # no name: the next one replaces it
            }
        if driver in ("psycopg", "psycopg_async"):
            return {"prepare_threshold": None}
        return {}

    def prepares_separately(self, driver: str) -> bool:
        return driver == "asyncpg"

    def enforces_connect_timeout(self, driver: str) -> bool:
        return driver in ("asyncpg", *_LIBPQ)

    def configure_dialect(self, dialect: Dialect) -> None:
        if dialect.driver in _LIBPQ:
            dialect.colspecs = {**dialect.colspecs, Double: _BinaryDouble}

    def configure_connection(self, dbapi_connection: Any, info: dict[str, Any]) -> None:
        url, schema = info["url"], info["schema"]
        encoding = _setting(dbapi_connection, "server_encoding")
        if _is_other_than_utf8(encoding):
            raise UnsupportedDatabaseError(
                f"{url!r} has the encoding {encoding}, which cannot hold every character: "
                "use a database in UTF8, as made with "
                "CREATE DATABASE agents ENCODING 'UTF8' TEMPLATE template0"
            )
        client_encoding = _setting(dbapi_connection, "client_encoding")
        if _is_other_than_utf8(client_encoding):
            raise ConfigurationError(
                f"the connections to {url!r} have the client_encoding {client_encoding}, "
                "and the provider needs UTF8: leave client_encoding out of the storage option "
                "'connect_args'"
            )
        if not (_setting(dbapi_connection, "DateStyle") or "ISO").startswith("ISO"):
            _run(dbapi_connection, "SET DateStyle = 'ISO'")
        if schema is not None:
            [[found]] = _run(dbapi_connection, "SELECT current_schema()")
            if found not in (schema, None):  # None: it does not exist yet
                raise not_in_schema(url, schema, found)

    def cancel_statement(
        self, driver_connection: Any, connect: Callable[[], AbstractContextManager[Connection]]
    ) -> None:
        if type(driver_connection).__module__.startswith("psycopg2"):
            driver_connection.cancel()
        elif type(driver_connection).__module__.startswith("asyncpg"):
            # asyncpg has requested it, which the server ignores where it came before the statement.
            with connect() as connection:
                session = {"pid": driver_connection.get_server_pid()}
                wait_until(
                    connection, lambda: connection.execute(_TERMINATE, session).first() is None
                )

    def driver_calls(self, driver: str) -> AsyncpgCalls | None:
        return AsyncpgCalls() if driver == "asyncpg" else None

    # Types

    def large_text_type(self, dialect: Dialect) -> TypeEngine[Any]:
        return Text()

    # Tables and statements

    def set_table_options(self, metadata: MetaData) -> None:
        set_partial_indexes(metadata, "postgresql")

    def contains(self, column: ColumnElement[str], parameter: str) -> ColumnElement[bool]:
        # Measured on 10,000 rows: 0.4 of the time of LIKE.
        return func.strpos(column, bindparam(parameter, type_=Text)) > 0

    def upsert(self, table: Table, replaced: Sequence[str]) -> Upsert:
        return insert_on_conflict(insert(table), table, replaced)

    # Migrations

    def revision_query(self, version_table: str) -> str:
        # A later schema of the search path may hold another agent's table.
        return (
            f"SELECT v.version_num FROM {version_table} AS v"  # noqa: S608 - a constant
            " JOIN pg_catalog.pg_class AS c ON c.oid = v.tableoid"
            " JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
            " WHERE n.nspname = current_schema()"
        )

    @contextmanager
    def migration_lock(self, connection: Connection, timeout: float) -> Iterator[None]:
        # One transaction holds the lock and the migration: this works behind a pooler too, and a
        # failed migration is rolled back.
        connection.rollback()
        connection.execution_options(isolation_level="READ COMMITTED")
        try:
            _take_lock(connection, timeout)
            schema = lasting_schema(connection)
            # Else Alembic finds the tables of another agent, in a later schema of the search path.
            is_local = True
            alone = func.set_config("search_path", func.quote_ident(schema), is_local)
            connection.execute(select(alone))
            yield
        except BaseException:
            if not connection.invalidated:
                connection.rollback()
            raise
        connection.commit()

    # Errors

    def hint(self, error: BaseException) -> str:
        if self.error_code(error) in _NOT_PREPARED:
            return (
                ". A pooler that shares connections by transaction, as PgBouncer, loses prepared "
                "statements: set the storage option 'prepared_statements' to false"
            )
        return ""

    def error_kind(self, error: BaseException) -> ErrorKind:
        if _has_stale_plan(error):
            return ErrorKind.UNAVAILABLE
        # asyncpg's error, or SQLAlchemy's of it: this server is not the primary.
        if "TargetServerAttributeNotMatched" in map(_type_name, (error, error.__cause__)):
            return ErrorKind.UNAVAILABLE
        code = str(self.error_code(error))
        return _ERROR_KINDS.get(code) or _ERROR_KINDS.get(code[:2]) or ErrorKind.OTHER


def _take_lock(connection: Connection, timeout: float) -> None:
    # The client polls: an interrupted client would have to ask a waiting server to cancel.
    deadline = time.monotonic() + timeout
    while not connection.execute(_TRY_LOCK, {"key": _LOCK_KEY}).scalar():
        if time.monotonic() > deadline:
            raise migration_lock_error(timeout)
        pause(connection, _LOCK_POLL)


def _has_stale_plan(error: BaseException) -> bool:
    """Return whether a table changed after the connection had prepared its statement."""
    if _type_name(error) == "InvalidCachedStatementError":  # asyncpg's, or SQLAlchemy's of it
        return True
    return (
        sqlstate(error) == _FEATURE_NOT_SUPPORTED
        and getattr(getattr(error, "diag", None), "source_function", None)
        == "RevalidateCachedQuery"
    )


def _type_name(value: object) -> str:
    return type(value).__name__


def _setting(dbapi_connection: Any, name: str) -> str | None:
    """Return a setting of a new connection; the drivers know some without a round trip."""
    own = getattr(dbapi_connection, "driver_connection", dbapi_connection)
    if hasattr(own, "get_settings"):  # asyncpg
        return getattr(own.get_settings(), name, None)
    if hasattr(own, "info"):  # psycopg and psycopg2
        value: str | None = own.info.parameter_status(name)
        return value
    [[value]] = _run(dbapi_connection, f"SELECT current_setting('{name}')")
    return value


def _is_other_than_utf8(encoding: str | None) -> bool:
    # PgBouncer returns the name as asyncpg wrote it: 'utf-8', with the quotes.
    name = re.sub(r"\W", "", encoding or "UTF8").upper()
    return name not in ("UTF8", "UNICODE")


def _run(dbapi_connection: Any, sql: str) -> Sequence[Sequence[Any]]:
    cursor = dbapi_connection.cursor()
    cursor.execute(sql)
    rows: Sequence[Sequence[Any]] = cursor.fetchall() if cursor.description else ()
    cursor.close()
    dbapi_connection.commit()  # a no-op in AUTOCOMMIT
    return rows
