"""SQLite files: killed writers, full disks, locks, rights; nothing is lost and each error helps."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import tenacity  # noqa: F401 - imported before the rights of this process are dropped
from sqlalchemy import make_url
from typer.testing import CliRunner

from slack_agents_sqlalchemy import (
    AccessRefusedError,
    ConfigurationError,
    DatabaseFullError,
    DatabaseTimeoutError,
    DatabaseUnavailableError,
    Provider,
)
from slack_agents_sqlalchemy.cli.app import app
from tests.conftest import NewProvider
from tests.support.modes import modes, umask
from tests.support.soak.runs import judge, opened, ours
from tests.support.soak.tally import Tally
from tests.support.soak.writers import Writers
from tests.support.sql import scalar, with_driver

ROUNDS = 2  # each kills two processes
ACKNOWLEDGED = 10  # writes of each kind and process before a kill
NOBODY = 65534

files_only = pytest.mark.parametrize("backend", ["sqlite-file"], indirect=True)
drivers = pytest.mark.parametrize("driver", ["pysqlite", "aiosqlite"])


def path_of(url: str) -> Path:
    return Path(str(make_url(url).database))


@files_only
@pytest.mark.parametrize(("driver", "synchronous"), [("pysqlite", "NORMAL"), ("aiosqlite", "FULL")])
async def test_killed_writers_leave_a_sound_file_with_all_that_was_acknowledged(
    fresh_url: str, driver: str, synchronous: str
):
    storage = ours(synchronous=synchronous)(with_driver(fresh_url, driver))
    async with Writers() as writers:
        for _ in range(ROUNDS):
            first, second = list(await writers.start([storage, storage]))
            await writers.write(ACKNOWLEDGED)
            await writers.kill(first)
            await writers.write(ACKNOWLEDGED)  # nothing of the killed one is in its way
            await writers.kill(second)
            with closing(sqlite3.connect(path_of(fresh_url))) as file:
                assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                assert file.execute("PRAGMA foreign_key_check").fetchall() == []
    async with opened(storage) as direct:
        counts = await judge(writers, direct)
    assert counts.errors == 0
    assert counts.anomalies == Tally().anomalies


@files_only
@drivers
@pytest.mark.parametrize(
    ("option", "level"), [({}, 2), ({"synchronous": "NORMAL"}, 1), ({"synchronous": "FULL"}, 2)]
)
async def test_the_option_synchronous_holds_in_a_new_file_and_in_one_that_is_there(
    fresh_url: str, driver: str, option: dict[str, str], level: int
):
    for _ in ("new", "there"):
        storage = Provider(url=with_driver(fresh_url, driver), **option)
        await storage.initialize()
        found = await scalar(storage, "PRAGMA synchronous")
        await storage.close()
        assert found == level


@drivers
@pytest.mark.parametrize("form", ["sqlite:///{}", "sqlite:///file:{}?uri=true"])
async def test_a_new_file_is_its_owners_alone_with_its_log(tmp_path: Path, driver: str, form: str):
    with umask(0o022):
        storage = Provider(url=with_driver(form.format(tmp_path / "agents.db"), driver))
        await storage.initialize()
        await storage.set("namespace", "key", {"a": 1})
        names = ("agents.db", "agents.db-wal", "agents.db-shm")
        assert modes(tmp_path) == dict.fromkeys(names, 0o600)
        await storage.close()


@pytest.mark.parametrize("command", ["upgrade --url sqlite:///agents.db", "demo --output ."])
def test_a_file_that_a_command_makes_is_its_owners_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
):
    monkeypatch.chdir(tmp_path)
    with umask(0o022):
        assert CliRunner().invoke(app, command.split()).exit_code == 0
    databases = {name: mode for name, mode in modes(tmp_path).items() if ".db" in name}
    assert databases
    assert set(databases.values()) == {0o600}


@files_only
@drivers
async def test_a_file_that_is_there_keeps_its_mode(database_url: str, driver: str):
    file = path_of(database_url)
    file.chmod(0o640)
    with umask(0o022):
        storage = Provider(url=with_driver(database_url, driver))
        await storage.initialize()
        await storage.set("namespace", "key", {"a": 1})
        assert set(modes(file.parent).values()) == {0o640}
        await storage.close()


async def limit_pages(storage: Provider, pages: int) -> None:
    await scalar(storage, f"PRAGMA max_page_count = {pages}")


@files_only
@drivers
async def test_a_full_disk_is_an_error_that_says_so_and_over_when_there_is_room(
    database_url: str, driver: str, new_provider: NewProvider
):
    storage = await new_provider(url=with_driver(database_url, driver))
    conversation = await storage.get_or_create_conversation("agent", "C1", "1.0", "general")
    message = await storage.create_message(conversation, "U1", "Ada", "ada")
    before = await storage.count_rows()
    large = "x" * 1_000_000
    await limit_pages(storage, 1)  # SQLite takes what the file has as the least
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: storage.set("namespace", "key", {"text": large}),
        lambda: storage.append("namespace", "key", {"text": large}),
        lambda: storage.append_text_block(message, large),
        lambda: storage.create_message(conversation, large, large, large),
        lambda: storage.get_or_create_conversation("agent", "C1", large, large),
    ]
    for call in calls:
        with pytest.raises(
            DatabaseFullError, match=r"agents\.db has no disk space left.*free some"
        ):
            await call()
        assert await storage.count_rows() == before
    await limit_pages(storage, 1_000_000)
    for call in calls:
        await call()
    assert await storage.get("namespace", "key") == {"text": large}
    [(_, blocks), _] = await storage.get_message_blocks(conversation)
    assert [block["content"] for block in blocks] == [{"text": large}]


HOLD = """
import sqlite3, sys
file = sqlite3.connect(sys.argv[1], isolation_level=None)
file.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.readline()
file.execute("COMMIT")
"""


@contextmanager
def held_by_another_process(path: Path) -> Iterator[Callable[[], None]]:
    """Have another process lock the file; yields what releases it."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"

        def release() -> None:
            if holder.poll() is None:
                holder.communicate("\n")

        try:
            yield release
        finally:
            release()


