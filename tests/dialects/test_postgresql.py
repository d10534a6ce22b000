"""What PostgreSQL's servers need beyond a plain URL: poolers, schemas, several hosts, TLS."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, make_url, text

from slack_agents_sqlalchemy import ConfigurationError, DatabaseError, Provider
from tests.servers import PgBouncer, PostgreSQL, Server, find_programs, postgresql_folders

DRIVERS = ["asyncpg", "psycopg", "psycopg2"]

on_postgresql = pytest.mark.parametrize("backend", ["postgresql"], indirect=True)


@pytest.fixture
def pooled_url(find_server: Callable[[str], Server]) -> Iterator[str]:
    """The URL of an empty database behind a pooler that shares connections by transaction."""
    pooler = find_server("pgbouncer")
    assert isinstance(pooler, PgBouncer)
    url = pooler.create_database()
    yield url
    pooler.drop_database(url)


async def test_behind_a_pooler_the_error_names_the_option_that_is_missing(pooled_url: str):
    refusals: list[DatabaseError] = []

    async def use(storage: Provider, number: int) -> None:
        for _ in range(20):
            try:
                await storage.set("plugin", str(number), {})
            except DatabaseError as refusal:
                refusals.append(refusal)

    prepared = Provider(url=pooled_url, prepared_statements=False)
    await prepared.initialize()
    await prepared.close()
    storage = Provider(url=pooled_url, migrate="off")
    with suppress(DatabaseError):
        await storage.initialize()
        await asyncio.gather(*(use(storage, number) for number in range(10)))
        await storage.close()
    assert any("'prepared_statements' to false" in str(refusal) for refusal in refusals), refusals


@on_postgresql
@pytest.mark.parametrize("driver", DRIVERS)
async def test_agents_in_two_schemas_of_one_database_do_not_see_each_other(
    fresh_url: str, driver: str
):
    url = make_url(fresh_url).set(drivername=f"postgresql+{driver}")
    schemas = ["first agent", 'Second"Agent']
    storages = [Provider(url=url, schema=schema) for schema in schemas]
    for number, storage in enumerate(storages):
        await storage.initialize()
        assert await storage.get("plugin", "key") is None
        await storage.set("plugin", "key", {"n": number})
    assert [await storage.get("plugin", "key") for storage in storages] == [{"n": 0}, {"n": 1}]
    for storage in storages:
        await storage.close()
    engine = create_engine(url.set(drivername="postgresql+psycopg2"))
    inspector = inspect(engine)
    assert inspector.get_table_names(schema="public") == []
    assert {len(inspector.get_table_names(schema=schema)) for schema in schemas} == {9}
    engine.dispose()


@on_postgresql
async def test_a_schema_that_may_not_be_made_but_is_there_is_used(fresh_url: str):
    engine = create_engine(make_url(fresh_url).set(drivername="postgresql+psycopg2"))
    with engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA agents"))
    storage = Provider(url=fresh_url, schema="agents")
    await storage.initialize()
    await storage.close()
    assert len(inspect(engine).get_table_names(schema="agents")) == 9
    engine.dispose()


@pytest.mark.parametrize("url", ["sqlite:///agents.db", "mysql://user@host/agents"])
async def test_a_schema_is_refused_where_it_means_nothing(url: str):
    with pytest.raises(ConfigurationError, match="'schema' is for PostgreSQL"):
        await Provider(url=url, schema="agents").initialize()


async def test_a_schema_that_the_connect_arguments_hide_is_refused():
    arguments = {"server_settings": {"application_name": "agents"}}
    storage = Provider(url="postgresql://h/agents", schema="agents", connect_args=arguments)
    with pytest.raises(ConfigurationError, match="server_settings"):
        await storage.initialize()


@on_postgresql
@pytest.mark.parametrize("driver", DRIVERS)
async def test_of_several_hosts_the_one_that_answers_is_used(fresh_url: str, driver: str):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        closed = listening.getsockname()[1]
    url = make_url(fresh_url)
    hosts = [f"{url.host}:{closed}", f"{url.host}:{url.port or 5432}"]
    several = url.set(drivername=f"postgresql+{driver}", host=None, port=None)
    storage = Provider(url=several.update_query_pairs([("host", host) for host in hosts]))
    await storage.initialize()
    await storage.set("plugin", "key", {})
    await storage.close()


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A private server that takes encrypted connections only, and its certificate."""
    if shutil.which("openssl") is None or not find_programs(
        "initdb", "postgres", folders=postgresql_folders()
    ):
        pytest.skip("needs PostgreSQL's own programs and openssl")
    server = PostgreSQL.start(tls=True)
    assert server.certificate is not None
    yield server.create_database(), server.certificate
    server.close()


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("mode", ["require", "verify-ca"])
async def test_a_connection_is_encrypted_as_the_url_asks_for(
    tls_server: tuple[str, Path], driver: str, mode: str
):
    plain, certificate = tls_server
    url = make_url(plain).set(drivername=f"postgresql+{driver}")
    storage = Provider(
        url=url.update_query_dict({"sslmode": mode, "sslrootcert": str(certificate)})
    )
    await storage.initialize()
    await storage.set("plugin", "key", {})
    await storage.close()
    with pytest.raises(DatabaseError):
        await Provider(url=url.update_query_dict({"sslmode": "disable"})).initialize()
