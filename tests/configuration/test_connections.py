"""A database that cannot be used: the error is of the right kind, helps, and keeps secrets."""

from __future__ import annotations

import socket
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL, make_url

from slack_agents_sqlalchemy import ConfigurationError, DatabaseError, Provider

SERVERS = ["postgresql", "mariadb", "mysql"]

servers_only = pytest.mark.parametrize("backend", SERVERS, indirect=True)


@pytest.fixture
def unresponsive_port() -> Iterator[int]:
    """A port where connections are taken and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.fixture
def closed_port() -> int:
    """A port without a listener."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


async def refusal(url: object, **options: object) -> BaseException:
    with pytest.raises(DatabaseError) as refused:
        await Provider(url=str(url), **options).initialize()
    return refused.value


@pytest.mark.parametrize("dialect", SERVERS)
async def test_a_server_that_is_down_is_a_connection_error(dialect: str, closed_port: int):
    error = await refusal(f"{dialect}://someone:sesame@127.0.0.1:{closed_port}/agents")
    assert isinstance(error, ConnectionError)
    assert f"someone:***@127.0.0.1:{closed_port}/agents" in str(error)
    assert "sesame" not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize("dialect", SERVERS)
async def test_a_server_that_does_not_answer_is_a_connection_error_in_time(
    dialect: str, unresponsive_port: int
):
    started = time.monotonic()
    error = await refusal(
        f"{dialect}://u:sesame@127.0.0.1:{unresponsive_port}/a", connect_timeout=1
    )
    assert isinstance(error, ConnectionError)
    assert time.monotonic() - started < 10
    assert "".join(traceback.format_exception(error)).count("Traceback") == 1
    assert "sesame" not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize("dialect", SERVERS)
async def test_a_host_that_does_not_exist_is_a_connection_error(dialect: str):
    error = await refusal(f"{dialect}://someone@no-such-host.invalid/agents")
    assert isinstance(error, ConnectionError)
    assert "no-such-host.invalid" in str(error)


@servers_only
async def test_a_database_that_does_not_exist_is_an_error_that_says_so(fresh_url: str):
    error = await refusal(
        make_url(fresh_url).set(database="no_such_agents").render_as_string(hide_password=False)
    )
    assert isinstance(error, ConnectionError)
    assert "/no_such_agents does not exist" in str(error)
    assert "CREATE DATABASE" in str(error)
    assert "password" not in str(error)


@servers_only
async def test_a_wrong_password_is_an_error_that_hides_it(fresh_url: str):
    wrong = make_url(fresh_url).set(username="sa_test_nobody", password="sesame")
    error = await refusal(wrong.render_as_string(hide_password=False))
    assert isinstance(error, PermissionError)
    assert "sa_test_nobody:***@" in str(error)
    assert "sesame" not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:sesame@db..example/a",
        "postgresql+psycopg://u:sesame@db..example/a",
        f"postgresql://u:sesame@{'a' * 64}.example/a",
        "postgresql://u:sesame@/a?host=db..example:1&host=127.0.0.1:1",
        "mysql://u:sesame@db..example/a",
        "mariadb+asyncmy://u:sesame@db..example/a",
        "mariadb+pymysql://u:sesame@db..example/a",
        "mariadb://u:sesame@127.0.0.1/a?connect_timeout=abc",
        "mariadb+pymysql://u:sesame@127.0.0.1/a?connect_timeout=abc",
    ],
)
async def test_what_no_driver_can_take_is_an_error_that_says_where_to_look(url: str):
    with pytest.raises(ConfigurationError, match=r"host, port.*connect_args") as unusable:
        await Provider(url=url, connect_timeout=2).initialize()
    assert make_url(url).render_as_string().partition("://")[2] in str(unusable.value)
    assert "sesame" not in "".join(traceback.format_exception(unusable.value))


