"""Tables that have this package's names and were created by another program."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, MetaData, Table, inspect, make_url
from typer.testing import CliRunner

from slack_agents_sqlalchemy import Provider
from slack_agents_sqlalchemy.cli.app import app
from slack_agents_sqlalchemy.errors import SchemaError, UnsupportedDatabaseError
from slack_agents_sqlalchemy.models import VERSION_TABLE, metadata
from tests.migrations.schema import run_on

pytestmark = pytest.mark.durable

THEIRS = {
    "other columns": "slack_agents_messages (id INTEGER PRIMARY KEY, body VARCHAR(20))",
    "some of our columns": "slack_agents_conversations (id INTEGER PRIMARY KEY)",
    "an additional column": (
        "slack_agents_heartbeats (agent_digest VARCHAR(40) PRIMARY KEY, "
        "last_ping_pong_time FLOAT NOT NULL, agent_name VARCHAR(99) NOT NULL, theirs INTEGER)"
    ),
    "the version table": f"{VERSION_TABLE} (number INTEGER PRIMARY KEY)",
}


def tables(connection: Connection) -> dict[str, list[str]]:
    inspector = inspect(connection)
    return {
        name: [column["name"] for column in inspector.get_columns(name)]
        for name in inspector.get_table_names()
    }


@pytest.mark.parametrize("migrate", ["auto", "verify"])
@pytest.mark.parametrize("theirs", THEIRS.values(), ids=THEIRS)
async def test_a_table_of_another_program_is_an_error_that_names_it_and_nothing_is_created(
    fresh_url: str, migrate: str, theirs: str
):
    run_on(fresh_url, lambda connection: connection.exec_driver_sql(f"CREATE TABLE {theirs}"))
    before = run_on(fresh_url, tables)
    name = theirs.split(maxsplit=1)[0]
    with pytest.raises(SchemaError, match=f"a table {name} that is not this package's") as refused:
        await Provider(url=fresh_url, migrate=migrate).initialize()
    assert all(column in str(refused.value) for column in before[name])
    assert run_on(fresh_url, tables) == before


@pytest.mark.parametrize("command", ["upgrade", "check", "current"])
def test_a_command_reports_a_table_of_another_program_in_one_line(tmp_path: Path, command: str):
    file = tmp_path / "agents.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"CREATE TABLE {THEIRS['other columns']}")
    before = file.read_bytes()
    done = CliRunner().invoke(app, [command, "--url", f"sqlite:///{file}"])
    assert done.exit_code == 1
    assert "slack_agents_messages that is not this package's" in " ".join(done.output.split())
    assert file.read_bytes() == before


async def test_tables_of_an_interrupted_migration_are_this_packages(fresh_url: str):
    def create_some(connection: Connection) -> None:
        metadata.create_all(connection, tables=metadata.sorted_tables[:2])

    run_on(fresh_url, create_some)
    storage = Provider(url=fresh_url)
    await storage.initialize()
    assert set(await storage.count_rows()) == {table.name for table in metadata.sorted_tables}
    await storage.close()
    run_on(fresh_url, lambda connection: Table(VERSION_TABLE, MetaData()).drop(connection))
    await storage.initialize()
    await storage.close()


async def test_a_failed_migration_of_an_unknown_dialect_keeps_the_tables_that_were_there(
    tmp_path: Path,
):
    url = f"sqlite:///{tmp_path / 'agents.db'}"
    storage = Provider(url=make_url(url).set(drivername="plainsqlite"))
    await storage.initialize()
    await storage.set("plugin", "key", {"stored": True})
    await storage.close()

    def break_schema(connection: Connection) -> None:
        connection.exec_driver_sql(f"DROP TABLE {VERSION_TABLE}")
        connection.exec_driver_sql("DROP INDEX ix_slack_agents_key_values")
        # No index of that name can be created now.
        connection.exec_driver_sql("CREATE TABLE ix_slack_agents_key_values (id INTEGER)")

    run_on(url, break_schema)
    with pytest.raises(
        UnsupportedDatabaseError, match="tables are kept, as some were there before"
    ):
        await storage.initialize()
    run_on(url, lambda each: each.exec_driver_sql("DROP TABLE ix_slack_agents_key_values"))
    await storage.initialize()
    assert await storage.get("plugin", "key") == {"stored": True}
    await storage.close()


@pytest.mark.parametrize("backend", ["mariadb"], indirect=True)
async def test_tables_of_an_unknown_dialect_that_change_texts_are_kept_and_refused_again(
    fresh_url: str,
):
    storage = Provider(url=make_url(fresh_url).set(drivername="plainmariadb"))
    await storage.initialize()
    await storage.set("plugin", "key", {"stored": True})
    await storage.close()

    def change_character_set(connection: Connection) -> None:
        connection.exec_driver_sql(f"DROP TABLE {VERSION_TABLE}")
        convert = "ALTER TABLE slack_agents_key_values CONVERT TO CHARACTER SET latin1"
        connection.exec_driver_sql(convert)

    run_on(fresh_url, change_character_set)
    for _ in range(2):
        with pytest.raises(UnsupportedDatabaseError, match=r"emoji .* tables are kept"):
            await storage.initialize()
    count = "SELECT count(*) FROM slack_agents_key_values"
    assert run_on(fresh_url, lambda each: each.exec_driver_sql(count).scalar()) == 1
