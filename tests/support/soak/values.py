"""Hostile values through every call that takes one: is the value read as it was written?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from slack_agents.storage.base import BaseStorageProvider

from tests.contract.hostile import (
    CONTENTS,
    JSON_OBJECTS,
    KEYS,
    LONG_KEYS,
    LOOKALIKES,
    NAMES,
    TEXTS,
)
from tests.contract.test_exactness import assert_every_call_keeps
from tests.support.soak.tally import Tally

type Case = Callable[[], Awaitable[bool]]


async def try_hostile_values(storage: BaseStorageProvider) -> Tally:
    """Store hostile texts and objects, each on its own, and count what became of them.

    A refusal that is a ``ValueError`` is no fault; any other error is one that reached a caller.
    """
    counts = Tally()
    for value in JSON_OBJECTS.values():
        await _try(counts, partial(_done, assert_every_call_keeps, storage, value))
    for carry in (CONTENTS | NAMES).values():
        for text in TEXTS:
            await _try(counts, partial(_same, text, carry, storage, text))
    return counts


async def try_hostile_keys(storage: BaseStorageProvider) -> Tally:
    """Store something under keys that look alike, and count what was found under another."""
    counts = Tally()
    for name, (put, get) in KEYS.items():
        if name.startswith("query namespace"):
            continue  # it would find what the others have put
        numbers = dict(zip(LOOKALIKES + LONG_KEYS, range(1000), strict=False))
        stored = {
            key: number
            for key, number in numbers.items()
            if await _try(counts, partial(_done, put, storage, key, number))
        }
        for key, number in stored.items():
            await _try(counts, partial(_same, number, get, storage, key))
    return counts


async def _try(counts: Tally, case: Case) -> bool:
    counts.calls += 1
    try:
        came_out = await case()
    except AssertionError:
        came_out = False
    except ValueError:
        return False
    except Exception:  # noqa: BLE001 - a driver's own
        counts.errors += 1
        return False
    counts.corrupted += not came_out
    return came_out


async def _same(value: object, call: Callable[..., Awaitable[object]], *arguments: Any) -> bool:
    return await call(*arguments) == value


async def _done(call: Callable[..., Awaitable[object]], *arguments: Any) -> bool:
    await call(*arguments)
    return True
