"""SQLite, as a file or in memory."""

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from sqlalchemy import ColumnElement, MetaData, Table, Text, bindparam, func
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import URL, Connection, Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool
from sqlalchemy.types import DateTime, TypeEngine

from slack_agents_sqlalchemy.dialects.columns import Timestamp, declare_partial_indexes
from slack_agents_sqlalchemy.dialects.faults import Fault, driver_error
from slack_agents_sqlalchemy.dialects.generic import Backend, Scratch, lock_error
from slack_agents_sqlalchemy.dialects.upserts import Upsert, upsert_on_conflict

_BUSY_TIMEOUT = 30.0  # seconds that a statement waits for another process's write

_FAULTS = {
    sqlite3.SQLITE_BUSY: Fault.TIMED_OUT,
    sqlite3.SQLITE_LOCKED: Fault.TIMED_OUT,
    sqlite3.SQLITE_CANTOPEN: Fault.UNAVAILABLE,
    sqlite3.SQLITE_READONLY: Fault.ACCESS_REFUSED,
    sqlite3.SQLITE_PERM: Fault.ACCESS_REFUSED,
    sqlite3.SQLITE_AUTH: Fault.ACCESS_REFUSED,
    sqlite3.SQLITE_FULL: Fault.FULL,
}

# In a connection's info.
_DURABILITY = "synchronous"
_USUAL_WAIT = "busy_timeout"  # milliseconds
_WAIT = "slack_agents_wait"  # milliseconds, while it is shorter


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

    def read_time(self, value: str) -> datetime:
        """Return the time that a text says; a sixth of what ``replace(tzinfo=…)`` alone takes."""
        return datetime.fromisoformat(value + "+00:00")

    async def fetch(
        self, connection: Any, sql: str, arguments: list[Any]
    ) -> Sequence[Sequence[Any]]:
        """Run a reading statement and return all its rows."""
        rows: Sequence[Sequence[Any]] = connection.execute(sql, arguments).fetchall()
        return rows

    async def execute(self, connection: Any, sql: str, arguments: list[Any]) -> int:
        """Run a writing statement and return how many rows it matched or made."""
        matched: int = connection.execute(sql, arguments).rowcount
        return matched

    def is_lost(self, connection: Any) -> bool:
        """Return False: a file is not closed under its user."""
        return False


class SQLite(Backend):
    """SQLite, by the standard library's driver or by aiosqlite."""

    default_driver = "pysqlite"
    integer_key_is_row_number = True
    keeps_one_connection = True
    timestamp = ISOText()
    autocommits = True
    is_known = True
    migrates_atomically = True
    needs = (("sqlite", (3, 24), "INSERT … ON CONFLICT"),)
    inserts_at_once = True
    empty_text_is_null = False

    def is_private_memory(self, url: URL) -> bool:
        names = (None, "", ":memory:", "file::memory:")
        return url.database in names or url.query.get("mode") == "memory"

    has_synchronous = True

    def is_missing(self, url: URL) -> bool:
        if self.is_private_memory(url) or url.query.get("uri"):
            return False
        return not Path(url.database or "").exists()

    def make_private(self, url: URL) -> None:
        if self.is_private_memory(url) or url.query.get("mode") in ("ro", "rw"):
            return
        path = url.database or ""
        if path.startswith("file:"):
            path = unquote(urlsplit(path).path)
        # SQLite gives its -wal and -shm the mode of the file, and takes an empty file for a new
        # one. What is wrong with the place, it tells itself.
        with suppress(OSError, ValueError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))

    def engine_arguments(self, url: URL, pool_size: int) -> dict[str, Any]:
        if url.get_driver_name() == "aiosqlite":
            logging.getLogger("aiosqlite").addFilter(_hide_parameters)
        return {"poolclass": StaticPool}

    def connect_arguments(
        self, driver: str, connect_timeout: float, command_timeout: float
    ) -> dict[str, Any]:
        return {"check_same_thread": False, "timeout": _part(command_timeout)}

    def prepare_connection(self, dbapi_connection: Any, info: dict[str, Any]) -> None:
        cursor = dbapi_connection.cursor()
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA journal_mode")
        # Only with a write-ahead log does a file survive a power cut without FULL.
        in_wal = cursor.fetchone() == ("wal",)
        durability = info.setdefault(_DURABILITY, "NORMAL")
        cursor.execute(f"PRAGMA synchronous = {durability if in_wal else 'FULL'}")
        cursor.execute("PRAGMA busy_timeout")
        [info[_USUAL_WAIT]] = cursor.fetchone()
        cursor.close()

    def limit_wait(
        self, execute: Callable[[str], object], info: dict[str, Any], left: float
    ) -> None:
        # Calls run one after another: who waited for its turn has less time than the first.
        usual = info[_USUAL_WAIT]
        wait = round(1000 * _part(left))
        if wait > 0.9 * usual:  # hardly any time has passed
            wait = usual
        if wait != info.get(_WAIT, usual):
            execute(f"PRAGMA busy_timeout = {wait}")
            info[_WAIT] = wait

    def driver_calls(self, driver: str) -> PysqliteCalls | None:
        return PysqliteCalls() if driver == "pysqlite" else None

    def large_text_type(self, dialect: Dialect) -> TypeEngine[Any]:
        return Text()

    def scratch(self, url: URL, name: str, directory: Path) -> Scratch:
        if self.is_private_memory(url):
            return Scratch(url)
        return Scratch(url.set(database=str(directory / f"{name}.db")))

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

    when_unreachable = "Is its folder there, and may this process write to it?"
    when_refused = (
        "Check the rights of this process on the file, its -wal and -shm beside it, and its folder."
    )

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


def _part(left: float) -> float:
    """Return how long to wait for a lock, so that what timed out was not stored, in seconds."""
    return min(_BUSY_TIMEOUT, 0.8 * max(left, 0))


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
            durability = connection.info.get(_DURABILITY, "NORMAL")
            connection.exec_driver_sql(f"PRAGMA synchronous = {durability}")
            return


def _hide_parameters(record: logging.LogRecord) -> bool:
    """Leave in aiosqlite's log what it does, without the values that it does it with."""
    if isinstance(record.args, tuple):
        record.args = tuple(
            partial(arg.func, *arg.args[:1]) if isinstance(arg, partial) else arg
            for arg in record.args
        )
    return True
