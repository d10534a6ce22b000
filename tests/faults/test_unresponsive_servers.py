"""A server that does not respond is detected within `connect_timeout`, and given up."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import event

from slack_agents_sqlalchemy import Provider
from slack_agents_sqlalchemy.dialects.keepalive import Keepalive
from tests.conftest import AnHourLater, NewProvider
from tests.support.relay import Relay
from tests.support.sql import watch_engine, with_driver

_DESCRIPTORS: dict[str, Callable[[Any], int]] = {
    "asyncpg": lambda connection: connection._transport.get_extra_info("socket").fileno(),
    "psycopg": lambda connection: connection.fileno(),
    "psycopg2": lambda connection: connection.fileno(),
    "aiomysql": lambda connection: connection._writer.get_extra_info("socket").fileno(),
    "asyncmy": lambda connection: connection._transport.get_extra_info("socket").fileno(),
    "pymysql": lambda connection: connection._sock.fileno(),
}
DRIVERS = [
    *(("postgresql", driver) for driver in ("asyncpg", "psycopg", "psycopg2")),
    *(
        (server, driver)
        for server in ("mariadb", "mysql")
        for driver in ("aiomysql", "asyncmy", "pymysql")
    ),
]
CALLERS = 3
LONG_BEFORE_COMMAND_TIMEOUT = 30.0  # seconds

drivers = pytest.mark.parametrize(("backend", "driver"), DRIVERS, indirect=["backend"])


async def options(storage: Provider, driver: str) -> dict[str, int]:
    """Return the TCP options of the connection that the storage uses."""
    used: list[Any] = []
    event.listen(storage.engine, "checkout", lambda _, record, __: used.append(record))
    await storage.get("namespace", "key")
    descriptor = _DESCRIPTORS[driver](used[0].driver_connection)
    names = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
    with socket.socket(fileno=os.dup(descriptor)) as same:
        found = {
            name: same.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
            for name in names
            if hasattr(socket, name)
        }
        found["SO_KEEPALIVE"] = int(same.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0)
    return found


@pytest.mark.parametrize(
    ("seconds", "settings"),
    [
        (0.5, (1, 1, 1, 500)),
        (3, (1, 1, 2, 3_000)),
        (10, (5, 1, 5, 10_000)),
        (60, (30, 6, 5, 60_000)),
        (1e9, (16_383, 3_276, 6, 32_767_000)),
    ],
)
def test_the_keepalive_settings_fill_the_time_limit(
    seconds: float, settings: tuple[int, int, int, int]
):
    assert Keepalive.within(seconds) == settings


@drivers
async def test_keepalive_gives_up_an_unresponsive_server_after_connect_timeout(
    database_url: str, driver: str, new_provider: NewProvider
):
    storage = await new_provider(url=with_driver(database_url, driver), connect_timeout=30)
    found = await options(storage, driver)
    expected = {
        "SO_KEEPALIVE": 1,
        "TCP_KEEPIDLE": 15,
        "TCP_KEEPINTVL": 3,
        "TCP_KEEPCNT": 5,
        "TCP_USER_TIMEOUT": 30_000,
    }
    assert found == {name: expected[name] for name in found}


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
@pytest.mark.parametrize("in_url", [False, True])
async def test_keepalive_settings_of_the_user_are_kept(
    database_url: str, driver: str, in_url: bool, new_provider: NewProvider
):
    given = {"keepalives_idle": "77", "tcp_user_timeout": "4321"}
    url = with_driver(database_url, driver, query=given if in_url else {})
    storage = await new_provider(url=url, connect_args={} if in_url else given)
    found = await options(storage, driver)
    assert found.get("TCP_KEEPIDLE", 77) == 77
    assert found.get("TCP_USER_TIMEOUT", 4321) == 4321


async def through(relay: Relay, url: str, driver: str, **options: Any) -> Provider:
    """Return a storage that connects through the relay, with a connection for each caller."""
    relayed = with_driver(url, driver, host="127.0.0.1", port=await relay.open())
    storage = Provider(url=relayed, **options)
    await storage.initialize()
    await everybody_writes(storage)
    return storage


async def everybody_writes(storage: Provider) -> None:
    await asyncio.gather(*(storage.set("namespace", str(n), {"n": n}) for n in range(CALLERS)))


@pytest.mark.parametrize(
    ("backend", "driver", "watch"),
    [
        *((backend, driver, False) for backend, driver in DRIVERS),
        ("postgresql", "asyncpg", True),
        ("mariadb", "aiomysql", True),
    ],
    indirect=["backend"],
)
async def test_an_idle_connection_to_an_unresponsive_server_is_replaced_in_time(
    database_url: str, relay: Relay, driver: str, watch: bool, an_hour_later: AnHourLater
):
    # `command_timeout` is 60 s: a call that waits for it is too late.
    storage = await through(relay, database_url, driver, connect_timeout=2)
    if watch:  # which puts every call on the ordinary path
        watch_engine(storage)
    relay.freeze()
    an_hour_later()
    started = time.monotonic()
    await everybody_writes(storage)
    assert time.monotonic() - started < LONG_BEFORE_COMMAND_TIMEOUT
    await storage.close()


@pytest.mark.parametrize(
    ("backend", "driver"),
    [("postgresql", "asyncpg"), ("mariadb", "aiomysql")],
    indirect=["backend"],
)
async def test_after_one_timeout_the_other_idle_connections_are_checked(
    database_url: str, relay: Relay, driver: str
):
    storage = await through(relay, database_url, driver, connect_timeout=2, command_timeout=4)
    relay.freeze()
    with pytest.raises(TimeoutError):
        await storage.get("namespace", "0")
    await everybody_writes(storage)
    await storage.close()


@pytest.mark.parametrize(
    ("backend", "driver"),
    [("postgresql", "asyncpg"), ("mariadb", "aiomysql"), ("mariadb", "asyncmy")],
    indirect=["backend"],
)
async def test_a_server_that_stops_responding_during_a_log_in_is_given_up_in_time(
    database_url: str, relay: Relay, driver: str, an_hour_later: AnHourLater
):
    storage = await through(relay, database_url, driver, connect_timeout=2)
    relay.freeze()
    relay.inject("freeze", after=1)  # new lines too
    an_hour_later()
    started = time.monotonic()
    with pytest.raises(ConnectionError):
        await storage.get("namespace", "0")
    assert time.monotonic() - started < LONG_BEFORE_COMMAND_TIMEOUT
    await storage.close()
