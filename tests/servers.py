"""Database servers for the tests: the one that is named, the one that answers, or a private one.

Each server is looked for in five places, and the first that has one is taken:

1. the URL in its environment variable (of an administrator; anything wrong with it is an error);
2. a server that answers on its usual loopback port without a password;
3. its programs are installed: a private server in a temporary directory, on a free loopback port;
4. programs that `tests.programs` has: PostgreSQL's from a wheel, MySQL's from Debian;
5. none: `ServerMissingError`, whose text says what to install.

Databases get names of their own and are dropped by `Server.close`; no other database is touched.
`SLACK_AGENTS_TEST_PRIVATE_SERVERS=1` skips the second road.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import asyncpg
import pymysql
from sqlalchemy import URL, make_url

from tests.programs import ServerMissingError, from_debian, postgresql_of_wheel

PRIVATE_ONLY = "SLACK_AGENTS_TEST_PRIVATE_SERVERS"
VERSION_TABLE = "slack_agents_alembic_version"
CONNECT_SECONDS = 5
START_SECONDS = 60
STOP_SECONDS = 30


class ServerBrokenError(Exception):
    """A private server was started and did not come up; the text ends with what it printed."""


class Place(NamedTuple):
    """Where a private server runs.

    Attributes:
        address: That it is reached by.
        entered: Context in which a program is to be started to run there.
    """

    address: str
    entered: Callable[[], AbstractContextManager[None]]

    @property
    def listens_on(self) -> str:
        """The address that the server binds to."""
        return self.address if self is LOOPBACK else "0.0.0.0"


LOOPBACK = Place("127.0.0.1", nullcontext)


class Server(ABC):
    """A server on which tests create databases of their own, through one administrator's login."""

    #: Environment variable that names an administrator's URL.
    variable: ClassVar[str]
    #: Administrators' URLs that are tried on this machine.
    usual_urls: ClassVar[tuple[str, ...]]
    #: What connecting raises when nobody is there or the login is refused.
    refusals: ClassVar[tuple[type[Exception], ...]]

    def __init__(self, url: URL) -> None:
        self._url = url
        self._databases: list[str] = []
        #: The server itself, where it is private.
        self.process: PrivateProcess | None = None

    @classmethod
    def find(cls) -> Self:
        """Return a server by the first road that leads to one.

        Raises:
            ServerMissingError: no road does.
            ServerBrokenError: a private server did not come up.
        """
        if named := os.environ.get(cls.variable):
            return cls(make_url(named))
        if os.environ.get(PRIVATE_ONLY) != "1":
            for url in cls.usual_urls:
                with suppress(*cls.refusals):
                    return cls(make_url(url))
        return cls.start()

    @classmethod
    @abstractmethod
    def start(cls, *, durable: bool = False, place: Place = LOOPBACK) -> Self:
        """Start a private server, or raise `ServerMissingError` without its programs.

        Args:
            durable: Whether what it has acknowledged survives when it is killed.
            place: Where.
        """

    def create_database(self) -> str:
        """Create an empty database and return its URL."""
        name = f"sa_test_{os.getpid()}_{secrets.token_hex(4)}"
        self._create(name)
        self._databases.append(name)
        return self._url.set(database=name).render_as_string(hide_password=False)

    def drop_database(self, url: str) -> None:
        """Drop a database that `create_database` made."""
        name = str(make_url(url).database)
        self._databases.remove(name)
        self._drop(name)

    @abstractmethod
    def empty_tables(self, url: str) -> None:
        """Empty every table of the package in this database, but the one with the revision."""

    def close(self) -> None:
        """Drop the databases that are left, log out, and stop the server if it is private."""
        with ExitStack() as stack:
            if self.process:
                stack.callback(self.process.stop)
            stack.callback(self._log_out)
            while self._databases and not self.process:
                self._drop(self._databases.pop())

    @classmethod
    def _log_in_when_ready(cls, url: str, process: PrivateProcess) -> Self:
        """Log in to the private server as soon as it lets us, or stop it and say why it did not."""
        deadline = time.monotonic() + START_SECONDS
        try:
            while True:
                try:
                    server = cls(make_url(url))
                except cls.refusals as refusal:
                    if not process.is_running or time.monotonic() > deadline:
                        raise ServerBrokenError(process.output) from refusal
                    time.sleep(0.05)
                else:
                    server.process = process
                    return server
        except BaseException:
            process.stop()
            raise

    @abstractmethod
    def _create(self, name: str) -> None: ...

    @abstractmethod
    def _drop(self, name: str) -> None: ...

    @abstractmethod
    def _log_out(self) -> None: ...


# Else a session whose client fell silent stays for hours, in a transaction it may be.
_NOTICE_SILENCE = (
    *("-c", "tcp_keepalives_idle=1", "-c", "tcp_keepalives_interval=1"),
    *("-c", "tcp_keepalives_count=3", "-c", "tcp_user_timeout=3s"),
)


