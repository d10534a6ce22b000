"""A URL with several servers: the first one that is ready is used."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from sqlalchemy import make_url

from slack_agents_sqlalchemy import ConfigurationError, Provider
from slack_agents_sqlalchemy.dialects.postgresql import PostgreSQL
from slack_agents_sqlalchemy.urls import parse_url

_PORTS = {"postgresql": 5432, "mariadb": 3306, "mysql": 3306}

servers_only = pytest.mark.parametrize("backend", list(_PORTS), indirect=True)


@pytest.fixture
def closed() -> str:
    """A server that is down."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def unresponsive() -> Iterator[str]:
    """A server that accepts connections and never responds, as a stopped process."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def listing(url: str, driver: str | None, *before: str) -> str:
    """Return the URL with other servers before its own."""
    plain = make_url(url)
    own = f"{plain.host}:{plain.port or _PORTS[plain.get_backend_name()]}"
    several = plain.set(host=None, port=None).update_query_dict({"host": [*before, own]})
    if driver is not None:
        several = several.set(drivername=f"{plain.get_backend_name()}+{driver}")
    return several.render_as_string(hide_password=False)


async def keep(url: str, **options: float) -> None:
    storage = Provider(url=url, **options)
    try:
        await storage.initialize()
        await storage.set("namespace", "key", {"kept": True})
        assert await storage.get("namespace", "key") == {"kept": True}
    finally:
        await storage.close()


@pytest.mark.parametrize(
    ("backend", "driver"),
    [
        ("postgresql", None),
        ("mariadb", None),
        ("mariadb", "asyncmy"),
        ("mariadb", "pymysql"),
        ("mysql", "aiomysql"),
    ],
    indirect=["backend"],
)
async def test_a_server_that_is_down_is_skipped(database_url: str, driver: str | None, closed: str):
    await keep(listing(database_url, driver, closed))


@pytest.mark.parametrize(
    ("backend", "driver"),
    [
        ("postgresql", "asyncpg"),
        ("postgresql", "psycopg"),
        ("postgresql", "psycopg2"),
        ("mariadb", "aiomysql"),
        ("mariadb", "asyncmy"),
        ("mariadb", "pymysql"),
        ("mysql", "aiomysql"),
    ],
    indirect=["backend"],
)
@pytest.mark.parametrize(
    "query",
    [
        "host=[::1]:1&host={host}:{port}",
        "host=::1&host={host}:{port}",
        "host=::1,{host}&port=1,{port}",
        "host={host},{host}&port={port}",
        "host={host}&host={host}&port={port}&port={port}",
        "host={host}:{port}&host=::1",
    ],
)
async def test_a_host_may_be_an_ipv6_address_and_need_not_have_a_port(
    database_url: str, driver: str, query: str
):
    plain = make_url(database_url)
    port = plain.port or _PORTS[plain.get_backend_name()]
    scheme = f"{plain.get_backend_name()}+{driver}"
    own = plain.set(drivername=scheme, host="", port=None).render_as_string(hide_password=False)
    await keep(f"{own}?{query.format(host=plain.host, port=port)}")


@pytest.mark.parametrize(
    ("query", "host", "port"),
    [
        ("/a?host=::1", "::1", None),
        ("/a?host=[::1]:5433", "::1", 5433),
        ("/a?host=::1&port=5433", "::1", 5433),
        (":5433/a?host=::1", "::1", 5433),
        ("/a?host=/run/postgresql", "/run/postgresql", None),
    ],
)
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg", "psycopg2"])
def test_one_host_in_the_query_reaches_the_driver_unchanged(
    driver: str, query: str, host: str, port: int | None
):
    url = parse_url(f"postgresql+{driver}://someone@{query}")
    _, named = url.get_dialect()().create_connect_args(PostgreSQL().driver_url(url))
    assert named["host"] == host
    assert str(named.get("port")) == str(port)


@pytest.mark.parametrize("dialect", list(_PORTS))
@pytest.mark.parametrize("query", ["host=one:x&host=two", "host=[::1]:x&host=two"])
def test_a_port_that_is_no_number_is_a_configuration_error(dialect: str, query: str):
    with pytest.raises(ConfigurationError, match=r"host=one:5432"):
        Provider(url=f"{dialect}://someone@/agents?{query}")


@servers_only
async def test_an_unresponsive_server_is_skipped_in_time(database_url: str, unresponsive: str):
    await keep(listing(database_url, None, unresponsive), connect_timeout=2)


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
async def test_an_unresponsive_server_uses_only_its_share_of_the_timeout(
    database_url: str, driver: str, unresponsive: str
):
    # libpq goes from one to the next itself, and has one limit for each.
    await keep(listing(database_url, driver, unresponsive), connect_timeout=5)


@servers_only
async def test_no_server_at_all_is_a_connection_error(backend: str, closed: str):
    storage = Provider(url=f"{backend}://someone@/agents?host={closed}&host={closed}")
    with pytest.raises(ConnectionError):
        await storage.initialize()


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg", "psycopg2"])
@pytest.mark.parametrize(
    ("query", "chosen"),
    [
        ("host=one&host=two", "read-write"),
        ("host=one,two&port=5432,5433", "read-write"),
        ("host=one&host=two&target_session_attrs=any", "any"),
        ("host=one", None),
    ],
)
def test_of_several_servers_a_standby_is_not_chosen_unless_asked_for(
    driver: str, query: str, chosen: str | None
):
    url = parse_url(f"postgresql+{driver}://someone@/agents?{query}")
    assert url.query.get("target_session_attrs") == chosen
