"""Tables that bear this package's names and were made by somebody else."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, MetaData, Table, inspect
from typer.testing import CliRunner

from slack_agents_sqlalchemy import Provider
from slack_agents_sqlalchemy.cli.app import app
from slack_agents_sqlalchemy.errors import SchemaError
from slack_agents_sqlalchemy.models import VERSION_TABLE, metadata

pytestmark = pytest.mark.durable

THEIRS = {
    "other columns": "slack_agents_messages (id INTEGER PRIMARY KEY, body VARCHAR(20))",
    "some of our columns": "slack_agents_conversations (id INTEGER PRIMARY KEY)",
    "one column more": (
        "slack_agents_heartbeats (agent_digest VARCHAR(40) PRIMARY KEY, "
        "last_ping_pong_time FLOAT NOT NULL, agent_name VARCHAR(99) NOT NULL, theirs INTEGER)"
    ),
    "the table of versions": f"{VERSION_TABLE} (number INTEGER PRIMARY KEY)",
}


async def run(url: str, operation: Any) -> Any:
    provider = Provider(url=url, migrate="auto")
    await provider._database.open()
    try:
        return await provider._database.run(operation)
    finally:
        await provider.close()


def tables(connection: Connection) -> dict[str, list[str]]:
    inspector = inspect(connection)
    return {
        name: [column["name"] for column in inspector.get_columns(name)]
        for name in inspector.get_table_names()
    }


@pytest.mark.parametrize("migrate", ["auto", "verify"])
@pytest.mark.parametrize("theirs", THEIRS.values(), ids=THEIRS)
async def test_a_table_of_somebody_else_is_an_error_that_names_it_and_nothing_is_made(
    fresh_url: str, migrate: str, theirs: str
):
    await run(fresh_url, lambda connection: connection.exec_driver_sql(f"CREATE TABLE {theirs}"))
    before = await run(fresh_url, tables)
    name = theirs.split(maxsplit=1)[0]
    with pytest.raises(SchemaError, match=f"a table {name} that is not this package's") as refused:
        await Provider(url=fresh_url, migrate=migrate).initialize()
    assert all(column in str(refused.value) for column in before[name])
    assert await run(fresh_url, tables) == before


@pytest.mark.parametrize("command", ["upgrade", "check", "current"])
def test_a_command_tells_of_a_table_of_somebody_else_in_a_line(tmp_path: Path, command: str):
    file = tmp_path / "agents.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"CREATE TABLE {THEIRS['other columns']}")
    before = file.read_bytes()
    done = CliRunner().invoke(app, [command, "--url", f"sqlite:///{file}"])
    assert done.exit_code == 1
    assert "slack_agents_messages that is not this package's" in " ".join(done.output.split())
    assert file.read_bytes() == before


async def test_tables_that_a_migration_left_when_it_was_cut_off_are_this_packages(fresh_url: str):
    def make_some(connection: Connection) -> None:
        metadata.create_all(connection, tables=metadata.sorted_tables[:2])

    await run(fresh_url, make_some)
    storage = Provider(url=fresh_url)
    await storage.initialize()
    assert set(await storage.count_rows()) == {table.name for table in metadata.sorted_tables}
    await storage.close()
    await run(fresh_url, lambda connection: Table(VERSION_TABLE, MetaData()).drop(connection))
    await storage.initialize()
    await storage.close()
