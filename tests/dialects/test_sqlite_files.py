"""SQLite files: which one a URL names, who may read it, and when it is created."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from slack_agents_sqlalchemy import ConfigurationError, DatabaseUnavailableError, Provider
from slack_agents_sqlalchemy.cli.app import app
from tests.support.modes import modes, umask

drivers = pytest.mark.parametrize("driver", ["sqlite", "sqlite+aiosqlite"])

# What follows the three slashes, and the file that it names in the working directory.
FILES = [
    ("agents.db", "agents.db"),
    ("file:agents.db?uri=true", "agents.db"),
    ("file:agents.db?mode=rwc&uri=true", "agents.db"),
    ("file:agents.db?uri=true&cache=private", "agents.db"),
    ("file:agents.db#fragment?uri=true", "agents.db"),
    ("file:one%2520two.db?uri=true", "one two.db"),
    ("file:one%2500two.db?uri=true", "one"),
    ("one%20two.db", "one two.db"),
    ("file:agents.db", "file:agents.db"),
    ("file::memory:", "file::memory:"),
    ("agents.db?uri=true", "agents.db"),
    ("C:\\agents\\agents.db", "C:\\agents\\agents.db"),
]

IN_MEMORY = [
    "sqlite://",
    "sqlite:///",
    "sqlite:///:memory:",
    "sqlite:///:memory:?uri=true",
    "sqlite:///file::memory:?uri=true",
    "sqlite:///file::memory:?cache=shared&uri=true",
    "sqlite:///file:name?mode=memory&uri=true",
    "sqlite:///file:name?mode=memory&cache=shared&uri=true",
    "sqlite:///file:/name?vfs=memdb&uri=true",
    "sqlite:///file:?uri=true",
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    place = tmp_path / "working directory"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


def by(driver: str, url: str) -> str:
    return url.replace("sqlite:", f"{driver}:", 1)


@drivers
@pytest.mark.parametrize(("named", "file"), FILES)
async def test_the_file_that_a_url_names_is_created_for_its_owner_alone(
    folder: Path, driver: str, named: str, file: str
):
    with umask(0o022):
        storage = Provider(url=f"{driver}:///{named}")
        await storage.initialize()
        await storage.set("namespace", "key", {"a": 1})
        assert modes(folder) == dict.fromkeys((file, f"{file}-wal", f"{file}-shm"), 0o600)
        assert storage.supports_export
        await storage.close()
    storage = Provider(url=f"{driver}:///{named}", migrate="verify")
    await storage.initialize()
    assert await storage.get("namespace", "key") == {"a": 1}
    await storage.close()


@drivers
@pytest.mark.parametrize("form", ["{}", "file:{}?uri=true"])
async def test_the_file_that_a_symbolic_link_names_is_created_for_its_owner_alone(
    folder: Path, tmp_path: Path, driver: str, form: str
):
    volume = tmp_path / "volume"
    volume.mkdir()
    (folder / "agents.db").symlink_to("second")
    (folder / "second").symlink_to(volume / "target.db")
    with umask(0o022):
        storage = Provider(url=f"{driver}:///{form.format('agents.db')}")
        await storage.initialize()
        await storage.set("namespace", "key", {"a": 1})
        names = ("target.db", "target.db-wal", "target.db-shm")
        assert modes(volume) == dict.fromkeys(names, 0o600)
        await storage.close()
    assert sorted(path.name for path in folder.iterdir()) == ["agents.db", "second"]


# Not by aiosqlite: where connecting fails, its thread outlives the event loop, and says so.
@pytest.mark.parametrize("migrate", ["auto", "verify", "off"])
@pytest.mark.parametrize("kind", ["a folder", "a link to itself", "in no folder", "too long"])
async def test_a_path_at_which_no_file_can_be_is_an_error_and_nothing_is_created(
    folder: Path, migrate: str, kind: str
):
    if kind == "a folder":
        Path("agents").mkdir()
    elif kind == "a link to itself":
        Path("agents").symlink_to("agents")
    name = {"in no folder": "none/agents", "too long": "a" * 300}.get(kind, "agents")
    before = sorted(folder.rglob("*"))
    with pytest.raises(DatabaseUnavailableError, match=name):
        await Provider(url=f"sqlite:///{name}", migrate=migrate).initialize()
    assert sorted(folder.rglob("*")) == before


@drivers
@pytest.mark.parametrize("url", IN_MEMORY)
async def test_a_database_in_memory_creates_no_file_and_supports_no_export(
    folder: Path, driver: str, url: str
):
    storage = Provider(url=by(driver, url))
    await storage.initialize()
    await storage.set("namespace", "key", {"a": 1})
    assert await storage.get("namespace", "key") == {"a": 1}
    assert not storage.supports_export
    await storage.close()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("named", [named for named, _ in FILES])
@pytest.mark.parametrize("command", ["check", "current"])
def test_a_command_that_changes_nothing_creates_no_file(folder: Path, command: str, named: str):
    done = CliRunner().invoke(app, [command, "--url", f"sqlite:///{named}"])
    assert done.exit_code == 1
    assert "does not exist: run slack-agents-db upgrade" in " ".join(done.output.split())
    assert list(folder.iterdir()) == []


@drivers
@pytest.mark.parametrize("named", [named for named, _ in FILES])
@pytest.mark.parametrize("migrate", ["verify", "off"])
async def test_verify_and_off_create_no_file(folder: Path, driver: str, named: str, migrate: str):
    storage = Provider(url=f"{driver}:///{named}", migrate=migrate)
    with pytest.raises(DatabaseUnavailableError, match="does not exist"):
        await storage.initialize()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("mode", ["ro", "rw"])
@pytest.mark.parametrize("migrate", ["auto", "verify", "off"])
async def test_a_mode_that_opens_only_what_is_there_creates_no_file(
    folder: Path, mode: str, migrate: str
):
    storage = Provider(url=f"sqlite:///file:agents.db?mode={mode}&uri=true", migrate=migrate)
    with pytest.raises(DatabaseUnavailableError, match=r"agents\.db"):
        await storage.initialize()
    assert list(folder.iterdir()) == []


@drivers
@pytest.mark.parametrize(
    "options", [{"schema": "one"}, {"engine_options": {"poolclass": "NullPool"}}], ids=str
)
async def test_an_invalid_option_creates_no_file(
    folder: Path, driver: str, options: dict[str, Any]
):
    with pytest.raises(ConfigurationError):
        await Provider(url=f"{driver}:///agents.db", **options).initialize()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite://agents.db", "write sqlite:///agents.db (three slashes)"),
        ("sqlite://data/agents.db", "write sqlite:///data/agents.db (three slashes)"),
        ("sqlite+aiosqlite://agents.db", "write sqlite+aiosqlite:///agents.db (three slashes)"),
        ("sqlite:///agents.db?mode=ro", "write sqlite:///file:agents.db?mode=ro&uri=true"),
        ("sqlite:///agents.db?mode=ro&uri=true", "'url' has mode, which SQLite reads in a URI"),
        ("sqlite:///:memory:?cache=shared&uri=true", "'url' has cache"),
        ("sqlite:///agents.db?chace=shared", "'url' has chace, which is no argument of the driver"),
        ("sqlite+aiosqlite:///agents.db?wal=1&timeout=5", "'url' has wal, which is no argument"),
        ("sqlite+pysqlcipher://:secret@/agents.db?kdf_itre=9", "'url' has kdf_itre"),
        ("sqlite://:sesame@/agents.db", "sqlite+pysqlcipher://:passphrase@/agents.db"),
        ("sqlite://ada:sesame@host/agents.db", "has a user or a password"),
    ],
)
def test_a_url_that_sqlite_would_misread_is_an_error_that_says_what_to_write(url: str, says: str):
    with pytest.raises(ConfigurationError, match=re.escape(says)) as refused:
        Provider(url=url)
    assert "sesame" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///agents.db?timeout=5&check_same_thread=false&cached_statements=10",
        "sqlite+aiosqlite:///agents.db?isolation_level=DEFERRED&detect_types=1&uri=false",
        "sqlite+pysqlcipher://:secret@/agents.db?kdf_iter=64000&cipher_page_size=4096",
        "sqlite:///file:agents.db?argument_of_a_vfs=1&uri=true",
    ],
)
def test_a_url_may_have_the_arguments_of_the_driver_and_of_a_vfs(url: str):
    if "pysqlcipher" in url:
        pytest.importorskip("sqlcipher3")
    Provider(url=url)
