"""What `initialize()` does with the schema: create, upgrade, verify, trust, refuse, wait."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError

from slack_agents_sqlalchemy import (
    DatabaseUnavailableError,
    MigrationLockedError,
    NotInitializedError,
    Provider,
    SchemaOutdatedError,
    SchemaTooNewError,
)
from slack_agents_sqlalchemy.models import VERSION_TABLE, metadata
from tests.command_line.interrupting import locked_file, migration_lock
from tests.conftest import NewProvider
from tests.migrations.schema import describe_schema, run_on, table_names
from tests.support import sql
from tests.support.simultaneous import run_at_once
from tests.support.sql import synchronous

durable = pytest.mark.durable

# The process reports that it is ready, and continues after the next line of input.
INITIALIZE_ON_SIGNAL = """
import asyncio, sys
from slack_agents_sqlalchemy import Provider

async def main():
    provider = Provider(url=sys.argv[1])
    print("ready", flush=True)
    sys.stdin.readline()
    await provider.initialize()
    await provider.set("started", sys.argv[2], {})
    await provider.close()

asyncio.run(main())
"""

INITIALIZE_WITHOUT_ALEMBIC = """
import asyncio, sys
from slack_agents_sqlalchemy import Provider

async def main():
    provider = Provider(url=sys.argv[1])
    await provider.initialize()
    await provider.get_heartbeat("agent")
    await provider.close()

