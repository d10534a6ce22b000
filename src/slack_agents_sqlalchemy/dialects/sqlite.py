"""SQLite, as a file or in memory."""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, MetaData, Table, Text, bindparam, func
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import URL, Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool
from sqlalchemy.types import DateTime, TypeEngine

from slack_agents_sqlalchemy.dialects.generic import (
    Backend,
    Fault,
    Timestamp,
    Upsert,
    declare_partial_indexes,
    driver_error,
    lock_error,
    upsert_on_conflict,
)

_BUSY_TIMEOUT = 30.0  # seconds that a statement waits for another process's write

_FAULTS = {
    sqlite3.SQLITE_BUSY: Fault.TIMED_OUT,
    sqlite3.SQLITE_LOCKED: Fault.TIMED_OUT,
    sqlite3.SQLITE_CANTOPEN: Fault.UNAVAILABLE,
    sqlite3.SQLITE_READONLY: Fault.ACCESS_REFUSED,
    sqlite3.SQLITE_PERM: Fault.ACCESS_REFUSED,
    sqlite3.SQLITE_AUTH: Fault.ACCESS_REFUSED,
}


class ISOText(Timestamp):
    """ISO 8601 text in UTC with microseconds, which sorts by time."""

    def column_type(self) -> TypeEngine[Any]:
        return DateTime()

    def to_database(self, value: datetime) -> datetime:
        return value.replace(tzinfo=None)

    def from_database(self, value: datetime) -> datetime:
        return value.replace(tzinfo=UTC)


class PysqliteCalls:
    """The standard library's driver."""

    def fetch(self, connection: Any, sql: str, arguments: list[Any]) -> Sequence[Sequence[Any]]:
        """Run a reading statement and return all its rows."""
        rows: Sequence[Sequence[Any]] = connection.execute(sql, arguments).fetchall()
        return rows

    def execute(self, connection: Any, sql: str, arguments: list[Any]) -> int:
        """Run a writing statement and return how many rows it matched or made."""
        matched: int = connection.execute(sql, arguments).rowcount
        return matched

    def is_lost(self, connection: Any) -> bool:
        """Return False: a file is not closed under its user."""
        return False


class SQLite(Backend):
    """SQLite 3.35 and later, by the standard library's driver or by aiosqlite."""

    default_driver = "pysqlite"
    integer_key_is_row_number = True
    keeps_one_connection = True
    timestamp = ISOText()

    def is_private_memory(self, url: URL) -> bool:
        names = (None, "", ":memory:", "file::memory:")
        return url.database in names or url.query.get("mode") == "memory"

    def is_missing(self, url: URL) -> bool:
        if self.is_private_memory(url) or url.query.get("uri"):
            return False
        return not Path(url.database or "").exists()

    def engine_arguments(self, url: URL, pool_size: int) -> dict[str, Any]:
        return {"poolclass": StaticPool}

    def connect_arguments(
        self, driver: str, connect_timeout: float, command_timeout: float
    ) -> dict[str, Any]:
        # SQLite gives up before the call does: what is reported as timed out was not stored.
        busy_timeout = min(_BUSY_TIMEOUT, 0.8 * command_timeout)
        return {"check_same_thread": False, "timeout": busy_timeout}

    def prepare_connection(self, dbapi_connection: Any) -> None:
        cursor = dbapi_connection.cursor()
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA journal_mode")
        if cursor.fetchone() == ("wal",):  # only there NORMAL survives a power cut
            cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.close()

    def driver_calls(self, driver: str) -> PysqliteCalls | None:
        return PysqliteCalls() if driver == "pysqlite" else None

    def declare(self, metadata: MetaData) -> None:
        declare_partial_indexes(metadata, "sqlite")

    def contains(self, column: ColumnElement[str], parameter: str) -> ColumnElement[bool]:
        # 0.8 of the time of LIKE, measured on 10,000 rows.
        return func.instr(column, bindparam(parameter, type_=Text)) > 0

    def upsert(self, table: Table, replaced: Sequence[str]) -> Upsert:
        return upsert_on_conflict(insert(table), table, replaced)

    @contextmanager
    def migration_lock(self, connection: Connection, timeout: float) -> Iterator[None]:
        usual = connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one()
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {round(1000 * timeout)}")
        try:
            _use_write_ahead_log(connection, timeout)
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        except DBAPIError as exc:
            if self.classify(driver_error(exc)) is Fault.TIMED_OUT:
                raise lock_error(timeout) from exc
            raise
        finally:
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {usual}")
        try:
            yield
        except BaseException:
            if not connection.invalidated:
                connection.exec_driver_sql("ROLLBACK")
            raise
        connection.exec_driver_sql("COMMIT")

    def error_code(self, error: BaseException) -> str | int | None:
        code = getattr(error, "sqlite_errorcode", None)
        return code if isinstance(code, int) else None

    def is_duplicate(self, error: BaseException) -> bool:
        return self.error_code(error) in (
            sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
            sqlite3.SQLITE_CONSTRAINT_UNIQUE,
        )

    def repeats_row(self, error: BaseException) -> bool:
        return False  # it names columns only

    def classify(self, error: BaseException) -> Fault:
        code = self.error_code(error)
        # The low byte is the kind of error; the rest refines it.
        return _FAULTS.get(code & 0xFF, Fault.OTHER) if isinstance(code, int) else Fault.OTHER


def _use_write_ahead_log(connection: Connection, timeout: float) -> None:
    """Switch to WAL, which the file remembers: readers and a writer do not wait for each other."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        except DBAPIError as exc:
            # SQLite does not wait here for another process that opens the same new file.
            code = getattr(exc.orig, "sqlite_errorcode", 0)
            if code & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            connection.exec_driver_sql("PRAGMA synchronous = NORMAL")
            return
