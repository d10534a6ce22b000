"""Ctrl-C and SIGTERM while a command waits for a locked SQLite file."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.command_line.interrupting import STATUS, Running, interrupt, locked_file
from tests.command_line.test_signals import both_signals, require_one_line
from tests.host.commands import _SETTINGS, HELLO_STORAGE

KINDS = ["IMMEDIATE", "EXCLUSIVE"]


@pytest.mark.parametrize("driver", ["pysqlite", "aiosqlite"])
@pytest.mark.parametrize("kind", KINDS)
@both_signals
def test_waiting_for_a_locked_file_is_interrupted(
    tmp_path: Path, driver: str, kind: str, number: signal.Signals
):
    file = tmp_path / "agents.db"
    with locked_file(file, kind):
        running = Running("slack-agents-db", "upgrade", "--url", f"sqlite+{driver}:///{file}")
        ended = interrupt(running, number, lambda: running.has_open(file))
    assert "unchanged or upgraded completely" in require_one_line(ended, number)


@pytest.mark.parametrize("command", ["alembic upgrade head", "slack-agents-db check"])
def test_alembic_and_check_on_a_locked_file_are_interrupted(tmp_path: Path, command: str):
    file = tmp_path / "agents.db"
    with locked_file(file, "EXCLUSIVE"):
        running = Running(*command.split(), DATABASE_URL=f"sqlite:///{file}")
        ended = interrupt(running, signal.SIGINT, lambda: running.has_open(file))
    require_one_line(ended, signal.SIGINT)


@pytest.mark.parametrize("command", ["run", "healthcheck"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_framework_that_starts_on_a_locked_file_is_interrupted(
    tmp_path: Path, command: str, kind: str
):
    """The framework reports the interruption; Python ends as one that was interrupted."""
    file = tmp_path / "agents.db"
    with locked_file(file, kind):
        running = Running(
            "slack-agents",
            command,
            HELLO_STORAGE,
            **{**_SETTINGS, "DATABASE_URL": f"sqlite:///{file}"},
        )
        ended = interrupt(running, signal.SIGINT, lambda: running.has_open(file))
    assert ended.status in (-signal.SIGINT, STATUS[signal.SIGINT]), ended
    assert "Exception ignored" not in ended.errors