asyncio.run(main())
print([name for name in ("alembic", "mako", "typer", "rich") if name in sys.modules])
"""


@contextmanager
def connected(url: str) -> Iterator[Callable[[str], object]]:
    """Connect to a database in autocommit, and yield a function that executes SQL."""
    engine = create_engine(synchronous(url), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            yield connection.exec_driver_sql
    finally:
        engine.dispose()


def touch(url: str) -> None:
    """Create the file of a SQLite database, which a provider creates with `migrate: auto` only."""
    if url.startswith("sqlite:///") and "memory" not in url:
        Path(url.removeprefix("sqlite:///")).touch()


@pytest.fixture
def statements() -> Iterator[list[str]]:
    """Every statement that any engine runs during the test."""
    seen: list[str] = []

    def note(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield seen
    event.remove(Engine, "before_cursor_execute", note)


@durable
async def test_eight_processes_start_at_the_same_time_on_an_empty_database(fresh_url: str):
    arguments = [(fresh_url, str(number)) for number in range(8)]
    for errors in run_at_once(INITIALIZE_ON_SIGNAL, *arguments):
        # A process that waits for long logs it.
        assert [line for line in errors.splitlines() if not line.startswith("waiting for")] == []
    provider = Provider(url=fresh_url, migrate="verify")
    await provider.initialize()
    assert len(await provider.query("started", {})) == 8
    await provider.close()


@durable
async def test_a_second_start_runs_no_ddl(database_url: str, statements: list[str]):
    provider = Provider(url=database_url)
    await provider.initialize()
    assert any(VERSION_TABLE in statement for statement in statements)
    changing = ("CREATE", "ALTER", "DROP", "INSERT", "UPDATE", "DELETE", "BEGIN", "LOCK")
    assert [statement for statement in statements if statement.upper().startswith(changing)] == []
    await provider.close()


@durable
def test_a_second_start_imports_neither_alembic_nor_the_command_line(database_url: str):
    found = subprocess.run(
        [sys.executable, "-c", INITIALIZE_WITHOUT_ALEMBIC, database_url],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "[]"


@durable
async def test_a_second_start_does_not_wait_for_a_writer(
    database_url: str, new_provider: NewProvider
):
    begin = "BEGIN IMMEDIATE" if database_url.startswith("sqlite") else "BEGIN"
    write = "INSERT INTO slack_agents_heartbeats VALUES ('digest', 1.0, 'agent')"
    with connected(database_url) as execute:
        execute(begin)
        execute(write)
        async with asyncio.timeout(20):
            await new_provider()
        execute("ROLLBACK")


@pytest.mark.parametrize("backend", ["postgresql", "mariadb", "mysql"], indirect=True)
async def test_a_second_start_works_for_a_role_that_may_not_change_tables(
    database_url: str, new_provider: NewProvider
):
    url = make_url(database_url)
    role = f"sa_test_{os.getpid()}"
    rights = "SELECT, INSERT, UPDATE, DELETE"
    if url.drivername == "postgresql":
        make = [
            f"CREATE ROLE {role} LOGIN",
            f"GRANT {rights} ON ALL TABLES IN SCHEMA public TO {role}",
        ]
        drop = [f"DROP OWNED BY {role}", f"DROP ROLE {role}"]
    else:
        make = [
            f"CREATE USER {role}@'127.0.0.1'",
            f"GRANT {rights} ON `{url.database}`.* TO {role}@'127.0.0.1'",
        ]
        drop = [f"DROP USER {role}@'127.0.0.1'"]
    with connected(database_url) as execute:
        for statement in make:
            execute(statement)
        try:
            provider = await new_provider(url=url.set(username=role))
            await provider.set("plugin", "key", {"stored": True})
            assert await provider.get("plugin", "key") == {"stored": True}
            with pytest.raises(DBAPIError):
                await sql.scalar(provider, "DROP TABLE slack_agents_blocks")
            await provider.close()
        finally:
            for statement in drop:
                execute(statement)


@durable
async def test_verify_refuses_an_empty_database_and_leaves_it_empty(fresh_url: str):
    with pytest.raises((SchemaOutdatedError, DatabaseUnavailableError)) as refused:
        await Provider(url=fresh_url, migrate="verify").initialize()
    assert "slack-agents-db upgrade" in str(refused.value)
    if fresh_url.startswith("sqlite"):
        assert not Path(fresh_url.removeprefix("sqlite:///")).exists()
    assert run_on(fresh_url, table_names) == []


@pytest.mark.parametrize("backend", ["sqlite-file"], indirect=True)
async def test_verify_leaves_a_sqlite_file_as_it_is(fresh_url: str):
    file = Path(fresh_url.removeprefix("sqlite:///"))
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE theirs (id INTEGER)")
    before = file.read_bytes()
    with pytest.raises(SchemaOutdatedError):
        await Provider(url=fresh_url, migrate="verify").initialize()
    assert file.read_bytes() == before


@durable
async def test_verify_accepts_the_schema_of_this_version(database_url: str):
    provider = Provider(url=database_url, migrate="verify")
    await provider.initialize()
    await provider.close()


@durable
@pytest.mark.parametrize("migrate", ["auto", "verify"])
async def test_a_schema_newer_than_the_package_is_refused(fresh_url: str, migrate: str):
    provider = Provider(url=fresh_url)
    await provider.initialize()
    await provider.close()
    run_on(
        fresh_url,
        lambda connection: connection.execute(
            text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
        ),
    )
    with pytest.raises(SchemaTooNewError, match="update the package"):
        await Provider(url=fresh_url, migrate=migrate).initialize()


async def test_off_queries_nothing(fresh_url: str, statements: list[str]):
    touch(fresh_url)
    provider = Provider(url=fresh_url, migrate="off")
    await provider.initialize()
    assert not any(VERSION_TABLE in statement for statement in statements)
    await provider.close()


CREATES = ("CREATE TABLE slack", "CREATE INDEX", "CREATE UNIQUE INDEX")


@durable
@pytest.mark.parametrize("steps", [1, 3, 5, 7, 9, 12])
async def test_an_interrupted_migration_is_continued(fresh_url: str, steps: int):
    """On MySQL and MariaDB, each statement of the migration stays although the next one fails."""
    created = 0

    def interrupt(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        nonlocal created
        if statement.lstrip().startswith(CREATES):
            created += 1
            if created > steps:
                raise InterruptedError("interrupted")

    event.listen(Engine, "before_cursor_execute", interrupt)
    try:
        with pytest.raises(ConnectionError, match="interrupted"):
            await Provider(url=fresh_url, connect_timeout=0.5).initialize()
    finally:
        event.remove(Engine, "before_cursor_execute", interrupt)

    provider = Provider(url=fresh_url)
    await provider.initialize()

    def created_and_declared(connection: Connection) -> tuple[object, object]:
        migrated = describe_schema(connection)
        metadata.drop_all(connection)
        metadata.create_all(connection)
        return migrated, describe_schema(connection)

    migrated, declared = await sql.run(provider, created_and_declared)
    assert migrated == declared
    await provider.close()


async def test_storages_that_start_at_the_same_time_in_one_process_all_start(fresh_url: str):
    providers = [Provider(url=fresh_url) for _ in range(4)]
    await asyncio.gather(*(provider.initialize() for provider in providers))
    for provider in providers:
        assert await provider.get("namespace", "key") is None
        await provider.close()


async def test_one_storage_may_be_started_several_times_concurrently(fresh_url: str):
    provider = Provider(url=fresh_url)
    await asyncio.gather(*(provider.initialize() for _ in range(3)))
    await provider.set("namespace", "key", {"stored": True})
    await provider.initialize()
    assert await provider.get("namespace", "key") == {"stored": True}
    await provider.close()


async def test_a_second_start_that_is_cancelled_leaves_the_storage_open(
    new_provider: NewProvider,
):
    provider = await new_provider()
    second = asyncio.create_task(provider.initialize())
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert await provider.get("namespace", "key") is None


@durable
async def test_a_migration_lock_that_is_not_freed_in_time_is_an_error(
    fresh_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("slack_agents_sqlalchemy.migrations.upgrade.LOCK_TIMEOUT", 1)
    is_file = fresh_url.startswith("sqlite")
    file = Path(fresh_url.removeprefix("sqlite:///"))
    lock = locked_file(file) if is_file else migration_lock(fresh_url)
    with lock, pytest.raises(MigrationLockedError, match="another process"):
        await Provider(url=fresh_url).initialize()
    freed = Provider(url=fresh_url)
    await freed.initialize()
    await freed.close()


async def test_a_call_while_initialize_still_migrates_is_a_runtime_error(fresh_url: str):
    storage = Provider(url=fresh_url)
    starting = asyncio.create_task(storage.initialize())
    refused_while_open = 0
    while not starting.done():
        try:
            await storage.get("namespace", "key")
        except NotInitializedError:
            with suppress(NotInitializedError):  # there is an engine as soon as it is open
                refused_while_open += storage.engine is not None
            await asyncio.sleep(0)
    await starting
    assert refused_while_open
    assert await storage.get("namespace", "key") is None
    await storage.close()