class PostgreSQL(Server):
    """PostgreSQL; asyncpg runs on an event loop that only these administrator's calls use."""

    variable = "SLACK_AGENTS_TEST_POSTGRESQL_URL"
    usual_urls = (
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
                *(() if place is LOOPBACK else _NOTICE_SILENCE),
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
            told = subprocess.run([mysqld, "--version"], check=False, capture_output=True)
            if b"MariaDB" not in told.stdout:
                return mysqld, "--no-defaults"
        unpacked = from_debian("mysql")
        share = unpacked.root / "usr/share/mysql"
        return (
            *unpacked.command("usr/sbin/mysqld"),
            *("--no-defaults", f"--basedir={unpacked.root / 'usr'}"),
            *(f"--lc-messages-dir={share}", f"--character-sets-dir={share / 'charsets'}"),
            f"--plugin-dir={unpacked.root / 'usr/lib/mysql/plugin'}",
        )


def make_certificate(process: PrivateProcess, data: Path) -> Path:
    """Give a server a certificate of its own, beside its data; return a copy for the clients."""
    certificate = data / "server.crt"
    process.run(
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
        *("-subj", "/CN=agents", "-addext", "subjectAltName=IP:127.0.0.1"),
        *("-keyout", str(data / "server.key"), "-out", str(certificate)),
    )
    copy = process.directory / "ca.crt"
    shutil.copyfile(certificate, copy)
    process.directory.chmod(0o755)
    return copy


class PrivateProcess:
    """A server program with a temporary directory of its own; `stop` ends one, removes the other.

    Server programs refuse to run as root: root runs them as the first of `owners` that exists.
    """

    def __init__(self, owners: tuple[str, ...], place: Place = LOOPBACK) -> None:
        self._place = place
        self.directory = Path(tempfile.mkdtemp(prefix="sa_test_"))
        self._output = self.directory / "output.txt"
        self._output.touch()
        self._server: subprocess.Popen[bytes] | None = None
        self._stop_signal = signal.SIGTERM
        self._command: tuple[str, ...] = ()
        self._identity: dict[str, Any] = {}
        if os.geteuid() == 0:
            account = next(account_of(owners))
            os.chown(self.directory, account.pw_uid, account.pw_gid)
            self._identity = {
                "user": account.pw_uid,
                "group": account.pw_gid,
                "extra_groups": [],
            }

    def run(self, *command: str) -> None:
        """Run a command of the server to its end."""
        with self._output.open("ab") as output, self._place.entered():
            done = subprocess.run(command, check=False, **self._settings(output))
        if done.returncode != 0:
            raise ServerBrokenError(self.output)

    def serve(self, *command: str, stop_signal: signal.Signals) -> None:
        """Start the server itself; it is ready once it answers."""
        self._stop_signal, self._command = stop_signal, command
        with self._output.open("ab") as output, self._place.entered():
            self._server = subprocess.Popen(command, **self._settings(output))

    def kill(self) -> None:
        """End the server and the processes it started at once, as when its machine dies."""
        self._signal(signal.SIGKILL)
        assert self._server is not None
        self._server.wait()

    def end(self) -> None:
        """End the server in good order; its directory stays."""
        assert self._server is not None
        self._server.send_signal(self._stop_signal)
        self._server.wait(STOP_SECONDS)

    def begin_again(self) -> None:
        """Start the server again that was killed or ended."""
        self.serve(*self._command, stop_signal=self._stop_signal)

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Have the server do nothing meanwhile, as when its machine stands still."""
        self._signal(signal.SIGSTOP)
        yield
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        """Send a signal to the server and the processes it started."""
        assert self._server is not None
        pid = self._server.pid
        os.kill(pid, number)  # first, so that it starts no further one meanwhile
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(child), number)

    @property
    def is_running(self) -> bool:
        """Whether the server has neither failed nor been stopped."""
        return self._server is not None and self._server.poll() is None

    @property
    def output(self) -> str:
        """The last that the programs printed."""
        return self._output.read_text(errors="replace")[-4000:]

    def stop(self) -> None:
        """End the server, by force when it does not listen, and remove its directory."""
        if self._server is not None:
            self._server.send_signal(self._stop_signal)
            try:
                self._server.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _settings(self, output: Any) -> dict[str, Any]:
        return {
            "stdin": subprocess.DEVNULL,
            "stdout": output,
            "stderr": subprocess.STDOUT,
            "cwd": self.directory,
            # A terminal's Ctrl-C is for pytest, which then stops the server in good order.
            "start_new_session": True,
            **self._identity,
        }


def account_of(owners: tuple[str, ...]) -> Iterator[pwd.struct_passwd]:
    """Yield the accounts of this machine that have one of these names."""
    for name in owners:
        with suppress(KeyError):
            yield pwd.getpwnam(name)


def stopped_on_error(process: PrivateProcess) -> ExitStack:
    """Return a context that stops the process when its body raises."""
    stack = ExitStack()

    def stop(error: type[BaseException] | None, *_: object) -> None:
        if error is not None:
            process.stop()

    stack.push(stop)
    return stack


def find_programs(*names: str, folders: tuple[str, ...] = ()) -> list[str] | None:
    """Return the paths of these programs, or None unless all are installed."""
    usual = (os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin")
    search = os.pathsep.join((*folders, *usual))
    paths = [shutil.which(name, path=search) for name in names]
    return None if None in paths else [str(path) for path in paths]


def postgresql_folders() -> tuple[str, ...]:
    """Return the folders where Debian keeps PostgreSQL's programs, the newest version first."""

    def version(folder: Path) -> float:
        return float(folder.parent.name)

    folders = Path("/usr/lib/postgresql").glob("*/bin")
    return tuple(str(folder) for folder in sorted(folders, key=version, reverse=True))


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


FINDERS: dict[str, Callable[[], Server]] = {
    "postgresql": PostgreSQL.find,
    "postgresql-18": PostgreSQL18.find,
    "mariadb": MariaDB.find,
    "mysql": MySQL.find,
    "pgbouncer": PgBouncer.find,
}
