"""`slack-agents-db verify-backend`: the contract suite on a user's database, which stays as is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, inspect

from slack_agents_sqlalchemy import Provider
from tests.dialects.test_generic_road import plain
from tests.generic_road import register

SOME = "heartbeat_replaces or stay_in_its_order"

VERIFY = """
import sys
from tests.generic_road import register
from slack_agents_sqlalchemy.cli import app

register()
app(["verify-backend", *sys.argv[1:]])
"""


def verify(url: str, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", VERIFY, url, *arguments],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def everything(connection: Connection) -> Any:
    inspector = inspect(connection)
    return inspector.get_schema_names(), inspector.get_table_names()


@pytest.mark.durable
async def test_rows_stay_and_nothing_is_left_behind(fresh_url: str):
    storage = Provider(url=fresh_url)
    await storage.initialize()
    await storage.set("plugin", "key", {"mine": True})
    await storage.upsert_heartbeat("agent", 1.0)
    _, tables = await storage._database.run(everything)
    status, output = verify(fresh_url, "-k", SOME)
    assert status == 0, output
    assert "tests passed" in output
    places, tables_after = await storage._database.run(everything)
    assert tables_after == tables
    assert [place for place in places if place in output.split()] == []
    assert fresh_url.startswith("sqlite") or " in slack_agents_verify_" in output
    assert await storage.query("plugin", {}) == [{"mine": True}]
    assert sum((await storage.count_rows()).values()) == 2
    await storage.close()


@pytest.mark.durable
async def test_without_a_scratch_place_the_tables_are_made_and_dropped(fresh_url: str):
    url = plain(fresh_url)
    register()
    status, output = verify(url, "-k", SOME)
    assert status == 0, output
    storage = Provider(url=url, migrate="off")
    await storage.initialize()
    _, tables = await storage._database.run(everything)
    await storage.close()
    assert tables == []


@pytest.mark.parametrize("backend", ["sqlite-file"], indirect=True)
async def test_without_a_scratch_place_tables_that_are_there_are_refused(fresh_url: str):
    storage = Provider(url=fresh_url)
    await storage.initialize()
    await storage.set("plugin", "key", {"mine": True})
    status, output = verify(plain(fresh_url), "-k", SOME)
    assert status == 1
    assert "name an empty database" in output
    assert await storage.get("plugin", "key") == {"mine": True}
    await storage.close()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["sqlite:///{}/agents.db", "-k", "no_such_test"], "this database does not serve"),
        (["sqlite:///{}/none/agents.db", "-k", SOME], "tests passed"),  # it is not even opened
        (["postgresql://someone@127.0.0.1:1/agents"], "cannot reach"),
        (["nonsense"], "is not a database URL"),
    ],
)
def test_what_cannot_be_verified_is_told(tmp_path: Path, arguments: list[str], says: str):
    status, output = verify(*(argument.format(tmp_path) for argument in arguments))
    assert says in output
    assert status == (0 if "passed" in says else 1)
