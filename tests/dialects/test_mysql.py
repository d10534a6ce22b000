"""MySQL and MariaDB: connections are encrypted where the URL asks for it, or refused."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url

from slack_agents_sqlalchemy import (
    ConfigurationError,
    DatabaseUnavailableError,
    InvalidValueError,
    Provider,
)
from tests.conftest import AnHourLater, skip
from tests.support.relay import Relay
from tests.support.servers import MariaDB, MySQL, ServerMissingError
from tests.support.servers.process import signing_command
from tests.support.sql import both_paths, run, watch_engine

DRIVERS = ["aiomysql", "asyncmy", "pymysql"]


@pytest.fixture(scope="module", params=[MariaDB, MySQL], ids=["mariadb", "mysql"])
def tls_server(request: pytest.FixtureRequest) -> Iterator[tuple[str, Path]]:
    """A private server that accepts encrypted connections too, and its certificate."""
    if shutil.which("openssl") is None:
        skip(ServerMissingError("openssl is not installed: apt-get install openssl"))
    try:
        server: MariaDB | MySQL = request.param.start(tls=True)
    except ServerMissingError as missing:
        skip(missing)
    assert server.certificate is not None
    yield server.create_database(), server.certificate
    server.close()


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_connection_is_encrypted_and_the_certificate_is_checked(
    tls_server: tuple[str, Path], driver: str, tmp_path: Path
):
    plain, certificate = tls_server
    plain_url = make_url(plain)
    url = plain_url.set(drivername=f"{plain_url.get_backend_name()}+{driver}")
    storage = Provider(url=url.update_query_dict({"ssl_ca": str(certificate)}))
    await storage.initialize()
    await storage.set("plugin", "key", {})
    [(_, cipher)] = await run(
        storage,
        lambda connection: connection.exec_driver_sql("SHOW STATUS LIKE 'Ssl_cipher'").all(),
    )
    assert cipher
    await storage.close()

    named_otherwise = url.set(host="localhost")
    with pytest.raises(DatabaseUnavailableError):
        await Provider(
            url=named_otherwise.update_query_dict({"ssl_ca": str(certificate)})
        ).initialize()

    other = tmp_path / "other.crt"
    subprocess.run(signing_command(other), check=True, capture_output=True)
    with pytest.raises(DatabaseUnavailableError):
        await Provider(url=url.update_query_dict({"ssl_ca": str(other)})).initialize()


@pytest.mark.parametrize("driver", DRIVERS)
async def test_an_idle_encrypted_connection_to_an_unresponsive_server_is_replaced_in_time(
    tls_server: tuple[str, Path], driver: str, an_hour_later: AnHourLater
):
    """asyncio waits 30 s for the peer when it closes an encrypted connection."""
    plain, certificate = tls_server
    url = make_url(plain)
    relay = Relay(url.host or "127.0.0.1", url.port or 3306)
    url = url.set(drivername=f"{url.get_backend_name()}+{driver}", port=await relay.open())
    url = url.update_query_dict({"ssl_ca": str(certificate)})
    storage = Provider(url=url, connect_timeout=1)
    await storage.initialize()
    relay.freeze()
    an_hour_later()
    started = time.monotonic()
    await storage.set("plugin", "key", {})
    assert time.monotonic() - started < 30
    await storage.close()
    await relay.close()


@pytest.mark.parametrize("backend", ["mariadb"], indirect=True)  # MySQL always offers it
@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_server_without_tls_is_refused_where_the_url_asks_for_it(
    database_url: str, driver: str, tls_server: tuple[str, Path]
):
    url = make_url(database_url).set(drivername=f"mariadb+{driver}")
    with pytest.raises(DatabaseUnavailableError):
        await Provider(url=url.update_query_dict({"ssl_ca": str(tls_server[1])})).initialize()


async def test_a_certificate_that_is_not_there_is_a_configuration_error():
    with pytest.raises(ConfigurationError, match="cannot be read"):
        await Provider(url="mysql://u@h/a?ssl_ca=/no/such/ca.pem").initialize()


@pytest.fixture
def small_packets(tls_server: tuple[str, Path]) -> Iterator[str]:
    """The URL of a server that accepts a mebibyte at once."""
    plain, _ = tls_server
    with create_engine(make_url(plain).set(drivername="mysql+pymysql")).connect() as admin:
        usual = admin.exec_driver_sql("SELECT @@GLOBAL.max_allowed_packet").scalar_one()
        admin.exec_driver_sql("SET GLOBAL max_allowed_packet = 1048576")
        yield plain
        admin.exec_driver_sql(f"SET GLOBAL max_allowed_packet = {usual}")


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_value_larger_than_the_server_accepts_is_an_error_that_names_the_setting(
    small_packets: str, driver: str
):
    storage = Provider(url=make_url(small_packets).set(drivername=f"mariadb+{driver}"))
    await storage.initialize()
    with pytest.raises(InvalidValueError, match=r"max_allowed_packet, which is 1,048,576 bytes"):
        await storage.set("plugin", driver, {"text": "x" * 2_000_000})
    assert await storage.get("plugin", driver) is None
    await storage.set("plugin", driver, {"text": "x" * 900_000})
    await storage.close()


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("character", ["x", "'", "\\"])
@both_paths
async def test_a_value_that_fits_without_its_statement_only_is_the_same_error(
    small_packets: str, driver: str, character: str, watch: bool
):
    storage = Provider(url=make_url(small_packets).set(drivername=f"mariadb+{driver}"))
    await storage.initialize()
    if watch:
        watch_engine(storage)
    size = {"x": 1, "'": 2, "\\": 4}[character]  # in JSON, and escaped

    async def fits(spare: int) -> bool:
        key = f"{character}{spare}"
        value = {"text": character * ((1_048_576 - spare) // size)}
        try:
            await storage.set(driver, key, value)
        except InvalidValueError:
            assert await storage.get(driver, key) is None
            return False
        assert await storage.get(driver, key) == value
        return True

    fitted = [await fits(spare) for spare in range(0, 800, 100)]
    assert fitted == sorted(fitted)
    assert set(fitted) == {False, True}
    await storage.close()
