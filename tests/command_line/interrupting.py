"""Start a command as a process, and send it a signal when it waits."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psycopg2
import pymysql
from sqlalchemy import make_url

from slack_agents_sqlalchemy.dialects.postgresql import _LOCK_KEY
from slack_agents_sqlalchemy.identifiers import digest

CHECKOUT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
SECONDS = 120

DRIVERS = {
    "postgresql": ("asyncpg", "psycopg", "psycopg2"),
    "mariadb": ("aiomysql", "asyncmy", "pymysql"),
}
STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}


class Ended(NamedTuple):
    """The exit status and the output of a process that has ended."""

    status: int
    output: str
    errors: str


class Running:
    """A process, and the lines that it has printed so far."""

    def __init__(self, *command: str | Path, **environment: str) -> None:
        program, *arguments = map(str, command)
        self._process = subprocess.Popen(
            [PROGRAMS / program, *arguments],
            cwd=CHECKOUT,
            env={**os.environ, "PYTHONWARNINGS": "default::ResourceWarning", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: dict[str, list[str]] = {"stdout": [], "stderr": []}
        self._readers = [threading.Thread(target=self._read, args=(name,)) for name in self._lines]
        for reader in self._readers:
            reader.start()

    def _read(self, name: str) -> None:
        with getattr(self._process, name) as stream:
            for line in stream:
                self._lines[name].append(line)

    def says(self, text: str) -> bool:
        return any(text in line for lines in self._lines.values() for line in lines)

    def has_open(self, file: Path) -> bool:
        """Return whether the process has opened a file; SQLite then waits for its lock."""
        with suppress(OSError):  # it opens and closes others at the same time
            opened = Path(f"/proc/{self._process.pid}/fd").iterdir()
            return any(each.readlink() == file for each in opened)
        return False

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SECONDS
        while not is_so():
            assert self._process.poll() is None, self._lines
            assert time.monotonic() < deadline, self._lines
            time.sleep(0.02)

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self) -> Ended:
        try:
            status = self._process.wait(SECONDS)
        except BaseException:
            self._process.kill()
            raise
        finally:
            for reader in self._readers:
                reader.join()
        return Ended(status, "".join(self._lines["stdout"]), "".join(self._lines["stderr"]))


def interrupt(running: Running, number: signal.Signals, is_waiting: Callable[[], bool]) -> Ended:
    """Send a signal to a process once it waits; return its exit status and output."""
    try:
        running.wait_until(is_waiting)
    except BaseException:
        running.send(signal.SIGKILL)
        running.end()
        raise
    running.send(number)
    return running.end()


class Unresponsive:
    """A server that accepts connections and sends nothing."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.setblocking(False)  # noqa: FBT003 - its only argument
        self._accepted: list[socket.socket] = []
        self.port = int(self._listening.getsockname()[1])

    def was_called(self) -> bool:
        with suppress(BlockingIOError):
            self._accepted.append(self._listening.accept()[0])
        return bool(self._accepted)

    def close(self) -> None:
        for each in (*self._accepted, self._listening):
            each.close()


def log_in(url: str) -> Any:
    """Connect to a database server without SQLAlchemy, in autocommit."""
    parsed = make_url(url)
    arguments: dict[str, Any] = {
        "host": parsed.host,
        "port": parsed.port,
        "user": parsed.username,
        "password": parsed.password or "",
    }
    arguments = {name: value for name, value in arguments.items() if value is not None}
    if parsed.get_backend_name() == "postgresql":
        connection = psycopg2.connect(dbname=parsed.database, **arguments)
        connection.autocommit = True
        return connection
    return pymysql.connect(database=parsed.database, autocommit=True, **arguments)


@contextmanager
def migration_lock(url: str) -> Iterator[None]:
    """Hold the migration lock of a database."""
    with closing(log_in(url)) as connection, closing(connection.cursor()) as cursor:
        if url.startswith("postgresql"):
            cursor.execute("SELECT pg_advisory_lock(%s)", (_LOCK_KEY,))
        else:
            name = "slack_agents_" + digest(database=str(make_url(url).database))
            cursor.execute("SELECT GET_LOCK(%s, 0)", (name,))
            assert cursor.fetchall() == ((1,),)
        yield


@contextmanager
def locked_file(path: Path, kind: str = "IMMEDIATE") -> Iterator[None]:
    """Hold SQLite's lock on a file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"BEGIN {kind}")
        yield