@files_only
@drivers
async def test_a_file_that_another_process_holds_is_waited_for(
    database_url: str, driver: str, new_provider: NewProvider
):
    storage = await new_provider(url=with_driver(database_url, driver))
    with held_by_another_process(path_of(database_url)) as release:
        writing = [
            asyncio.create_task(storage.append("namespace", "key", {"n": n})) for n in range(20)
        ]
        done, _ = await asyncio.wait(writing, timeout=0.3)
        assert not done
        release()
        ids = await asyncio.gather(*writing)
    stored = await storage.get_list("namespace", "key")
    assert [item["id"] for item in stored] == ids
    assert [item["n"] for item in stored] == list(range(20))


@files_only
@drivers
async def test_a_file_that_another_process_holds_too_long_is_a_timeout_and_nothing_is_stored(
    database_url: str, driver: str, new_provider: NewProvider
):
    storage = await new_provider(url=with_driver(database_url, driver), command_timeout=0.5)
    with held_by_another_process(path_of(database_url)) as release:
        with pytest.raises(DatabaseTimeoutError):
            await storage.append("namespace", "key", {"n": 1})
        release()
    await storage.append("namespace", "key", {"n": 2})
    assert [item["n"] for item in await storage.get_list("namespace", "key")] == [2]


@drivers
async def test_a_folder_that_was_removed_is_an_error_at_the_next_start_and_is_not_created(
    tmp_path: Path, driver: str
):
    folder = tmp_path / "volume"
    folder.mkdir()
    url = f"sqlite+{driver}:///{folder / 'agents.db'}"
    storage = Provider(url=url)
    await storage.initialize()
    await storage.set("namespace", "key", {"a": 1})
    shutil.rmtree(folder)
    # The system keeps an open file until it is closed: what was acknowledged can still be read.
    assert await storage.get("namespace", "key") == {"a": 1}
    await storage.close()
    with pytest.raises(DatabaseUnavailableError, match="Is its folder there"):
        await storage.initialize()
    assert not folder.exists()
    folder.mkdir()
    await storage.initialize()
    await storage.set("namespace", "key", {"a": 2})
    assert await storage.get("namespace", "key") == {"a": 2}
    await storage.close()


