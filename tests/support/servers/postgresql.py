"""PostgreSQL, its newest release, and a pooler before it."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Coroutine
from contextlib import suppress
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, ClassVar, Self

import asyncpg
from sqlalchemy import URL, make_url

from tests.support.servers.process import (
    LOOPBACK,
    START_SECONDS,
    Place,
    PrivateProcess,
    ServerBrokenError,
    find_programs,
    free_port,
    make_certificate,
    stopped_on_error,
)
from tests.support.servers.programs import ServerMissingError, postgresql_of_wheel
from tests.support.servers.server import CONNECT_SECONDS, VERSION_TABLE, Server

# Else the session of an unreachable client lasts for hours, perhaps in a transaction.
_KEEPALIVE = (
    *("-c", "tcp_keepalives_idle=1", "-c", "tcp_keepalives_interval=1"),
    *("-c", "tcp_keepalives_count=3", "-c", "tcp_user_timeout=3s"),
)


class PostgreSQL(Server):
    """PostgreSQL; asyncpg runs on an event loop that only these administrator's calls use."""

    variable = "SLACK_AGENTS_TEST_POSTGRESQL_URL"
    usual_urls: ClassVar[tuple[str, ...]] = (
        "postgresql://root@127.0.0.1:5432/postgres",
        "postgresql://postgres@127.0.0.1:5432/postgres",
    )
    refusals = (OSError, asyncpg.PostgresError)

    def __init__(self, url: URL) -> None:
        super().__init__(url)
        self._loop = asyncio.new_event_loop()
        self._logins: dict[str, asyncpg.Connection] = {}
        try:
            self._admin = self._log_in(url)
        except BaseException:
            self._loop.close()
            raise

    #: The certificate of a private server that takes encrypted connections only.
    certificate: Path | None = None

    @classmethod
    def start(cls, *, tls: bool = False, durable: bool = False, place: Place = LOOPBACK) -> Self:
        initdb, postgres = cls.programs("initdb", "postgres")
        port = free_port()
        process = PrivateProcess(owners=("postgres", "nobody"), place=place)
        data = str(process.directory / "data")
        with stopped_on_error(process):
            process.run(
                *(
                    initdb,
                    "--pgdata",
                    data,
                    "--username",
                    "postgres",
                    "--auth",
                    "trust",
                ),
                *("--encoding", "UTF8", "--no-locale", "--no-sync"),
            )
            certificate = make_certificate(process, Path(data)) if tls else None
            if place is not LOOPBACK:
                (Path(data) / "pg_hba.conf").write_text("host all all all trust\n")
            if tls:
                (Path(data) / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 trust\n")
            process.serve(
                *(
                    postgres,
                    *(("-c", "ssl=on") if tls else ()),
                    "-D",
                    data,
                    "-h",
                    place.listens_on,
                    "-p",
                    str(port),
                    "-k",
                    "",
                ),
                *("-c", "fsync=off", "-c", "full_page_writes=off"),
                *(() if place is LOOPBACK else _KEEPALIVE),
                *("-c", f"synchronous_commit={'on' if durable else 'off'}"),
                stop_signal=signal.SIGINT,
            )
        url = f"postgresql://postgres@{place.address}:{port}/postgres"
        server = cls._log_in_when_ready(url, process)
        server.certificate = certificate
        return server

    @classmethod
    def programs(cls, *names: str) -> list[str]:
        """Return the paths of these programs of PostgreSQL.

        Raises:
            ServerMissingError: They are not installed.
        """
        found = find_programs(*names, folders=postgresql_folders())
        return found or [str(postgresql_of_wheel() / name) for name in names]

    def empty_tables(self, url: str) -> None:
        login = self._logins.get(url)
        if login is None:
            login = self._logins[url] = self._log_in(make_url(url))
            self._run(login.execute("SET lock_timeout = '10s'"))
        # DELETE, because TRUNCATE makes new files and takes twenty times as long on few rows.
        deletions = [f"DELETE FROM {table};" for table in self._children_first(login)]
        self._run(login.execute("".join(deletions)))

    def _children_first(self, login: asyncpg.Connection) -> list[str]:
        tables = self._run(
            login.fetch(
                "SELECT oid::regclass::text AS name, ARRAY("
                "  SELECT conrelid::regclass::text FROM pg_constraint"
                "  WHERE contype = 'f' AND confrelid = pg_class.oid AND conrelid <> pg_class.oid"
                ") AS children FROM pg_class WHERE relkind = 'r'"
                " AND relname LIKE 'slack\\_agents\\_%' AND relname <> $1",
                VERSION_TABLE,
            )
        )
        return list(TopologicalSorter({t["name"]: t["children"] for t in tables}).static_order())

    def _create(self, name: str) -> None:
        self._run(self._admin.execute(f'CREATE DATABASE "{name}"'))

    def _drop(self, name: str) -> None:
        for url in [url for url in self._logins if make_url(url).database == name]:
            self._run(self._logins.pop(url).close())
        self._run(self._admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))

    def _log_in(self, url: URL) -> asyncpg.Connection:
        dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
        return self._run(asyncpg.connect(dsn, timeout=CONNECT_SECONDS))

    def _log_out(self) -> None:
        for login in (*self._logins.values(), self._admin):
            with suppress(*self.refusals):  # the server may have been restarted since
                self._run(login.close())
        self._loop.close()

    def _run[T](self, call: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(call)


class PostgreSQL18(PostgreSQL):
    """The newest PostgreSQL, from the wheel whatever else is there."""

    variable = "SLACK_AGENTS_TEST_POSTGRESQL_18_URL"
    usual_urls = ()

    @classmethod
    def programs(cls, *names: str) -> list[str]:
        return [str(postgresql_of_wheel() / name) for name in names]


class PgBouncer(PostgreSQL):
    """PostgreSQL behind a private pooler, whose clients share connections by transaction.

    Databases are made and emptied past the pooler.
    """

    #: Lines that are added to its settings.
    more_settings: ClassVar[str] = ""

    def __init__(self, url: URL) -> None:
        super().__init__(url)
        program = find_programs("pgbouncer")
        if program is None:
            self._log_out()
            raise ServerMissingError("PgBouncer is not installed: apt-get install pgbouncer")
        self._port = free_port()
        self._pooler = PrivateProcess(owners=("postgres", "nobody"))
        settings = self._pooler.directory / "pgbouncer.ini"
        password = f" password={url.password}" if url.password else ""
        settings.write_text(
            f"[databases]\n* = host={url.host} port={url.port or 5432} user={url.username}"
            f"{password}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self._port}\n"
            # Fewer connections than callers, so that they are shared.
            "auth_type = any\npool_mode = transaction\ndefault_pool_size = 3\nunix_socket_dir =\n"
            f"{self.more_settings}"
        )
        with stopped_on_error(self._pooler):
            self._pooler.serve(*program, str(settings), stop_signal=signal.SIGINT)

    def create_database(self) -> str:
        url = make_url(super().create_database()).set(host="127.0.0.1", port=self._port)
        self._wait_for_pooler()
        return url.render_as_string(hide_password=False)

    def empty_tables(self, url: str) -> None:
        super().empty_tables(self.direct(url))

    def direct(self, url: str) -> str:
        """Return the URL of the same database past the pooler."""
        direct = make_url(url).set(host=self._url.host, port=self._url.port)
        return direct.render_as_string(hide_password=False)

    def _wait_for_pooler(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self._port)):
                return
            if not self._pooler.is_running or time.monotonic() > deadline:
                raise ServerBrokenError(self._pooler.output)
            time.sleep(0.05)

    def _log_out(self) -> None:
        if hasattr(self, "_pooler"):
            self._pooler.stop()
        super()._log_out()


def postgresql_folders() -> tuple[str, ...]:
    """Return the folders where Debian keeps PostgreSQL's programs, the newest version first."""

    def version(folder: Path) -> float:
        return float(folder.parent.name)

    folders = Path("/usr/lib/postgresql").glob("*/bin")
    return tuple(str(folder) for folder in sorted(folders, key=version, reverse=True))
