"""Observe a database on another connection: what calls leave, and a lock for which they wait."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import NullPool, create_engine, make_url
from sqlalchemy.exc import OperationalError

from tests.support.sql import synchronous

SETTLED = 10.0  # seconds within which a server has noticed what was given up
# Seconds. InnoDB lists its transactions anew only if nobody has read the list for 0.1 s.
_REFRESH = 0.15

# The transactions that the server holds open for others in this database, and what it runs.
_LEFT = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND pid <> pg_backend_pid() AND (state <> 'idle' OR xact_start IS NOT NULL)",
    "mariadb": "SELECT count(*) FROM information_schema.processlist LEFT JOIN"
    " information_schema.innodb_trx ON trx_mysql_thread_id = id WHERE db = DATABASE()"
    " AND id <> CONNECTION_ID() AND (command <> 'Sleep' OR trx_id IS NOT NULL)",
}
_LEFT["mysql"] = _LEFT["mariadb"].replace("information_schema.p", "performance_schema.p")
# Those that wait for another one's lock.
_WAITING = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND wait_event_type = 'Lock'",
    "mariadb": "SELECT count(*) FROM information_schema.innodb_trx JOIN"
    " information_schema.processlist ON trx_mysql_thread_id = id WHERE db = DATABASE()"
    " AND trx_state = 'LOCK WAIT'",
}
_WAITING["mysql"] = _WAITING["mariadb"].replace("information_schema.p", "performance_schema.p")
_OTHERS = {
    "postgresql": "SELECT pid FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    "mariadb": "SELECT id FROM information_schema.processlist"
    " WHERE db = DATABASE() AND id <> CONNECTION_ID()",
    "mysql": "SELECT id FROM performance_schema.processlist"
    " WHERE db = DATABASE() AND id <> CONNECTION_ID()",
}
_KILL = {
    "postgresql": "SELECT pg_terminate_backend({})",
    "mariadb": "KILL {}",
    "mysql": "KILL {}",
}
_DATABASE_LOCK = {
    "postgresql": "LOCK TABLE slack_agents_key_values NOWAIT",
    "mariadb": "LOCK TABLES slack_agents_key_values WRITE NOWAIT",
    "mysql": "SELECT 1 FROM slack_agents_key_values FOR UPDATE NOWAIT",
    "sqlite": "BEGIN EXCLUSIVE",
}


class Observer:
    """A connection of its own for each look, past the provider."""

    def __init__(self, url: str) -> None:
        self._name = make_url(url).get_backend_name()
        arguments = {"timeout": 0} if self._name == "sqlite" else {}
        self._engine = create_engine(
            synchronous(url),
            poolclass=NullPool,
            connect_args=arguments,
        )

    @contextmanager
    def holding_a_row(self) -> Iterator[None]:
        """Keep every writer of the stored values waiting."""
        with self._engine.begin() as connection:
            connection.exec_driver_sql("UPDATE slack_agents_key_values SET namespace = namespace")
            yield

    def transactions_left(self) -> int:
        """Wait until no transaction of others is open; return how many still are."""
        deadline = time.monotonic() + SETTLED
        while (left := self._transactions()) and time.monotonic() < deadline:
            time.sleep(_REFRESH)
        return left

    def waiting(self) -> int:
        """Wait until no session waits for a lock in this database; return how many still do."""
        deadline = time.monotonic() + SETTLED
        while (left := self._waiting()) and time.monotonic() < deadline:
            time.sleep(_REFRESH)
        return left

    def is_waiting(self) -> bool:
        """Return whether somebody waits for a lock in this database; callers ask repeatedly."""
        time.sleep(_REFRESH)
        return self._waiting() > 0

    def _waiting(self) -> int:
        if self._name == "sqlite":
            return 0  # a file has no list of sessions
        with self._engine.connect() as connection:
            return int(connection.exec_driver_sql(_WAITING[self._name]).scalar_one())

    def sessions(self) -> int:
        """Return how many sessions others have in this database."""
        if self._name == "sqlite":
            return 0
        with self._engine.connect() as connection:
            return len(connection.exec_driver_sql(_OTHERS[self._name]).all())

    def nothing_is_left(self) -> None:
        """Wait until there is no transaction; then no lock may be held either."""
        assert self.transactions_left() == 0
        with self._engine.connect() as connection:
            connection.exec_driver_sql(_DATABASE_LOCK[self._name])

    def kill_connections(self) -> int:
        """End every other connection to the database; return how many there were."""
        killed = 0
        with self._engine.connect() as connection:
            for (number,) in connection.exec_driver_sql(_OTHERS[self._name]).all():
                try:
                    connection.exec_driver_sql(_KILL[self._name].format(number))
                except OperationalError:  # it has ended by itself
                    continue
                killed += 1
        return killed

    def _transactions(self) -> int:
        with self._engine.connect() as connection:
            if self._name != "sqlite":
                return int(connection.exec_driver_sql(_LEFT[self._name]).scalar_one())
            try:  # the file can be locked, or not
                connection.exec_driver_sql("BEGIN EXCLUSIVE")
            except OperationalError:
                return 1
            connection.exec_driver_sql("ROLLBACK")
            return 0
