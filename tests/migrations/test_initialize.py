"""What `initialize()` does about the schema: create, verify, trust, refuse, and wait its turn."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, make_url, text
from sqlalchemy.util import greenlet_spawn

from slack_agents_sqlalchemy import (
    DatabaseError,
    DatabaseUnavailableError,
    MigrationLockedError,
    NotInitializedError,
    Provider,
    SchemaOutdatedError,
    SchemaTooNewError,
)
from slack_agents_sqlalchemy.models import VERSION_TABLE, metadata
from tests.conftest import NewProvider
from tests.migrations.schema import describe_schema, table_names

durable = pytest.mark.durable

# A process that is ready says so, and goes on when it is told to.
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


async def run(url: str, operation: Callable[[Connection], object]) -> object:
    provider = Provider(url=url, migrate="off")
    touch(url)
    await provider.initialize()
    try:
        return await provider._database.run(operation)
    finally:
        await provider.close()


type Execute = Callable[[str | Callable[[Connection], Any]], Awaitable[Any]]


@asynccontextmanager
async def connection_of(provider: Provider) -> AsyncIterator[Execute]:
    """Hold one connection of a provider: what is yielded runs SQL or a function on it."""
    engine = provider.engine

    def hop(function: Callable[[], Any]) -> Awaitable[Any]:
        return greenlet_spawn(function) if engine.dialect.is_async else asyncio.to_thread(function)

    connection = await hop(engine.connect)

    async def execute(task: str | Callable[[Connection], Any]) -> Any:
        if isinstance(task, str):
            return await hop(lambda: connection.exec_driver_sql(task))
        return await hop(lambda: task(connection))

    try:
        yield execute
    finally:
        await hop(connection.close)


def touch(url: str) -> None:
    """Make the file of a SQLite database, which only `migrate: auto` makes by itself."""
    if url.startswith("sqlite:///") and "memory" not in url:
        Path(url.removeprefix("sqlite:///")).touch()


@pytest.fixture
def statements() -> Iterator[list[str]]:
    """Every statement that any engine runs meanwhile."""
    seen: list[str] = []

    def note(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield seen
    event.remove(Engine, "before_cursor_execute", note)


@durable
async def test_eight_processes_start_at_once_on_an_empty_database(fresh_url: str):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", INITIALIZE_ON_SIGNAL, fresh_url, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(8)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        # One that waits for long says so.
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
    async with connection_of(await new_provider()) as execute:
        await execute(begin)
        await execute(write)
        async with asyncio.timeout(20):
            await new_provider()
        await execute("ROLLBACK")


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
    async with connection_of(await new_provider()) as execute:
        for statement in make:
            await execute(statement)
        try:
            provider = await new_provider(url=url.set(username=role))
            await provider.set("plugin", "key", {"stored": True})
            assert await provider.get("plugin", "key") == {"stored": True}
            with pytest.raises((PermissionError, DatabaseError)):
                await provider._database.execute(text("DROP TABLE slack_agents_blocks"), {})
            await provider.close()
        finally:
            for statement in drop:
                await execute(statement)


@durable
async def test_verify_refuses_an_empty_database_and_leaves_it_empty(fresh_url: str):
    with pytest.raises((SchemaOutdatedError, DatabaseUnavailableError)) as refused:
        await Provider(url=fresh_url, migrate="verify").initialize()
    assert "slack-agents-db upgrade" in str(refused.value)
    if fresh_url.startswith("sqlite"):
        assert not Path(fresh_url.removeprefix("sqlite:///")).exists()
    assert await run(fresh_url, table_names) == []


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
    await run(
        fresh_url,
        lambda connection: connection.execute(
            text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
        ),
    )
    with pytest.raises(SchemaTooNewError, match="update the package"):
        await Provider(url=fresh_url, migrate=migrate).initialize()


async def test_off_asks_nothing(fresh_url: str, statements: list[str]):
    touch(fresh_url)
    provider = Provider(url=fresh_url, migrate="off")
    await provider.initialize()
    assert not any(VERSION_TABLE in statement for statement in statements)
    await provider.close()


CREATES = ("CREATE TABLE slack", "CREATE INDEX", "CREATE UNIQUE INDEX")


@durable
@pytest.mark.parametrize("steps", [1, 3, 5, 7, 9, 12])
async def test_a_migration_that_was_cut_off_is_taken_up_where_it_stopped(
    fresh_url: str, steps: int
):
    """On MySQL and MariaDB each statement of the migration stays, also when the next one fails."""
    made = 0

    def cut_off(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        nonlocal made
        if statement.lstrip().startswith(CREATES):
            made += 1
            if made > steps:
                raise InterruptedError("cut off")

    event.listen(Engine, "before_cursor_execute", cut_off)
    try:
        with pytest.raises(ConnectionError, match="cut off"):
            await Provider(url=fresh_url, connect_timeout=0.5).initialize()
    finally:
        event.remove(Engine, "before_cursor_execute", cut_off)

    provider = Provider(url=fresh_url)
    await provider.initialize()

    def made_and_declared(connection: Connection) -> tuple[object, object]:
        migrated = describe_schema(connection)
        metadata.drop_all(connection)
        metadata.create_all(connection)
        return migrated, describe_schema(connection)

    migrated, declared = await provider._database.run(made_and_declared)
    assert migrated == declared
    await provider.close()


async def test_storages_that_start_at_once_in_one_process_all_start(fresh_url: str):
    providers = [Provider(url=fresh_url) for _ in range(4)]
    await asyncio.gather(*(provider.initialize() for provider in providers))
    for provider in providers:
        assert await provider.get("namespace", "key") is None
        await provider.close()


async def test_one_storage_may_be_started_several_times_at_once(fresh_url: str):
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
    holder = Provider(url=fresh_url, migrate="off")
    touch(fresh_url)
    await holder.initialize()
    lock = holder._database.adapter.migration_lock
    async with connection_of(holder) as execute:
        entered = await execute(lambda connection: enter(lock(connection, 30)))
        with pytest.raises(MigrationLockedError, match="another process"):
            await Provider(url=fresh_url).initialize()
        await execute(lambda _: entered.close())
    await holder.close()
    freed = Provider(url=fresh_url)
    await freed.initialize()
    await freed.close()


def enter(lock: AbstractContextManager[None]) -> ExitStack:
    entered = ExitStack()
    entered.enter_context(lock)
    return entered


async def test_a_call_while_initialize_still_migrates_is_a_runtime_error(fresh_url: str):
    storage = Provider(url=fresh_url)
    starting = asyncio.create_task(storage.initialize())
    refused_while_open = 0
    while not starting.done():
        try:
            await storage.get("namespace", "key")
        except NotInitializedError:
            refused_while_open += storage._database.is_open
            await asyncio.sleep(0)
    await starting
    assert refused_while_open
    assert await storage.get("namespace", "key") is None
    await storage.close()
