"""Ctrl-C and SIGTERM: a command ends with 130 or 143 and one line, and leaves nothing behind."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from tests.command_line.interrupting import (
    DRIVERS,
    STATUS,
    Ended,
    Running,
    Unresponsive,
    interrupt,
    log_in,
    migration_lock,
)
from tests.migrations.schema import run_on, table_names
from tests.support.sql import with_driver

WITH_DRIVERS = [(backend, driver) for backend, drivers in DRIVERS.items() for driver in drivers]

with_drivers = pytest.mark.parametrize(("backend", "driver"), WITH_DRIVERS, indirect=["backend"])
on_servers = pytest.mark.parametrize("backend", list(DRIVERS), indirect=True)
both_signals = pytest.mark.parametrize("number", list(STATUS), ids=lambda number: number.name)


def require_one_line(ended: Ended, number: signal.Signals) -> str:
    """Check how a process ended, and return the line that it printed last."""
    *before, line = ended.errors.splitlines()
    assert ended.status == STATUS[number], ended
    assert line.startswith("Interrupted"), ended
    assert [each for each in before if "waiting for another process" not in each] == []
    return line


@pytest.fixture
def unresponsive() -> Iterator[Unresponsive]:
    server = Unresponsive()
    yield server
    server.close()


@pytest.mark.parametrize(
    ("backend", "driver"), WITH_DRIVERS, ids=[driver for _, driver in WITH_DRIVERS]
)
@pytest.mark.parametrize("command", ["upgrade", "check"])
def test_connecting_to_an_unresponsive_server_is_interrupted(
    unresponsive: Unresponsive, backend: str, driver: str, command: str
):
    url = f"{backend}+{driver}://someone:sesame@127.0.0.1:{unresponsive.port}/agents"
    running = Running("slack-agents-db", command, "--url", url)
    ended = interrupt(running, signal.SIGINT, unresponsive.was_called)
    assert "sesame" not in require_one_line(ended, signal.SIGINT)


@pytest.mark.parametrize("command", ["alembic upgrade head", "slack-agents-db current"])
@both_signals
def test_alembic_and_current_are_interrupted(
    unresponsive: Unresponsive, command: str, number: signal.Signals
):
    url = f"postgresql://someone@127.0.0.1:{unresponsive.port}/agents"
    running = Running(*command.split(), DATABASE_URL=url)
    require_one_line(interrupt(running, number, unresponsive.was_called), number)


@pytest.mark.parametrize("command", ["demo --url", "verify-backend"])
@both_signals
def test_demo_and_verification_are_interrupted(
    unresponsive: Unresponsive, tmp_path: Path, command: str, number: signal.Signals
):
    url = f"postgresql://someone@127.0.0.1:{unresponsive.port}/agents"
    output = ("--output", tmp_path) if "demo" in command else ()
    running = Running("slack-agents-db", *command.split(), url, *output)
    require_one_line(interrupt(running, number, unresponsive.was_called), number)


@with_drivers
@both_signals
def test_waiting_for_the_migration_lock_is_logged_and_interrupted(
    fresh_url: str, driver: str, number: signal.Signals
):
    url = with_driver(fresh_url, driver)
    with migration_lock(fresh_url):
        running = Running("slack-agents-db", "upgrade", "--url", url)
        ended = interrupt(
            running, number, lambda: running.says("waiting for another process that migrates")
        )
    line = require_one_line(ended, number)
    assert ("unchanged or upgraded completely" in line) == fresh_url.startswith("postgresql")
    assert "60 s at most" in ended.errors
    assert run_on(fresh_url, table_names) == []


@on_servers
def test_a_statement_that_waits_for_a_row_is_interrupted(fresh_url: str, tmp_path: Path):
    """The demo writes a heartbeat, whose row another transaction holds."""
    demo = ("slack-agents-db", "demo", "--url", fresh_url, "--output", tmp_path)
    assert Running(*demo).end().status == 0
    with closing(log_in(fresh_url)) as other, closing(other.cursor()) as cursor:
        cursor.execute("BEGIN")
        cursor.execute("UPDATE slack_agents_heartbeats SET last_ping_pong_time = 1.0")
        running = Running(*demo)
        with closing(log_in(fresh_url)) as observer:
            ended = interrupt(running, signal.SIGTERM, lambda: is_blocked(observer, fresh_url))
        cursor.execute("ROLLBACK")
    require_one_line(ended, signal.SIGTERM)


def is_blocked(observer: Any, url: str) -> bool:
    question = (
        "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND"
        " datname = current_database()"
        if url.startswith("postgresql")
        else "SELECT 1 FROM information_schema.processlist WHERE db = DATABASE() AND"
        " info LIKE 'INSERT%slack_agents_heartbeats%'"
    )
    with closing(observer.cursor()) as cursor:
        cursor.execute(question)
        return bool(cursor.fetchall())


@on_servers
def test_a_second_signal_ends_the_process_immediately(fresh_url: str):
    """The thread of a synchronous driver does not end while it waits for the lock."""
    driver = DRIVERS[make_url(fresh_url).get_backend_name()][-1]
    with migration_lock(fresh_url):
        running = Running("slack-agents-db", "upgrade", "--url", with_driver(fresh_url, driver))
        running.wait_until(lambda: running.says("waiting for another process"))
        running.send(signal.SIGTERM)
        running.send(signal.SIGINT)
        assert running.end().status in STATUS.values()