@files_only
@drivers
async def test_a_read_only_database_is_read_and_a_write_says_what_to_check(
    database_url: str, driver: str
):
    writer = Provider(url=database_url)
    await writer.initialize()
    await writer.set("namespace", "key", {"a": 1})
    reader = Provider(url=f"sqlite+{driver}:///file:{path_of(database_url)}?mode=ro&uri=true")
    await reader.initialize()
    assert await reader.get("namespace", "key") == {"a": 1}
    with pytest.raises(AccessRefusedError, match="rights of this process on the file"):
        await reader.set("namespace", "key", {"a": 2})
    assert await reader.get("namespace", "key") == {"a": 1}
    await reader.close()
    await writer.close()


@pytest.fixture
def folder_of_nobody() -> Iterator[Path]:
    """A folder where this process has no more rights than the folder's mode gives."""
    with tempfile.TemporaryDirectory() as name:
        if os.geteuid() != 0:
            yield Path(name)
            return
        os.chown(name, NOBODY, NOBODY)
        os.seteuid(NOBODY)
        try:
            yield Path(name)
        finally:
            os.seteuid(0)


@drivers
async def test_a_folder_that_may_not_be_written_to_is_an_error_that_says_so(
    folder_of_nobody: Path, driver: str
):
    folder_of_nobody.chmod(0o500)
    storage = Provider(url=f"sqlite+{driver}:///{folder_of_nobody / 'agents.db'}")
    with pytest.raises(DatabaseUnavailableError, match="may this process write to it"):
        await storage.initialize()
    assert list(folder_of_nobody.iterdir()) == []
    folder_of_nobody.chmod(0o700)
    await storage.initialize()
    await storage.set("namespace", "key", {"a": 1})
    await storage.close()


@drivers
async def test_a_file_that_may_not_be_written_to_is_an_error_that_says_so_and_stays_as_it_is(
    folder_of_nobody: Path, driver: str
):
    file = folder_of_nobody / "agents.db"
    storage = Provider(url=f"sqlite+{driver}:///{file}")
    await storage.initialize()
    await storage.set("namespace", "key", {"a": 1})
    await storage.close()
    before = file.read_bytes()
    file.chmod(0o400)
    await storage.initialize()
    with pytest.raises(AccessRefusedError, match="rights of this process on the file"):
        await storage.set("namespace", "key", {"a": 2})
    await storage.close()
    assert file.read_bytes() == before
    for each in folder_of_nobody.iterdir():  # SQLite gave its log the mode of the file
        each.chmod(0o600)
    await storage.initialize()
    await storage.set("namespace", "key", {"a": 2})
    await storage.close()


@drivers
@pytest.mark.parametrize("what", ["file", "folder"])
async def test_a_file_that_is_not_in_wal_mode_is_read_where_it_may_not_be_switched(
    folder_of_nobody: Path, driver: str, what: str, caplog: pytest.LogCaptureFixture
):
    file = folder_of_nobody / "agents.db"
    storage = Provider(url=f"sqlite+{driver}:///{file}")
    await storage.initialize()
    await storage.set("namespace", "key", {"a": 1})
    await storage.close()
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA journal_mode = DELETE").fetchall() == [("delete",)]
    before = file.read_bytes()
    if what == "file":
        file.chmod(0o400)
    else:
        folder_of_nobody.chmod(0o500)
    await storage.initialize()
    assert await storage.get("namespace", "key") == {"a": 1}
    with pytest.raises((AccessRefusedError, DatabaseUnavailableError)):
        await storage.set("namespace", "key", {"a": 2})
    assert await storage.get("namespace", "key") == {"a": 1}
    await storage.close()
    assert caplog.records == []
    assert file.read_bytes() == before
    folder_of_nobody.chmod(0o700)


@pytest.mark.parametrize("value", ["OFF", "full", False, 2, "EXTRA", ["FULL"]], ids=str)
def test_a_level_of_synchronous_that_is_none_is_an_error_that_lists_them(value: object):
    with pytest.raises(ConfigurationError, match="'synchronous' must be NORMAL or FULL"):
        Provider(url="sqlite://", synchronous=value)


@pytest.mark.parametrize("url", ["postgresql://host/agents", "mysql://host/agents"])
def test_synchronous_is_refused_where_it_would_mean_nothing(url: str):
    with pytest.raises(ConfigurationError, match="is for SQLite"):
        Provider(url=url, synchronous="FULL")
