"""PostgreSQL: poolers, schemas, several hosts and TLS."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, inspect, make_url, text
from typer.testing import CliRunner

from slack_agents_sqlalchemy import (
    AccessRefusedError,
    ConfigurationError,
    DatabaseError,
    DatabaseUnavailableError,
    Provider,
    SchemaOutdatedError,
    UnsupportedDatabaseError,
    migrations,
)
from slack_agents_sqlalchemy.cli.app import app
from tests.support.servers import PgBouncer, PostgreSQL, Server
from tests.support.servers.postgresql import postgresql_folders
from tests.support.servers.process import find_programs, signing_command

DRIVERS = ["asyncpg", "psycopg", "psycopg2"]

on_postgresql = pytest.mark.parametrize("backend", ["postgresql"], indirect=True)


@contextmanager
def admin(url: str) -> Iterator[Connection]:
    """Connect as an administrator, in AUTOCOMMIT."""
    engine = create_engine(
        make_url(url).set(drivername="postgresql+psycopg2"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        yield connection
    engine.dispose()


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


STRANGE_NAMES = [
    "one, two",
    "100%",
    "%s%(a)s",
    "tab\tand\nnewline\r",
    "qu'o\"te",
    "back\\slash\\ ",
    "$dollar$1",
    "schlüssel\N{KEY}",
    "{braces}",
    "x" * 63,
]


@on_postgresql
@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("schema", STRANGE_NAMES)
async def test_a_schema_may_have_any_name(fresh_url: str, driver: str, schema: str):
    url = make_url(fresh_url).set(drivername=f"postgresql+{driver}")
    for migrate in ("auto", "verify"):
        storage = Provider(url=url, schema=schema, migrate=migrate)
        await storage.initialize()
        await storage.set("plugin", "key", {})
        await storage.close()
    with admin(fresh_url) as connection:
        inspector = inspect(connection)
        assert len(inspector.get_table_names(schema=schema)) == 9
        assert inspector.get_table_names(schema="public") == []


@on_postgresql
@pytest.mark.parametrize("schema", ["one, 100%", "qu'o\"te\\\t\n"])
def test_the_commands_take_a_schema_of_any_name(fresh_url: str, schema: str):
    named = ("--url", fresh_url, "--schema", schema)
    for command, message in {
        "upgrade": "upgraded from nothing to revision",
        "current": migrations.HEAD,
        "check": "is up to date",
    }.items():
        done = CliRunner().invoke(app, [command, *named])
        assert done.exit_code == 0, done.output
        assert message in done.output
    with admin(fresh_url) as connection:
        assert len(inspect(connection).get_table_names(schema=schema)) == 9


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize(
    "schema",
    [
        *("x" * 64, "é" * 32, "nul\0", "half\ud800", "$user"),
        *("information_schema", "pg_catalog", "pg_own"),
    ],
)
async def test_a_schema_that_postgresql_cannot_have_is_refused(driver: str, schema: str):
    storage = Provider(url=f"postgresql+{driver}://h/agents", schema=schema)
    with pytest.raises(ConfigurationError, match="'schema'"):
        await storage.initialize()


@on_postgresql
@pytest.mark.parametrize("driver", DRIVERS)
async def test_tables_of_another_agent_in_a_later_schema_of_the_search_path_stay_unchanged(
    fresh_url: str, driver: str
):
    url = make_url(fresh_url).set(drivername=f"postgresql+{driver}")
    first = Provider(url=url)
    await first.initialize()
    await first.set("plugin", "key", {"owner": "first"})
    await first.close()
    with admin(fresh_url) as connection:
        connection.execute(text("CREATE SCHEMA agent_two"))
        name = make_url(fresh_url).database
        path = f'ALTER DATABASE "{name}" SET search_path = agent_two, public'
        connection.execute(text(path))
    with pytest.raises(SchemaOutdatedError, match="no tables of this package"):
        await Provider(url=url, migrate="verify").initialize()
    for _ in range(2):
        second = Provider(url=url)
        await second.initialize()
        assert await second.get("plugin", "key") is None
        await second.close()
    with admin(fresh_url) as connection:
        for schema in ("agent_two", "public"):
            assert len(inspect(connection).get_table_names(schema=schema)) == 9


@on_postgresql
@pytest.mark.parametrize(
    ("path", "message"),
    [("no_such_schema", "names no schema"), ("pg_temp, public", "begins with pg_temp")],
)
async def test_a_search_path_that_leads_to_no_lasting_schema_is_an_error_that_says_so(
    fresh_url: str, path: str, message: str
):
    with admin(fresh_url) as connection:
        name = make_url(fresh_url).database
        connection.execute(text(f'ALTER DATABASE "{name}" SET search_path = {path}'))
    with pytest.raises(ConfigurationError, match=message):
        await Provider(url=fresh_url).initialize()


class IgnoringPgBouncer(PgBouncer):
    """A pooler that ignores the search path of its clients."""

    more_settings = "ignore_startup_parameters = options, search_path\n"


@pytest.fixture(scope="module")
def ignoring_pooler(find_server: Callable[[str], Server]) -> Iterator[PgBouncer]:
    find_server("pgbouncer")  # or the test is skipped
    pooler = IgnoringPgBouncer.find()
    yield pooler
    pooler.close()


@pytest.fixture
def ignoring_url(ignoring_pooler: PgBouncer) -> str:
    return ignoring_pooler.create_database()


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_schema_that_the_server_ignores_is_refused_and_nothing_is_made(
    ignoring_pooler: PgBouncer, ignoring_url: str, driver: str
):
    url = make_url(ignoring_url).set(drivername=f"postgresql+{driver}")
    options = {"schema": "agent_one", "prepared_statements": False}
    for migrate in ("auto", "verify", "off"):
        storage = Provider(url=url, migrate=migrate, **options)
        with pytest.raises(ConfigurationError, match=r"'agent_one'.*'public'.*ALTER ROLE"):
            await storage.initialize()
    with admin(ignoring_pooler.direct(ignoring_url)) as connection:
        assert inspect(connection).get_schema_names() == ["information_schema", "public"]
        assert inspect(connection).get_table_names() == []
        connection.execute(text("DROP SCHEMA public"))
    with pytest.raises(AccessRefusedError, match="agent_one"):  # nor is one made and not used
        await Provider(url=url, **options).initialize()
    with admin(ignoring_pooler.direct(ignoring_url)) as connection:
        assert inspect(connection).get_schema_names() == ["information_schema"]


@on_postgresql
async def test_a_server_of_another_product_is_an_error_that_names_it(fresh_url: str):
    url = make_url(fresh_url)

    async def hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65536):
            # Both have eleven bytes, so that the protocol's lengths stay right.
            writer.write(piece.replace(b"PostgreSQL ", b"CockroachDB"))
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = await asyncio.open_connection(url.host, url.port or 5432)
        await asyncio.gather(hand_on(reader, ends[1]), hand_on(ends[0], writer))

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with listener:
        for driver in DRIVERS:
            other = url.set(drivername=f"postgresql+{driver}", port=port)
            with pytest.raises(UnsupportedDatabaseError, match=r"CockroachDB\d.*cockroachdb"):
                await Provider(url=other).initialize()


@pytest.mark.parametrize("url", ["sqlite:///agents.db", "mysql://user@host/agents"])
async def test_a_schema_is_refused_for_a_database_without_schemas(url: str):
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
    """A private server that accepts encrypted connections only, and its certificate."""
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


async def test_a_certificate_of_another_authority_is_refused_and_stays_the_cause(
    tls_server: tuple[str, Path], tmp_path: Path
):
    plain, _ = tls_server
    other = tmp_path / "other.crt"
    subprocess.run(signing_command(other), check=True, capture_output=True)
    url = make_url(plain).update_query_dict({"sslmode": "verify-ca", "sslrootcert": str(other)})
    with pytest.raises(DatabaseUnavailableError) as refused:
        await Provider(url=url).initialize()
    assert isinstance(refused.value.__cause__, ssl.SSLCertVerificationError)
