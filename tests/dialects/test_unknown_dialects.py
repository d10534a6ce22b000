"""The portable fallback: unknown dialects that work, and those that are refused."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, inspect, make_url, text

from slack_agents_sqlalchemy import Provider, UnsupportedDatabaseError
from slack_agents_sqlalchemy.models import TABLE_PREFIX, VERSION_TABLE, metadata
from tests.support.simultaneous import run_at_once
from tests.support.sql import run, synchronous
from tests.support.unknown_dialects import register

CHECKOUT = Path(__file__).parents[2]

# A process prints that it is ready, and continues after a line of input.
INITIALIZE_ON_SIGNAL = """
import asyncio, sys
from tests.support.unknown_dialects import register
from slack_agents_sqlalchemy import Provider

async def main():
    register()
    provider = Provider(url=sys.argv[1])
    print("ready", flush=True)
    sys.stdin.readline()
    await provider.initialize()
    await provider.set("started", sys.argv[2], {})
    await provider.close()

asyncio.run(main())
"""


def plain(url: str) -> str:
    """Return the URL with a dialect name that the package does not know."""
    parsed = make_url(url)
    unknown = parsed.set(drivername=f"plain{parsed.get_backend_name()}")
    return unknown.render_as_string(hide_password=False)


def table_names(url: str) -> list[str]:
    engine = create_engine(synchronous(url))
    names = inspect(engine).get_table_names()
    engine.dispose()
    return [name for name in names if name.startswith(TABLE_PREFIX)]


@pytest.mark.durable
def test_processes_that_start_at_the_same_time_without_a_lock_all_start(fresh_url: str):
    url = plain(fresh_url)
    run_at_once(INITIALIZE_ON_SIGNAL, *((url, str(number)) for number in range(5)))

    async def started() -> int:
        provider = Provider(url=url, migrate="verify")
        await provider.initialize()
        found = await provider.query("started", {})
        await provider.close()
        return len(found)

    assert asyncio.run(started()) == 5


# MySQL keeps the other's statement waiting for the transaction within which this test sends it.
@pytest.mark.parametrize("backend", ["sqlite-file", "postgresql", "mariadb"], indirect=True)
async def test_tables_of_one_process_stay_when_another_creates_the_indexes_first(fresh_url: str):
    """The other process creates each index first, on tables of this one."""
    register()
    url = plain(fresh_url)
    other = create_engine(synchronous(fresh_url))
    overtaken: list[str] = []

    def make_it_first(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.lstrip().startswith("CREATE INDEX") and statement not in overtaken:
            overtaken.append(statement)
            with other.begin() as connection:
                connection.exec_driver_sql(statement)

    storage = Provider(url=url)
    event.listen(Engine, "before_cursor_execute", make_it_first)
    try:
        await storage.initialize()
    finally:
        event.remove(Engine, "before_cursor_execute", make_it_first)
    other.dispose()
    assert len(overtaken) == len(
        [index for table in metadata.tables.values() for index in table.indexes]
    )
    conversation = await storage.get_or_create_conversation("agent", "C1", "1", "general")
    assert await storage.has_conversation("agent", "C1", "1"), conversation
    await storage.close()


@pytest.mark.parametrize("backend", ["mariadb", "mysql"], indirect=True)
async def test_a_database_that_cannot_store_every_character_is_refused_and_left_empty(
    fresh_url: str,
):
    database = make_url(fresh_url).database
    engine = create_engine(synchronous(fresh_url))
    with engine.begin() as connection:
        connection.execute(text(f"ALTER DATABASE {database} CHARACTER SET latin1"))
    engine.dispose()
    with pytest.raises(UnsupportedDatabaseError, match="emoji"):
        await Provider(url=plain(fresh_url)).initialize()
    assert table_names(fresh_url) == []


# A process of its own: when the one that used DuckDB ends, it prints what it thinks it has leaked.
INITIALIZE_DUCKDB = """
import asyncio, sys
from sqlalchemy import create_engine, inspect
from slack_agents_sqlalchemy import Provider, UnsupportedDatabaseError

try:
    asyncio.run(Provider(url=sys.argv[1]).initialize())
except UnsupportedDatabaseError as error:
    print(error)
