"""The first start warns of rows that the framework's built-in provider left in the database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from slack_agents.storage import postgres, sqlite
from slack_agents.storage.base import BaseStorageProvider
from sqlalchemy import Connection, make_url

from slack_agents_sqlalchemy import Provider
from tests.migrations.schema import run_on

with_built_in = pytest.mark.parametrize("backend", ["sqlite-file", "postgresql"], indirect=True)


@asynccontextmanager
async def built_in(url: str) -> AsyncIterator[BaseStorageProvider]:
    parsed = make_url(url)
    provider: BaseStorageProvider
    if parsed.get_backend_name() == "sqlite":
        provider = sqlite.Provider(str(parsed.database))
    else:
        plain = parsed.set(drivername="postgresql")
        provider = postgres.Provider(plain.render_as_string(hide_password=False))
    await provider.initialize()
    try:
        yield provider
    finally:
        await provider.close()


async def converse(provider: BaseStorageProvider) -> None:
    conversation = await provider.get_or_create_conversation("helper", "C1", "1.0", "general")
    for _ in range(2):
        await provider.create_message(conversation, "U1", "Ada", "ada")


async def start(provider: Provider) -> None:
    await provider.initialize()
    await provider.close()


def warnings(log: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in log.records if one.levelno >= logging.WARNING]


@with_built_in
async def test_rows_of_the_built_in_provider_beside_new_tables_are_a_warning(
    fresh_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with built_in(fresh_url) as old:
        await converse(old)

    await start(Provider(url=fresh_url))

    [warning] = warnings(caplog)
    assert "conversations (1), messages (2)." in warning
    assert "kv_store" not in warning
    assert "docs/switching.md" in warning


@with_built_in
async def test_only_the_start_that_creates_the_tables_warns(
    fresh_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with built_in(fresh_url) as old:
        await converse(old)
    await start(Provider(url=fresh_url))
    caplog.clear()

    await start(Provider(url=fresh_url))

    assert not warnings(caplog)


@with_built_in
async def test_empty_tables_of_the_built_in_provider_are_no_warning(
    fresh_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with built_in(fresh_url):
        pass

    await start(Provider(url=fresh_url))

    assert not warnings(caplog)


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
async def test_a_schema_of_its_own_warns_of_the_built_in_rows_in_public(
    fresh_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with built_in(fresh_url) as old:
        await converse(old)

    await start(Provider(url=fresh_url, schema="agent_one"))

    assert len(warnings(caplog)) == 1


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
async def test_tables_that_are_locked_do_not_fail_or_hold_up_a_start(
    fresh_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slack_agents_sqlalchemy.migrations.built_in_storage._TIMEOUT", 0.2)
    async with built_in(fresh_url) as old:
        await converse(old)
        assert isinstance(old, postgres.Provider)
        async with old.pool.acquire() as connection, connection.transaction():
            await connection.execute("LOCK TABLE conversations IN ACCESS EXCLUSIVE MODE")

            async with asyncio.timeout(60):
                await start(Provider(url=fresh_url))

    assert not warnings(caplog)


async def test_a_start_on_an_empty_database_is_no_warning(
    fresh_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    await start(Provider(url=fresh_url))

    assert not warnings(caplog)


@pytest.mark.parametrize("backend", ["sqlite-file", "postgresql", "mariadb"], indirect=True)
async def test_a_table_of_another_program_with_one_of_the_names_is_no_warning(
    fresh_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    run_on(fresh_url, create_messages)

    await start(Provider(url=fresh_url))

    assert not warnings(caplog)


def create_messages(connection: Connection) -> None:
    connection.exec_driver_sql("CREATE TABLE messages (id INT)")
    connection.exec_driver_sql("INSERT INTO messages VALUES (1)")
