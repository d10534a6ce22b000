"""Other drivers of the SQLite dialect, and encrypted files."""

from __future__ import annotations

import logging
import sqlite3
import sys
import threading
import time
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from slack_agents_sqlalchemy import AccessRefusedError, DriverMissingError, Provider
from tests.support.sql import scalar

SECRET = "sesame with spaces"

drivers = pytest.mark.parametrize("driver", ["sqlite", "sqlite+aiosqlite"])


def connect(database: str) -> sqlite3.Connection:
    """Take only a name, as Turso's driver does."""
    return sqlite3.connect(database, check_same_thread=False)


class Terse(SQLiteDialect_pysqlite):
    """A driver whose ``connect`` takes no further argument."""

    driver = "terse"
    supports_statement_cache = True

    @classmethod
    def import_dbapi(cls) -> Any:
        return SimpleNamespace(**{**vars(sqlite3), "connect": connect})

    def create_connect_args(self, url: Any) -> Any:
        return [url.database], {}


registry.register("sqlite.terse", __name__, "Terse")


async def pragma(storage: Provider, name: str) -> object:
    return await scalar(storage, f"PRAGMA {name}")


async def use(storage: Provider) -> None:
    await storage.initialize()
    conversation = await storage.get_or_create_conversation("agent", "C1", "1.0")
    message = await storage.create_message(conversation, "U1", "Ada", "ada")
    await storage.append_text_block(message, "plain text", is_user=True)
    [(_, [block])] = await storage.get_message_blocks(conversation)
    assert block["content"] == {"text": "plain text"}
    names = ("journal_mode", "synchronous", "foreign_keys")
    assert [await pragma(storage, name) for name in names] == ["wal", 2, 1]


async def test_a_driver_that_takes_only_a_name_waits_for_locks_too(tmp_path: Path):
    storage = Provider(url=f"sqlite+terse:///{tmp_path / 'agents.db'}")
    await use(storage)
    assert await pragma(storage, "busy_timeout") == 30_000
    await storage.close()


async def test_turso_stores_and_reads_a_file_that_is_its_owners_alone(tmp_path: Path):
    pytest.importorskip("turso")
    storage = Provider(url=f"sqlite+turso:///{tmp_path / 'agents.db'}")
    await use(storage)
    assert await pragma(storage, "busy_timeout") == 30_000
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}
    await storage.close()


async def test_sqlcipher_encrypts_the_file_and_shows_the_passphrase_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
):
    pytest.importorskip("sqlcipher3")
    caplog.set_level(logging.DEBUG)
    file = tmp_path / "agents.db"
    url = f"sqlite+pysqlcipher://:{SECRET}@/{file}"
    storage = Provider(url=url, echo=True)
    await use(storage)
    assert SECRET not in repr([storage, vars(storage), storage.engine])
    await storage.close()
    assert b"SQLite format 3" not in file.read_bytes()
    assert b"slack_agents" not in file.read_bytes()
    for wrong in (url.replace(SECRET, f"{SECRET}, wrong"), f"sqlite:///{file}"):
        storage = Provider(url=wrong)
        with pytest.raises(AccessRefusedError, match=r"is encrypted or not.*NOTADB 26") as refused:
            await storage.initialize()
        shown = "".join(traceback.format_exception(refused.value))
        assert SECRET not in shown
        assert "Is its folder there" not in shown
    assert "Check the path" in shown
    assert SECRET not in caplog.text + "".join(capfd.readouterr())


@drivers
@pytest.mark.parametrize("migrate", ["auto", "verify", "off"])
async def test_a_file_that_is_no_database_is_an_error_that_says_so_and_stays_as_it_is(
    tmp_path: Path, driver: str, migrate: str
):
    file = tmp_path / "agents.db"
    file.write_text("These are no tables. " * 100)
    before = file.read_bytes()
    with pytest.raises(AccessRefusedError, match=r"agents\.db is encrypted or not an SQLite data"):
        await Provider(url=f"{driver}:///{file}", migrate=migrate).initialize()
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_without_sqlcipher_the_error_names_the_package_that_is_maintained(
    monkeypatch: pytest.MonkeyPatch,
):
    for module in ("sqlcipher3", "pysqlcipher3"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DriverMissingError, match="pip install 'sqlcipher3-binary'"):
        Provider(url="sqlite+pysqlcipher://:passphrase@/agents.db")


async def test_aiosqlite_that_cannot_open_a_file_leaves_no_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Such a thread reports to the event loop, which may be closed by then: a traceback."""
    core = pytest.importorskip("aiosqlite.core")
    monkeypatch.setattr(core.LOG, "debug", lambda *_: time.sleep(0.2))  # the thread is late
    before = set(threading.enumerate())
    storage = Provider(url=f"sqlite+aiosqlite:///{tmp_path / 'nowhere' / 'agents.db'}")
    with pytest.raises(ConnectionError):
        await storage.initialize()
    late = [thread for thread in set(threading.enumerate()) - before if "_worker" in thread.name]
    assert not [thread for thread in late if "connection" in thread.name]