@pytest.mark.parametrize("port", [-1, 0, 65536, 99999])
@pytest.mark.parametrize(
    "url",
    [
        "{dialect}://u:sesame@127.0.0.1:{port}/a",
        "{dialect}://u:sesame@127.0.0.1/a?port={port}",
        "{dialect}://u:sesame@/a?host=127.0.0.1:{port}",
        "{dialect}://u:sesame@/a?host=127.0.0.1:1&host=[::1]:{port}",
        "{dialect}://u:sesame@/a?host=127.0.0.1,127.0.0.2&port=1,{port}",
    ],
)
@pytest.mark.parametrize("dialect", ["postgresql", "postgresql+psycopg", "mysql"])
def test_a_port_that_cannot_be_is_an_error_that_names_it(dialect: str, url: str, port: int):
    with pytest.raises(ConfigurationError, match=f"the port {port}: .* from 1 to 65535") as refused:
        Provider(url=url.format(dialect=dialect, port=port))
    assert "sesame" not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize(
    "driver",
    [
        "postgresql+asyncpg",
        "postgresql+psycopg",
        "postgresql+psycopg2",
        "mariadb+aiomysql",
        "mariadb+asyncmy",
        "mariadb+pymysql",
        "sqlite+pysqlite",
        "sqlite+aiosqlite",
    ],
)
async def test_the_cause_of_an_error_is_the_error_of_the_driver_alone(
    driver: str, closed_port: int, tmp_path: Path
):
    place = f"u:sesame@127.0.0.1:{closed_port}/a"
    if driver.startswith("sqlite"):
        place = f"/{tmp_path / 'missing' / 'agents.db'}"
    error = await refusal(f"{driver}://{place}")
    cause = error.__cause__
    assert cause is not None
    assert not type(cause).__module__.startswith("sqlalchemy")
    assert cause.__cause__ is None
    shown = "".join(traceback.format_exception(error))
    assert "site-packages" not in shown
    assert shown.count("Traceback") == 1
    assert len(shown.splitlines()) < 40
    assert "sesame" not in shown


async def test_the_message_includes_the_reason_that_only_the_cause_of_a_drivers_error_gives(
    closed_port: int,
):
    error = await refusal(f"mariadb+aiomysql://u@127.0.0.1:{closed_port}/a")
    assert "Connect call failed" in str(error)


@pytest.mark.parametrize("backend", ["mariadb", "mysql"], indirect=True)
@pytest.mark.parametrize("driver", ["aiomysql", "asyncmy", "pymysql"])
async def test_a_password_that_the_driver_cannot_write_is_an_error_that_hides_it(
    fresh_url: str, driver: str
):
    url = make_url(fresh_url).set(drivername=f"mariadb+{driver}", password="sesame\N{KEY}")
    with pytest.raises((ConfigurationError, PermissionError)) as refused:
        await Provider(url=url).initialize()
    assert refused.value.__suppress_context__ or refused.value.__cause__
    assert not isinstance(refused.value.__cause__, UnicodeError)  # whose object is the password
    assert "sesame" not in "".join(traceback.format_exception(refused.value))


async def test_a_sqlite_path_with_a_nul_is_an_error_that_says_where_to_look(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="connect_args"):
        await Provider(url=URL.create("sqlite", database=f"{tmp_path}/a\0b.db")).initialize()
    assert list(tmp_path.iterdir()) == []


async def test_a_sqlite_file_in_a_folder_that_does_not_exist_is_a_connection_error(tmp_path: Path):
    error = await refusal(f"sqlite:///{tmp_path / 'missing' / 'agents.db'}")
    assert isinstance(error, ConnectionError)
    assert "missing/agents.db" in str(error)


async def test_a_file_that_is_no_sqlite_database_is_an_error_and_stays_as_it_is(tmp_path: Path):
    file = tmp_path / "agents.db"
    file.write_text("dear diary " * 500)
    error = await refusal(f"sqlite:///{file}")
    assert "agents.db" in str(error)
    assert file.read_text() == "dear diary " * 500


@pytest.mark.parametrize("uri", ["file::memory:?cache=shared&uri=true", ":memory:", ""])
def test_a_database_in_memory_supports_no_export_however_it_is_written(uri: str):
    assert not Provider(url=f"sqlite:///{uri}").supports_export


async def test_a_start_that_failed_can_be_tried_again(tmp_path: Path):
    folder = tmp_path / "later"
    provider = Provider(url=f"sqlite:///{folder / 'agents.db'}")
    with pytest.raises(ConnectionError):
        await provider.initialize()
    with pytest.raises(RuntimeError):
        await provider.get("namespace", "key")
    folder.mkdir()
    await provider.initialize()
    await provider.set("namespace", "key", {"stored": True})
    assert await provider.get("namespace", "key") == {"stored": True}
    await provider.close()


@pytest.mark.parametrize(
    ("url", "arguments"),
    [
        ("mysql+mysqlconnector://u:sesame@127.0.0.1:1/a?compresss=true", {}),
        ("postgresql://u:sesame@127.0.0.1:1/a", {"host": 8}),
    ],
)
async def test_an_argument_that_a_driver_fails_on_is_a_configuration_error(
    url: str, arguments: dict[str, object]
):
    """These drivers raise an AttributeError."""
    storage = Provider(url=url, connect_args=arguments)
    with pytest.raises(ConfigurationError, match="look at"):
        await storage.initialize()
