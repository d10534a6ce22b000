"""MySQL and MariaDB."""

from __future__ import annotations

import signal
import subprocess
from abc import abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Self

import pymysql
from sqlalchemy import URL, make_url

from tests.support.servers.process import (
    LOOPBACK,
    Place,
    PrivateProcess,
    find_programs,
    free_port,
    make_certificate,
    stopped_on_error,
)
from tests.support.servers.programs import ServerMissingError, from_debian
from tests.support.servers.server import CONNECT_SECONDS, VERSION_TABLE, Server


class _MySQLFamily(Server):
    """MySQL or MariaDB."""

    scheme: ClassVar[str]
    accounts: ClassVar[tuple[str, ...]] = ("mysql", "nobody")
    #: The certificate of a private server that takes encrypted connections too.
    certificate: Path | None = None

    def __init__(self, url: URL) -> None:
        super().__init__(url.set(drivername=self.scheme))
        self._admin = pymysql.connect(
            host=url.host or "127.0.0.1",
            port=url.port or 3306,
            user=url.username,
            password=url.password or "",
            connect_timeout=CONNECT_SECONDS,
            autocommit=True,
        )
        self._execute("SET SESSION lock_wait_timeout = 10, innodb_lock_wait_timeout = 10")
        [(version,)] = self._execute("SELECT VERSION()")
        if ("MariaDB" in version) is not (self.scheme == "mariadb"):
            self._admin.close()
            raise OtherServerError(f"{self.scheme} was looked for, and {version} answers")

    @classmethod
    def start(cls, *, tls: bool = False, durable: bool = False, place: Place = LOOPBACK) -> Self:
        port = free_port()
        process = PrivateProcess(owners=cls.accounts, place=place)
        folder = process.directory / "data"
        with stopped_on_error(process):
            server_command = cls._prepare(process, folder)
            everywhere = process.directory / "root.sql"
            everywhere.write_text(
                "CREATE USER IF NOT EXISTS root@'%';\n"
                "GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;\n"
            )
            certificate = make_certificate(process, folder) if tls else None
            encryption = (f"--ssl-cert={folder}/server.crt", f"--ssl-key={folder}/server.key")
            process.serve(
                *server_command,
                *(f"--datadir={folder}", f"--port={port}", f"--bind-address={place.listens_on}"),
                *(f"--init-file={everywhere}", "--skip-name-resolve"),
                *(f"--socket={process.directory / 'socket'}", f"--pid-file={folder / 'pid'}"),
                *(encryption if tls else ()),
                *(
                    f"--innodb-flush-log-at-trx-commit={2 if durable else 0}",
                    "--innodb-buffer-pool-size=64M",
                    # The default refuses the largest texts of the tests.
                    "--max-allowed-packet=256M",
                    "--skip-log-bin",
                    "--secure-file-priv=",
                ),
                stop_signal=signal.SIGTERM,
            )
        server = cls._log_in_when_ready(f"{cls.scheme}://root@{place.address}:{port}", process)
        server.certificate = certificate
        return server

    @classmethod
    @abstractmethod
    def _prepare(cls, process: PrivateProcess, folder: Path) -> tuple[str, ...]:
        """Make the data of a new server in a folder; return the words that start the server."""

    def empty_tables(self, url: str) -> None:
        name = str(make_url(url).database)
        tables = self._execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = %s"
            " AND table_name LIKE 'slack\\_agents\\_%%' AND table_name <> %s",
            (name, VERSION_TABLE),
        )
        # DELETE, because TRUNCATE is DDL and takes ten times as long on few rows.
        self._execute("SET SESSION foreign_key_checks = 0")
        self._admin.begin()
        for (table,) in tables:
            self._execute(f"DELETE FROM `{name}`.`{table}`")
        self._admin.commit()
        self._execute("SET SESSION foreign_key_checks = 1")

    def _create(self, name: str) -> None:
        self._execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")

    def _drop(self, name: str) -> None:
        self._execute(f"DROP DATABASE IF EXISTS `{name}`")

    def _log_out(self) -> None:
        with suppress(*self.refusals):  # see PostgreSQL
            self._admin.close()

    def _execute(self, statement: str, parameters: tuple[str, ...] | None = None) -> list[Any]:
        with self._admin.cursor() as cursor:
            cursor.execute(statement, parameters)
            return list(cursor.fetchall())


class OtherServerError(Exception):
    """A server of another kind answers."""


class MariaDB(_MySQLFamily):
    """MariaDB."""

    scheme = "mariadb"
    variable = "SLACK_AGENTS_TEST_MARIADB_URL"
    usual_urls = ("mariadb://root@127.0.0.1:3306",)
    refusals = (OSError, pymysql.MySQLError, OtherServerError)

    @classmethod
    def _prepare(cls, process: PrivateProcess, folder: Path) -> tuple[str, ...]:
        programs = find_programs("mariadb-install-db", "mariadbd")
        if programs is None:
            raise ServerMissingError("MariaDB is not installed: apt-get install mariadb-server")
        install, mariadbd = programs
        process.run(
            *(install, "--no-defaults", f"--datadir={folder}", "--skip-test-db"),
            "--auth-root-authentication-method=normal",
        )
        return mariadbd, "--no-defaults"


class MySQL(_MySQLFamily):
    """MySQL: an installed one, else Debian's."""

    scheme = "mysql"
    variable = "SLACK_AGENTS_TEST_MYSQL_URL"
    usual_urls = ("mysql://root@127.0.0.1:3306",)
    refusals = (OSError, pymysql.MySQLError, OtherServerError)

    @classmethod
    def _prepare(cls, process: PrivateProcess, folder: Path) -> tuple[str, ...]:
        mysqld = cls.command()
        process.run(*mysqld, "--initialize-insecure", f"--datadir={folder}")
        return (*mysqld, "--mysqlx=OFF", "--innodb-doublewrite=OFF")

    @classmethod
    def command(cls) -> tuple[str, ...]:
        """Return the words that run MySQL's server.

        Raises:
            ServerMissingError: It is not installed, nor to be fetched.
        """
        for mysqld in find_programs("mysqld") or ():  # MariaDB's may have that name
            printed = subprocess.run([mysqld, "--version"], check=False, capture_output=True)
            if b"MariaDB" not in printed.stdout:
                return mysqld, "--no-defaults"
        unpacked = from_debian("mysql")
        share = unpacked.root / "usr/share/mysql"
        return (
            *unpacked.command("usr/sbin/mysqld"),
            *("--no-defaults", f"--basedir={unpacked.root / 'usr'}"),
            *(f"--lc-messages-dir={share}", f"--character-sets-dir={share / 'charsets'}"),
            f"--plugin-dir={unpacked.root / 'usr/lib/mysql/plugin'}",
        )
