"""SQLite files that no migration created (a copy, a script) are switched to WAL at a start."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from functools import cache
from pathlib import Path

import pytest
from sqlalchemy import make_url
from typer.testing import CliRunner

from slack_agents_sqlalchemy import AccessRefusedError, Provider
from slack_agents_sqlalchemy.cli.app import app
from tests.support.sql import scalar

CHECKOUT = Path(__file__).parents[2]

files_only = pytest.mark.parametrize("backend", ["sqlite-file"], indirect=True)
drivers = pytest.mark.parametrize("driver", ["sqlite", "sqlite+aiosqlite"])
modes = pytest.mark.parametrize("migrate", ["auto", "verify", "off"])


def by_vacuum(database_url: str, copy: Path) -> None:
    with closing(sqlite3.connect(str(make_url(database_url).database))) as source:
        source.execute("VACUUM INTO ?", (str(copy),))


def by_sql(_database_url: str, copy: Path) -> None:
    with closing(sqlite3.connect(copy)) as made:
        made.executescript(sql_of_the_migrations())


@cache
def sql_of_the_migrations() -> str:
    return subprocess.run(
        [Path(sys.executable).parent / "alembic", "upgrade", "head", "--sql"],
        cwd=CHECKOUT,
        env={**os.environ, "DATABASE_URL": "sqlite:///agents.db"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.fixture
def copy(database_url: str, tmp_path: Path) -> Path:
    """A file with this version's tables that is not in WAL mode."""
    path = tmp_path / "copy.db"
    by_vacuum(database_url, path)
    assert journal_mode(path) == "delete"
    return path


def journal_mode(path: Path) -> str:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as file:
        [mode] = file.execute("PRAGMA journal_mode").fetchone()
        return str(mode)


@contextmanager
def reader(path: Path) -> Iterator[Callable[[], None]]:
    """Read the file in a transaction that stays open; yield the function that ends it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("BEGIN")
        assert file.execute("SELECT count(*) FROM slack_agents_key_values").fetchall()
        yield file.close


@files_only
@drivers
@modes
@pytest.mark.parametrize("make", [by_vacuum, by_sql])
async def test_a_file_that_no_migration_made_is_written_while_another_process_reads_it(
    database_url: str,
    tmp_path: Path,
    driver: str,
    migrate: str,
    make: Callable[[str, Path], None],
):
    path = tmp_path / "copy.db"
    make(database_url, path)
    storage = Provider(url=f"{driver}:///{path}", migrate=migrate)
    await storage.initialize()
    with reader(path):
        await storage.set("namespace", "key", {"a": 1})
        assert await storage.get("namespace", "key") == {"a": 1}
    assert journal_mode(path) == "wal"
    await storage.close()


@files_only
@drivers
@modes
async def test_a_start_does_not_wait_for_a_reader_and_the_next_one_switches(
    copy: Path, driver: str, migrate: str, caplog: pytest.LogCaptureFixture
):
    storage = Provider(url=f"{driver}:///{copy}", migrate=migrate, command_timeout=3600)
    with reader(copy):
        async with asyncio.timeout(20):  # SQLite would wait for 30 s
            await storage.initialize()
        [warning] = [each for each in caplog.records if each.levelno == logging.WARNING]
        assert "copy.db is not in WAL mode" in warning.getMessage()
        assert journal_mode(copy) == "delete"
        assert await storage.get("namespace", "key") is None
    await storage.set("namespace", "key", {"a": 1})
    assert await settings(storage) == ("delete", 2)
    await storage.close()
    caplog.clear()
    await storage.initialize()
    assert caplog.records == []
    assert await settings(storage) == ("wal", 2)
    assert await storage.get("namespace", "key") == {"a": 1}
    await storage.close()


async def settings(storage: Provider) -> tuple[object, ...]:
    return await scalar(storage, "PRAGMA journal_mode"), await scalar(storage, "PRAGMA synchronous")


@files_only
@pytest.mark.parametrize("blocked", [False, True])
async def test_a_start_that_tries_to_switch_waits_for_locks_as_any_other(
    database_url: str, copy: Path, blocked: bool
):
    waits = []
    for url in (database_url, f"sqlite:///{copy}"):
        storage = Provider(url=url)
        with reader(copy) if blocked else nullcontext():
            await storage.initialize()
        waits.append(await scalar(storage, "PRAGMA busy_timeout"))
        await storage.close()
    assert waits[0] == waits[1] != 0


@files_only
@pytest.mark.parametrize(
    ("option", "level"), [({}, 2), ({"synchronous": "FULL"}, 2), ({"synchronous": "NORMAL"}, 1)]
)
async def test_the_option_synchronous_holds_in_a_file_that_was_switched(
    copy: Path, option: dict[str, str], level: int
):
    storage = Provider(url=f"sqlite:///{copy}", **option)
    await storage.initialize()
    assert await settings(storage) == ("wal", level)
    await storage.close()


@files_only
@drivers
@modes
@pytest.mark.parametrize("parameters", ["mode=ro", "immutable=1", "mode=ro&immutable=1"])
async def test_a_file_that_is_opened_to_be_read_is_read_and_stays_as_it_is(
    copy: Path, driver: str, migrate: str, parameters: str, caplog: pytest.LogCaptureFixture
):
    before = copy.read_bytes()
    storage = Provider(url=f"{driver}:///file:{copy}?{parameters}&uri=true", migrate=migrate)
    await storage.initialize()
    assert await storage.get("namespace", "key") is None
    with pytest.raises(AccessRefusedError):
        await storage.set("namespace", "key", {"a": 1})
    await storage.close()
    assert copy.read_bytes() == before
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


@files_only
@pytest.mark.parametrize("command", ["check", "current"])
def test_a_command_that_changes_nothing_switches_nothing(copy: Path, command: str):
    before = copy.read_bytes()
    done = CliRunner().invoke(app, [command, "--url", f"sqlite:///{copy}"])
    assert done.exit_code == 0
    assert copy.read_bytes() == before


@files_only
async def test_a_start_on_a_file_in_wal_mode_asks_for_no_lock(database_url: str):
    storage = Provider(url=database_url)
    with closing(sqlite3.connect(str(make_url(database_url).database))) as writer:
        writer.execute("BEGIN IMMEDIATE")
        async with asyncio.timeout(20):
            await storage.initialize()
        assert await storage.get("namespace", "key") is None
    await storage.close()
