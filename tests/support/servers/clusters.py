"""Clusters of database servers: three nodes of Galera, a primary and its standby.

On loopback, or each on a host of its own in a network that can be partitioned.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

import psycopg
import pymysql

from tests.support.servers.postgresql import postgresql_folders
from tests.support.servers.process import (
    LOOPBACK,
    START_SECONDS,
    Place,
    PrivateProcess,
    ServerBrokenError,
    find_programs,
    free_port,
)
from tests.support.servers.programs import ServerMissingError

DATABASE = "agents"


class Seat(NamedTuple):
    """Where a server of a cluster runs.

    Attributes:
        place: As clients see it.
        inner: Address by which the other servers reach it.
    """

    place: Place
    inner: str


HERE = Seat(LOOPBACK, LOOPBACK.address)


class Member:
    """One server of a cluster."""

    def __init__(self, owners: tuple[str, ...], seat: Seat) -> None:
        self.place, self.inner = seat
        self.process = PrivateProcess(owners, self.place)
        self.data = self.process.directory / "data"
        self.port = free_port()

    @property
    def address(self) -> str:
        return f"{self.place.address}:{self.port}"

    def wait_until(self, holds: Callable[[], bool], *refusals: type[Exception]) -> None:
        """Wait until a condition holds that is asked of the server.

        Raises:
            ServerBrokenError: the server ended, or took too long.
        """
        deadline = time.monotonic() + START_SECONDS
        while True:
            with suppress(*refusals):
                if holds():
                    return
            if not self.process.is_running or time.monotonic() > deadline:
                raise ServerBrokenError(self.process.output)
            time.sleep(0.05)


class Cluster[M: Member]:
    """Servers that hold the same rows."""

    scheme: str
    user: str

    def __init__(self, members: list[M]) -> None:
        self.members = members

    def url(self, *members: M) -> str:
        """Return the URL of these members, in this order; of all by default."""
        hosts = "&".join(f"host={member.address}" for member in members or self.members)
        return f"{self.scheme}://{self.user}@/{DATABASE}?{hosts}"

    def stop(self) -> None:
        with ExitStack() as stack:
            for member in self.members:
                stack.callback(member.process.stop)


class Node(Member):
    """A node of a Galera cluster of MariaDB."""

    def __init__(self, seat: Seat) -> None:
        super().__init__(("mysql", "nobody"), seat)
        self.group_port, self._transfer_port, self._catch_up_port = (free_port() for _ in range(3))

    def serve(self, mariadbd: str, library: Path, group: list[Node], *further: str) -> None:
        """Start the node, or start it again."""
        addresses = ",".join(f"{node.inner}:{node.group_port}" for node in group)
        options = ";".join(
            (
                f"gmcast.listen_addr=tcp://{self.inner}:{self.group_port}",
                f"ist.recv_addr={self.inner}:{self._catch_up_port}",
                "gcache.size=16M",
            )
        )
        self.process.serve(
            *(mariadbd, "--no-defaults", f"--datadir={self.data}", f"--port={self.port}"),
            *(() if self.place is LOOPBACK else ("--skip-grant-tables", "--skip-name-resolve")),
            f"--bind-address={self.place.listens_on}",
            f"--socket={self.process.directory / 'socket'}",
            *("--innodb-buffer-pool-size=32M", "--innodb-log-file-size=16M"),
            *("--binlog-format=ROW", "--innodb-autoinc-lock-mode=2", "--wsrep-on=ON"),
            *(f"--wsrep-provider={library}", f"--wsrep-provider-options={options}"),
            *("--wsrep-cluster-name=sa_test", f"--wsrep-cluster-address=gcomm://{addresses}"),
            *(f"--wsrep-node-address={self.inner}", "--wsrep-sst-method=rsync"),
            f"--wsrep-sst-receive-address={self.inner}:{self._transfer_port}",
            *further,
            stop_signal=signal.SIGTERM,
        )
        self.wait_until(self._is_synced, pymysql.MySQLError)

    def ask(self, statement: str) -> tuple[tuple[Any, ...], ...]:
        """Run a statement on this node and return its rows."""
        login = pymysql.connect(
            host=self.place.address, port=self.port, user="root", autocommit=True
        )
        with login, login.cursor() as cursor:
            cursor.execute(statement)
            rows: tuple[tuple[Any, ...], ...] = cursor.fetchall()
            return rows

    @property
    def conflicts(self) -> int:
        """How many of its writes the node undid because one on another node was first."""
        status = dict(self.ask("SHOW STATUS LIKE 'wsrep_local_%'"))
        return int(status["wsrep_local_cert_failures"]) + int(status["wsrep_local_bf_aborts"])

    def _is_synced(self) -> bool:
        [(_, state)] = self.ask("SHOW STATUS LIKE 'wsrep_local_state_comment'")
        return bool(state == "Synced")


class Galera(Cluster[Node]):
    """Three nodes of MariaDB that all take writes."""

    scheme, user = "mariadb", "root"

    @classmethod
    def start(cls, seats: Iterable[Seat] = (HERE, HERE, HERE)) -> Self:
        """Start the first node as a new cluster, and have the others copy it."""
        programs = find_programs("mariadb-install-db", "mariadbd", "rsync")
        library = next(Path("/usr/lib").glob("**/galera/libgalera_smm.so"), None) or next(
            Path("/usr/lib").glob("galera/libgalera_smm.so"), None
        )
        if programs is None or library is None:
            raise ServerMissingError(
                "Galera is not installed: apt-get install mariadb-server galera-4 rsync"
            )
        install, mariadbd, _ = programs
        cluster = cls([Node(seat) for seat in seats])
        first, *others = cluster.members
        with ExitStack() as stack:
            stack.callback(cluster.stop)
            first.process.run(
                *(install, "--no-defaults", f"--datadir={first.data}", "--skip-test-db"),
                "--auth-root-authentication-method=normal",
            )
            first.serve(mariadbd, library, cluster.members, "--wsrep-new-cluster")
            for node in others:
                node.process.run("mkdir", str(node.data))
                node.serve(mariadbd, library, cluster.members)
            first.ask(f"CREATE DATABASE {DATABASE}")
            stack.pop_all()
        cluster._programs = (mariadbd, library)
        return cluster

    _programs: tuple[str, Path]

    def bring_back(self, node: Node) -> None:
        """Start a node again that was killed."""
        node.serve(*self._programs, self.members)


class Standby(Member):
    """A server of PostgreSQL, the primary or its standby."""

    def __init__(self, seat: Seat) -> None:
        super().__init__(("postgres", "nobody"), seat)

    def serve(self, postgres: str) -> None:
        """Start the server."""
        self.process.serve(
            *(postgres, "-D", str(self.data), "-h", self.place.listens_on),
            *("-p", str(self.port), "-k", ""),
            *("-c", "fsync=off"),  # a process dies here, never the machine
            stop_signal=signal.SIGINT,
        )
        self.wait_until(lambda: self.ask("SELECT 1") == [(1,)], psycopg.Error)

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement on this server and return its rows."""
        with psycopg.connect(
            host=self.place.address,
            port=self.port,
            user="postgres",
            dbname="postgres",
            autocommit=True,
        ) as login:
            cursor = login.execute(statement)
            return cursor.fetchall() if cursor.description else []


