"""Calls that are in flight while the storage is closed, or whose caller was cancelled."""

from __future__ import annotations

import asyncio

import pytest
from slack_agents.storage.base import BaseStorageProvider


async def test_calls_in_flight_are_finished_before_the_storage_closes(
    storage: BaseStorageProvider,
) -> None:
    calls = [
        asyncio.create_task(storage.set("namespace", str(number), {"n": number}))
        for number in range(30)
    ]
    await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    await storage.close()
    assert await asyncio.gather(*calls) == [None] * 30
    with pytest.raises(RuntimeError):
        await storage.get("namespace", "1")


async def test_a_cancelled_read_leaves_the_storage_usable(storage: BaseStorageProvider) -> None:
    await storage.set("namespace", "key", {"kept": True})
    for _ in range(20):
        call = asyncio.create_task(storage.get("namespace", "key"))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await storage.get("namespace", "key") == {"kept": True}
