"""Settings of a role or a database change neither what is stored nor what is read."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url

from slack_agents_sqlalchemy import ConfigurationError, Provider, UnsupportedDatabaseError
from tests.support.servers import PgBouncer, Server

every_driver = pytest.mark.parametrize("driver", ["asyncpg", "psycopg", "psycopg2"])
on_postgresql = pytest.mark.parametrize("backend", ["postgresql"], indirect=True)

SETTINGS = [
    {"extra_float_digits": "0"},
    {"extra_float_digits": "-15", "bytea_output": "escape"},
    {"DateStyle": "German"},
    {"DateStyle": "Postgres, DMY"},
    {"TimeZone": "Asia/Kathmandu"},
    {"IntervalStyle": "sql_standard"},
    {"client_encoding": "LATIN1"},
    {"client_encoding": "SQL_ASCII"},
    {"standard_conforming_strings": "off", "escape_string_warning": "off"},
    {"default_transaction_isolation": "serializable"},
    {"transform_null_equals": "on"},
    {"row_security": "off"},
]


def run(url: str, *statements: str) -> None:
    """Run statements as an administrator, without a pooler."""
    engine = create_engine(
        make_url(url).set(drivername="postgresql+psycopg2"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def set_for_database(url: str, settings: dict[str, str]) -> None:
    name = make_url(url).database
    run(url, *(f"ALTER DATABASE \"{name}\" SET {key} = '{to}'" for key, to in settings.items()))


async def keep(url: str, driver: str, **options: Any) -> None:
    """Store what settings may change, and read it."""
    storage = Provider(url=make_url(url).set(drivername=f"postgresql+{driver}"), **options)
    await storage.initialize()
    before = datetime.now(UTC) - timedelta(minutes=1)
    pinged = 1_700_000_000.123_456_7
    await storage.upsert_heartbeat("agent", pinged)
    value = {"text": "\\ ' \" é \N{KEY} \0 \ud800 %s $1 \\x41 \\101", "nothing": None}
    await storage.set("names\\pace", "k'\N{KEY}", value)
    conversation = await storage.get_or_create_conversation("agent", "C1", "1.0")
    message = await storage.create_message(conversation, "U1", "name", "handle")
    await storage.append_usage_block(
        message,
        model="model",
        version="1",
        input_tokens=1,
        output_tokens=1,
        cache_creation_input_tokens=0,
        cache_read_input_tokens=0,
        peak_single_call_input_tokens=1,
        estimated_cost_usd=0.1 + 0.2,
    )

    async def read() -> None:
        assert await storage.get_heartbeat("agent") == {"last_ping_pong_time": pinged}
        assert await storage.get("names\\pace", "k'\N{KEY}") == value
        assert await storage.query("names\\pace", {"text": value["text"]}) == [value]
        [stored] = await storage.get_messages_with_blocks(conversation)
        assert before < stored["created_at"] < before + timedelta(minutes=10)
        assert await storage.get_conversations_for_export("agent", date_from=before)

    await asyncio.gather(*(read() for _ in range(8)))  # on several connections
    await storage.close()


@on_postgresql
@every_driver
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
async def test_a_setting_of_the_database_changes_nothing(
    fresh_url: str, driver: str, settings: dict[str, str]
):
    set_for_database(fresh_url, settings)
    await keep(fresh_url, driver)


@pytest.fixture(scope="module")
def pooler(find_server: Callable[[str], Server]) -> PgBouncer:
    found = find_server("pgbouncer")
    assert isinstance(found, PgBouncer)
    return found


@pytest.fixture
def pooled_url(pooler: PgBouncer) -> Iterator[str]:
    url = pooler.create_database()
    yield url
    pooler.drop_database(url)


@every_driver
@pytest.mark.parametrize(
    "settings",
    [{"extra_float_digits": "0"}, {"DateStyle": "German"}, {"client_encoding": "LATIN1"}],
    ids=str,
)
async def test_a_setting_of_the_database_changes_nothing_behind_a_pooler(
    pooler: PgBouncer, pooled_url: str, driver: str, settings: dict[str, str]
):
    set_for_database(pooler.direct(pooled_url), settings)
    await keep(pooled_url, driver, prepared_statements=False)


@on_postgresql
@every_driver
@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
async def test_a_database_that_is_not_in_utf8_is_refused_at_the_start(
    fresh_url: str, driver: str, encoding: str
):
    name = f"sa_test_{secrets.token_hex(4)}"
    run(
        fresh_url,
        f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0"
        " LC_COLLATE 'C' LC_CTYPE 'C'",
    )
    try:
        url = make_url(fresh_url).set(drivername=f"postgresql+{driver}", database=name)
        with pytest.raises(UnsupportedDatabaseError, match=f"the encoding {encoding}") as refused:
            await Provider(url=url).initialize()
        assert "ENCODING 'UTF8' TEMPLATE template0" in str(refused.value)
    finally:
        run(fresh_url, f"DROP DATABASE {name}")  # no session uses it any more


@on_postgresql
@pytest.mark.parametrize(
    ("driver", "arguments"),
    [
        ("asyncpg", {"server_settings": {"client_encoding": "LATIN1"}}),
        ("psycopg", {"client_encoding": "LATIN1"}),
        ("psycopg2", {"client_encoding": "LATIN1"}),
    ],
)
async def test_another_encoding_among_the_connect_arguments_is_refused(
    fresh_url: str, driver: str, arguments: dict[str, Any]
):
    url = make_url(fresh_url).set(drivername=f"postgresql+{driver}")
    with pytest.raises(ConfigurationError, match=r"client_encoding LATIN1.*connect_args"):
        await Provider(url=url, connect_args=arguments).initialize()


@on_postgresql
@every_driver
async def test_a_session_that_the_server_ends_for_its_idleness_is_replaced(
    fresh_url: str, driver: str
):
    set_for_database(fresh_url, {"idle_session_timeout": "1s"})
    storage = Provider(url=make_url(fresh_url).set(drivername=f"postgresql+{driver}"))
    await storage.initialize()
    name = make_url(fresh_url).database
    admin = create_engine(
        make_url(fresh_url).set(drivername="postgresql+psycopg2", database="postgres"),
        isolation_level="AUTOCOMMIT",
    )
    with admin.connect() as connection:
        for number in range(3):
            await storage.set("plugin", "key", {"n": number})
            async with asyncio.timeout(60):
                while connection.exec_driver_sql(
                    f"SELECT 1 FROM pg_stat_activity WHERE datname = '{name}'"
                ).first():
                    await asyncio.sleep(0.01)
            assert await storage.get("plugin", "key") == {"n": number}
    admin.dispose()
    await storage.close()