print("tables:", inspect(create_engine(sys.argv[1])).get_table_names())
"""


def test_a_dialect_that_cannot_hold_the_schema_is_refused_and_left_empty(tmp_path: Path):
    url = f"duckdb:///{tmp_path / 'agents.duckdb'}"
    done = subprocess.run(
        [sys.executable, "-c", INITIALIZE_DUCKDB, url],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    refused, tables = done.stdout.splitlines()
    assert "CASCADE" in refused
    assert tables == "tables: []"


async def test_a_driver_that_does_not_count_rows_works_too(tmp_path: Path):
    register()
    storage = Provider(url=f"uncountedsqlite:///{tmp_path / 'agents.db'}")
    await storage.initialize()
    for number in (1, 2, 2):
        await storage.set("plugin", "key", {"n": number})
    await asyncio.gather(*(storage.set("plugin", "raced", {"n": n}) for n in range(20)))
    assert await storage.get("plugin", "key") == {"n": 2}
    assert len(await storage.query("plugin", {})) == 2
    conversation = await storage.get_or_create_conversation("agent", "C1", "1", "general")
    message = await storage.create_message(conversation, "U1", "Ada", "ada")
    await storage.append_text_block(message, "hello")
    with pytest.raises(LookupError):
        await storage.append_text_block(message + 1, "nowhere")
    [(_, blocks)] = await storage.get_message_blocks(conversation)
    assert [block["content"] for block in blocks] == [{"text": "hello"}]
    await storage.close()


@pytest.mark.parametrize(
    "backend", ["sqlite-file", "postgresql", "mariadb", "mysql"], indirect=True
)
@pytest.mark.parametrize("is_stored", [True, False], ids=["stored", "not stored"])
async def test_what_a_commit_without_a_clear_answer_may_have_stored_is_stored_once(
    fresh_url: str, is_stored: bool, monkeypatch: pytest.MonkeyPatch
):
    storage = Provider(url=plain(fresh_url))
    await storage.initialize()
    conversation = await storage.get_or_create_conversation("agent", "C1", "1", "general")
    message = await storage.create_message(conversation, "U1", "Ada", "ada")
    dialect = storage.engine.dialect
    commit, unanswered = dialect.do_commit, 0

    def leave_unanswered(connection: Any) -> None:
        nonlocal unanswered
        if unanswered:
            unanswered -= 1
            (commit if is_stored else dialect.do_rollback)(connection)
            raise dialect.loaded_dbapi.OperationalError("no answer")
        commit(connection)

    monkeypatch.setattr(dialect, "do_commit", leave_unanswered)
    unanswered = 1
    item = await storage.append("plugin", "key", {"n": 1})
    unanswered = 1
    await storage.append_text_block(message, "hello")
    assert unanswered == 0
    assert await storage.get_list("plugin", "key") == [{"n": 1, "id": item}]
    [(_, blocks)] = await storage.get_message_blocks(conversation)
    assert [block["content"] for block in blocks] == [{"text": "hello"}]
    await storage.close()


@pytest.mark.parametrize(
    "backend", ["sqlite-file", "postgresql", "mariadb", "mysql"], indirect=True
)
async def test_every_name_in_the_schema_fits_31_characters(fresh_url: str):
    provider = Provider(url=plain(fresh_url))
    await provider.initialize()

    def names(connection: object) -> list[str]:
        inspector = inspect(connection)
        found = []
        for table in inspector.get_table_names():
            found += [table, inspector.get_pk_constraint(table)["name"]]
            found += [index["name"] for index in inspector.get_indexes(table)]
            found += [key["name"] for key in inspector.get_foreign_keys(table)]
            found += [unique["name"] for unique in inspector.get_unique_constraints(table)]
        return [name for name in found if name is not None]

    found = await run(provider, names)
    await provider.close()
    assert VERSION_TABLE in found
    assert [name for name in found if len(name) > 31] == []


@pytest.mark.parametrize(
    ("backend", "scheme", "version", "lacks"),
    [
        ("sqlite-file", "sqlite+pysqlite", (3, 20), "ON CONFLICT"),
        ("postgresql", "postgresql+asyncpg", (9, 4), "ON CONFLICT"),
        ("mariadb", "mysql+aiomysql", (5, 2), "DATETIME"),  # this dialect serves both
    ],
    indirect=["backend"],
)
async def test_a_server_that_is_too_old_is_refused_before_anything_is_made(
    fresh_url: str,
    scheme: str,
    version: tuple[int, ...],
    lacks: str,
    monkeypatch: pytest.MonkeyPatch,
):
    dialect = make_url(fresh_url).set(drivername=scheme).get_dialect()
    monkeypatch.setattr(dialect, "_get_server_version_info", lambda *_: version)
    with pytest.raises(UnsupportedDatabaseError, match=lacks):
        await Provider(url=fresh_url).initialize()
    monkeypatch.undo()
    with pytest.raises(Exception, match="slack-agents-db upgrade"):
        await Provider(url=fresh_url, migrate="verify").initialize()