class Replication(Cluster[Standby]):
    """A primary of PostgreSQL, and the standby that it waits for at every commit."""

    scheme, user = "postgresql", "postgres"

    @classmethod
    def start(cls, seats: Iterable[Seat] = (HERE, HERE)) -> Self:
        """Start a primary, copy it, and start the copy as its standby."""
        programs = find_programs(
            "initdb", "postgres", "pg_basebackup", folders=postgresql_folders()
        )
        if programs is None:
            raise ServerMissingError("PostgreSQL is not installed: apt-get install postgresql")
        initdb, postgres, basebackup = programs
        cluster = cls([Standby(seat) for seat in seats])
        primary, standby = cluster.members
        with ExitStack() as stack:
            stack.callback(cluster.stop)
            primary.process.run(
                *(initdb, "--pgdata", str(primary.data), "--username", "postgres"),
                *("--auth", "trust", "--encoding", "UTF8", "--no-locale", "--no-sync"),
            )
            (primary.data / "pg_hba.conf").write_text(
                "host all all all trust\nhost replication all all trust\n"
            )
            primary.serve(postgres)
            primary.ask(f"CREATE DATABASE {DATABASE}")
            standby.process.run(
                *(basebackup, "-h", primary.inner, "-p", str(primary.port), "-U", "postgres"),
                *("-D", str(standby.data), "--write-recovery-conf", "--wal-method=stream"),
                *("--checkpoint=fast", "--no-sync"),
            )
            standby.serve(postgres)
            # After the copy: the standby waits for no other server once it is the primary.
            primary.ask("ALTER SYSTEM SET synchronous_standby_names = '*'")
            primary.ask("SELECT pg_reload_conf()")
            primary.wait_until(
                lambda: primary.ask("SELECT sync_state FROM pg_stat_replication") == [("sync",)],
                psycopg.Error,
            )
            stack.pop_all()
        return cluster

    def promote(self, standby: Standby) -> None:
        """Make the standby the primary, and wait until it is."""
        assert standby.ask("SELECT pg_promote()") == [(True,)]
