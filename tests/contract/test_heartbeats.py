"""Heartbeats: one float per agent, exactly as written."""

from __future__ import annotations

import math
import sys

import pytest
from slack_agents.storage.base import BaseStorageProvider


async def test_an_agent_that_never_wrote_one_has_no_heartbeat(
    storage: BaseStorageProvider,
) -> None:
    await storage.upsert_heartbeat("other", 1.5)
    assert await storage.get_heartbeat("agent") is None


@pytest.mark.parametrize(
    "written",
    [
        1763820000.123456,
        1763820000.1234567,
        0.1 + 0.2,
        0.0,
        -1.5,
        1e16,
        2.0**53 + 2,
        5e-324,
        sys.float_info.min,
        sys.float_info.max,
        253402300800.5,
    ],
    ids=repr,
)
async def test_the_very_float_that_was_written_is_read(
    storage: BaseStorageProvider, written: float
) -> None:
    await storage.upsert_heartbeat("agent", written)
    heartbeat = await storage.get_heartbeat("agent")
    assert heartbeat is not None
    assert list(heartbeat) == ["last_ping_pong_time"]
    read = heartbeat["last_ping_pong_time"]
    assert type(read) is float
    assert read == written


async def test_an_integer_is_read_as_a_float(storage: BaseStorageProvider) -> None:
    await storage.upsert_heartbeat("agent", 1763820000)
    heartbeat = await storage.get_heartbeat("agent")
    assert heartbeat == {"last_ping_pong_time": 1763820000.0}
    assert type(heartbeat["last_ping_pong_time"]) is float


async def test_the_newest_heartbeat_replaces_the_older_one(
    storage: BaseStorageProvider,
) -> None:
    await storage.upsert_heartbeat("agent", 2.5)
    await storage.upsert_heartbeat("agent", 3.5)
    await storage.upsert_heartbeat("agent", 1.5)
    assert await storage.get_heartbeat("agent") == {"last_ping_pong_time": 1.5}


async def test_each_agent_has_its_own_heartbeat(storage: BaseStorageProvider) -> None:
    await storage.upsert_heartbeat("one", 1.5)
    await storage.upsert_heartbeat("two", 2.5)
    assert await storage.get_heartbeat("one") == {"last_ping_pong_time": 1.5}
    assert await storage.get_heartbeat("two") == {"last_ping_pong_time": 2.5}


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
async def test_what_is_no_number_is_refused_and_the_old_heartbeat_stays(
    storage: BaseStorageProvider, number: float
) -> None:
    await storage.upsert_heartbeat("agent", 1.5)
    with pytest.raises(ValueError, match=r"\w"):
        await storage.upsert_heartbeat("agent", number)
    assert await storage.get_heartbeat("agent") == {"last_ping_pong_time": 1.5}
