"""`slack-agents-db verify-backend`: the contract suite beside a user's tables, which it keeps."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, inspect, make_url

from slack_agents_sqlalchemy import Provider
from tests.command_line.interrupting import STATUS, Ended, Running, interrupt, log_in
from tests.conftest import skip
from tests.dialects.test_unknown_dialects import plain
from tests.migrations.schema import run_on
from tests.support import sql
from tests.support.servers import PgBouncer, ServerMissingError
from tests.support.unknown_dialects import register

SOME = "heartbeat_replaces or stay_in_its_order"

VERIFY = """
import sys
from tests.support.unknown_dialects import register
from slack_agents_sqlalchemy.cli.app import app

register()
app(["verify-backend", *sys.argv[1:]])
"""


def verify(url: str, *arguments: str, script: str = VERIFY, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", script, url, *arguments],
        cwd=Path(__file__).parents[2],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def schemas_and_tables(connection: Connection) -> Any:
    inspector = inspect(connection)
    return inspector.get_schema_names(), inspector.get_table_names()


@pytest.mark.durable
async def test_rows_stay_and_nothing_is_left_behind(fresh_url: str, tmp_path: Path):
    storage = Provider(url=fresh_url)
    await storage.initialize()
    await storage.set("plugin", "key", {"mine": True})
    await storage.upsert_heartbeat("agent", 1.0)
    _, tables = await sql.run(storage, schemas_and_tables)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    status, output = verify(fresh_url, "-k", SOME, TMPDIR=str(temporary))
    assert status == 0, output
    assert "tests passed" in output
    schemas, tables_after = await sql.run(storage, schemas_and_tables)
    assert tables_after == tables
    assert [schema for schema in schemas if schema in output.split()] == []
    assert list(temporary.iterdir()) == []
    assert fresh_url.startswith("sqlite") or " in slack_agents_verify_" in output
    assert await storage.query("plugin", {}) == [{"mine": True}]
    assert sum((await storage.count_rows()).values()) == 2
    await storage.close()


@pytest.mark.durable
@pytest.mark.parametrize("number", list(STATUS), ids=lambda number: number.name)
def test_a_signal_ends_it_with_one_line_and_nothing_is_left_behind(
    fresh_url: str, tmp_path: Path, number: signal.Signals
):
    if fresh_url.startswith("sqlite"):
        (tmp_path / "fresh.db").touch()
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    before = run_on(fresh_url, schemas_and_tables)
    running = Running("slack-agents-db", "verify-backend", fresh_url, TMPDIR=str(temporary))
    ended = interrupt(running, number, lambda: running.says(": closing"))
    assert_interrupted(ended, number)
    after = run_on(fresh_url, schemas_and_tables)
    assert after[1] == before[1]
    assert [each for each in after[0] if each in ended.output] == [
        each for each in before[0] if each in ended.output
    ]
    assert list(temporary.iterdir()) == []


def assert_interrupted(ended: Ended, number: signal.Signals) -> None:
    assert ended.status == STATUS[number], ended
    assert "passed" not in ended.output
    (line,) = ended.errors.splitlines()
    assert line.startswith("Interrupted: ")
    assert line.endswith("tests were run; nothing is left behind")


@pytest.mark.durable
async def test_without_temporary_databases_the_tables_are_created_and_dropped(fresh_url: str):
    url = plain(fresh_url)
    register()
    status, output = verify(url, "-k", SOME)
    assert status == 0, output
    assert run_on(fresh_url, schemas_and_tables)[1] == []


@pytest.mark.parametrize("backend", ["sqlite-file"], indirect=True)
async def test_without_temporary_databases_a_database_with_tables_is_refused(fresh_url: str):
    storage = Provider(url=fresh_url)
    await storage.initialize()
    await storage.set("plugin", "key", {"mine": True})
    status, output = verify(plain(fresh_url), "-k", SOME)
    assert status == 1
    assert "name an empty database" in output
    assert await storage.get("plugin", "key") == {"mine": True}
    await storage.close()


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["sqlite:///{}/agents.db", "-k", "no_such_test"], 2, "no name matches"),
        (["sqlite:///{}/agents.db", "-k", "a b ("], 2, "-k is no expression"),
        (["sqlite:///{}/none/agents.db", "-k", SOME], 0, "tests passed"),  # it is not even opened
        (["sqlite:///:memory:", "-k", "test_lifecycle"], 0, "left out, as they need a file"),
        (["postgresql://someone@127.0.0.1:1/agents"], 1, "cannot reach"),
        (["nonsense"], 2, "the URL is not a database URL"),
    ],
)
def test_the_exit_status_tells_what_was_verified(
    tmp_path: Path, arguments: list[str], status: int, says: str
):
    done = verify(*(argument.format(tmp_path) for argument in arguments))
    assert done[0] == status, done
    assert says in done[1]


def test_pytest_settings_of_the_user_are_ignored():
    done = verify("sqlite:///agents.db", "-k", SOME, PYTEST_ADDOPTS="--no-such-option")
    assert done[0] == 0, done


def test_a_database_that_cannot_hold_the_schema_is_refused_before_the_tests(tmp_path: Path):
    pytest.importorskip("duckdb_engine")
    status, output = verify(f"duckdb:///{tmp_path}/agents.duckdb")
    assert status == 1
    assert "duckdb cannot hold the schema" in output
    assert "bad input" not in output


FAILING = """
from sqlalchemy import Engine, event

