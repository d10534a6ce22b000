"""How much time a turn takes where 1, 5, 20 and 100 threads take turns at the same time.

Each task takes some turns in a thread of its own that is open, one after the other, as an agent
does when that many people write to it. Every provider has the pool that it has by default. The time
of a turn is that of all divided by their number, and its latency is what one task waits for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from statistics import median

from benchmarks import samples
from benchmarks.harness import Implementation, Session, Storage, percentile_95
from benchmarks.implementations import DEFAULTS, built_in, has_built_in, note_durability, ours

LEVELS = (1, 5, 20, 100)

_TURNS = 5
_READS = 20

type Work = Callable[[Storage, str, int], Awaitable[None]]


async def measure(session: Session) -> None:
    """Measure the providers at each level, from empty tables."""
    works = {name: work for name, work in _WORKS.items() if session.wants(name)}
    if not works:
        return
    levels = LEVELS[:2] if session.profile.is_quick else LEVELS
    session.show("", total=len(works) * len(levels))
    async with AsyncExitStack() as opened:
        opened.enter_context(session.on_one_cpu())
        implementations = [await opened.enter_async_context(ours(session.url))]
        if has_built_in(session):
            implementations.insert(0, await opened.enter_async_context(built_in(session.url)))
        implementations.append(await opened.enter_async_context(ours(session.url, DEFAULTS)))
        await note_durability(session, implementations)
        for name, work in works.items():
            for at_once in levels:
                await _measure(session, name, work, at_once, implementations)


async def _measure(
    session: Session, name: str, work: Work, at_once: int, implementations: list[Implementation]
) -> None:
    latencies: dict[str, list[float]] = {one.name: [] for one in implementations}

    async def burst(implementation: Implementation) -> list[float]:
        threads = [samples.new_thread() for _ in range(at_once)]
        await samples.fill(samples.conversation(implementation.storage, one) for one in threads)
        start = time.perf_counter_ns()
        times = await asyncio.gather(
            *(_task(implementation.storage, work, thread) for thread in threads)
        )
        took = (time.perf_counter_ns() - start) / 1000
        done = [one for some in times for one in some]
        latencies[implementation.name] += done
        return [took / len(done)]

    try:
        for one in implementations:
            await burst(one)
            latencies[one.name].clear()
        turns = {one.name: partial(burst, one) for one in implementations}
        comparison = await session.measure_turns(name, turns, at=at_once)
    finally:
        for one in implementations:
            await one.empty()
    for one in implementations:
        each = median(time for [time] in comparison.rounds[one.name])
        comparison.further[one.name] = {
            "per_second": round(1e6 / each, 1),
            "latency_p50": round(median(latencies[one.name]), 1),
            "latency_p95": round(percentile_95(latencies[one.name]), 1),
        }


async def _task(storage: Storage, work: Work, thread: str) -> list[float]:
    times = []
    for number in range(_READS if work is _read else _TURNS):
        start = time.perf_counter_ns()
        await work(storage, thread, number)
        times.append((time.perf_counter_ns() - start) / 1000)
    return times


async def _turn(storage: Storage, thread: str, number: int) -> None:
    seen = await samples.turn(storage, thread)
    assert seen == number


async def _read(storage: Storage, thread: str, _: int) -> None:
    assert await storage.has_conversation(samples.AGENT, samples.CHANNEL, thread)


_WORKS: dict[str, Work] = {"agent turns": _turn, "has_conversation": _read}