def fail(connection, cursor, statement, *_):
    if statement.startswith("DELETE FROM slack_agents_"):
        raise RuntimeError("no row is deleted here")

event.listen(Engine, "before_cursor_execute", fail)
"""


def test_an_error_that_repeats_stops_the_tests():
    status, output = verify("sqlite:///agents.db", script=FAILING + VERIFY)
    assert status == 1
    assert "stopped after 5 times the same error, RuntimeError" in output


@pytest.fixture
def ignoring_pooler() -> Iterator[PgBouncer]:
    """A pooler that accepts a client's search path, and does not set it."""
    try:
        pooler = PgBouncer.find()
    except ServerMissingError as missing:
        skip(missing)
    try:
        settings = pooler._pooler.directory / "pgbouncer.ini"
        pooler._pooler.end()
        with settings.open("a") as file:
            file.write("ignore_startup_parameters = options, search_path\n")
        pooler._pooler.begin_again()
        yield pooler
    finally:
        pooler.close()


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg", "psycopg2"])
@pytest.mark.parametrize("has_rows", [True, False])
def test_a_server_that_ignores_the_schema_is_refused_and_the_users_rows_stay(
    ignoring_pooler: PgBouncer, driver: str, has_rows: bool
):
    url = ignoring_pooler.create_database()
    direct = (
        make_url(url)
        .set(host=ignoring_pooler._url.host, port=ignoring_pooler._url.port)
        .render_as_string(hide_password=False)
    )
    if has_rows:
        asyncio.run(store(direct))
    before = contents(direct)
    status, output = verify(url.replace("postgresql", f"postgresql+{driver}", 1), "-k", SOME)
    assert (status, contents(direct)) == (1, before), output
    assert "search path" in output
    assert "slack_agents_verify" not in str(before)


async def store(url: str) -> None:
    storage = Provider(url=url)
    await storage.initialize()
    await storage.set("plugin", "key", {"mine": True})
    await storage.close()


def contents(url: str) -> Any:
    """Return the tables of a database, in all schemas, and the user's rows."""
    with closing(log_in(url)) as connection, closing(connection.cursor()) as cursor:
        cursor.execute(
            "SELECT table_schema, table_name FROM information_schema.tables"
            " WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2"
        )
        tables = cursor.fetchall()
        if not tables:
            return [], []
        cursor.execute("SELECT * FROM slack_agents_key_values")
        return tables, cursor.fetchall()
