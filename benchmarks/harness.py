"""How anything is timed here: contenders take turns in one process, and answers are checked first.

Each round gives every contender a turn, in an order that shifts from round to round, so that
whatever else the machine does hits them alike. A turn is a few calls, of which the first does not
count: it finds the caches as the other contender left them. What counts is the median of the
rounds' ratios; the times beside it depend on the machine.
"""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from statistics import median, quantiles
from typing import Any

from rich.progress import Progress
from slack_agents.storage.base import BaseStorageProvider
from sqlalchemy import Connection, text
from sqlalchemy.util import greenlet_spawn

from slack_agents_sqlalchemy import Provider
from slack_agents_sqlalchemy.models import Base


async def nothing() -> None:
    """Prepare nothing."""


@dataclass(frozen=True)
class Timed:
    """One contender's side of a case.

    Args:
        call: What is timed. It gets what ``before`` returned.
        check: Raises unless the answer of ``call`` is right.
        before: Runs before each call, untimed.
    """

    call: Callable[[Any], Awaitable[Any]]
    check: Callable[[Any], Awaitable[None]]
    before: Callable[[], Awaitable[Any]] = nothing


@dataclass(frozen=True)
class Case:
    """Something that contenders do: its name, and what sets it up on an empty database."""

    name: str
    prepare: Callable[[BaseStorageProvider], Awaitable[Timed]]


@dataclass(frozen=True)
class Contender:
    """A storage that takes part.

    Args:
        name: What it is called in the results.
        storage: The provider, initialized.
        empty: Deletes all its rows.
        settle: Brings its database to rest after many writes.
    """

    name: str
    storage: BaseStorageProvider
    empty: Callable[[], Awaitable[None]]
    settle: Callable[[], Awaitable[None]] = nothing


@dataclass(frozen=True)
class Pace:
    """How long a case is measured: until its seconds are over, within bounds on the rounds."""

    warm_up: int
    calls_per_turn: int
    rounds_at_least: int
    rounds_at_most: int
    seconds: float


FULL = Pace(warm_up=5, calls_per_turn=4, rounds_at_least=10, rounds_at_most=250, seconds=4.0)
QUICK = Pace(warm_up=1, calls_per_turn=1, rounds_at_least=3, rounds_at_most=3, seconds=0.0)


@dataclass(frozen=True)
class Comparison:
    """The times of the contenders in one case in microseconds, turn by turn."""

    case: str
    turns: dict[str, list[list[float]]]

    def ratio(self, contender: str) -> float:
        """Return how many times as long the contender takes as the first one."""
        first, *_ = self.turns.values()
        rounds = zip(self.turns[contender], first, strict=True)
        return median(median(its) / median(base) for its, base in rounds)

    def to_json(self) -> dict[str, Any]:
        """Return the comparison's numbers, not its single times."""
        calls = {
            name: [time for turn in turns for time in turn] for name, turns in self.turns.items()
        }
        return {
            "case": self.case,
            "n": len(next(iter(calls.values()))),
            "contenders": {
                name: {
                    "p50_us": round(median(times), 1),
                    "p95_us": round(quantiles(times, n=20, method="inclusive")[-1], 1),
                    "median_ratio_to_first": round(self.ratio(name), 3),
                }
                for name, times in calls.items()
            },
        }


@dataclass
class Session:
    """One question asked of one database."""

    url: str
    pace: Pace
    progress: Progress
    wanted: tuple[str, ...] = ()
    comparisons: list[Comparison] = field(default_factory=list)

    pinned: bool = False

    @contextmanager
    def on_one_cpu(self) -> Iterator[None]:
        """Keep this thread, and the threads that it starts meanwhile, on one CPU where that works.

        Otherwise it is chance whether a contender's worker thread sits on the event loop's CPU or
        on another: on a virtual machine that makes a short call on SQLite take 90 us or 270 us, for
        as long as the thread lives.
        """
        if not hasattr(os, "sched_setaffinity"):
            yield
            return
        usual = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {max(usual)})
        self.pinned = True
        try:
            yield
        finally:
            os.sched_setaffinity(0, usual)

    def wants(self, case: str) -> bool:
        """Return whether the case was asked for: by a part of its name, or all by none."""
        return not self.wanted or any(part in case for part in self.wanted)

    async def compare(self, cases: list[Case], contenders: list[Contender]) -> None:
        """Measure each case, the contenders side by side, from empty tables."""
        wanted = [case for case in cases if self.wants(case.name)]
        task = self.progress.add_task("", total=len(wanted))
        for case in wanted:
            self.progress.update(task, description=case.name)
            for contender in contenders:
                await contender.empty()
            sides = {one.name: await case.prepare(one.storage) for one in contenders}
            for contender in contenders:
                await contender.settle()
            self.comparisons.append(Comparison(case.name, await self._measure(sides)))
            self.progress.advance(task)
        for contender in contenders:
            await contender.empty()

    async def _measure(self, sides: dict[str, Timed]) -> dict[str, list[list[float]]]:
        for side in sides.values():
            for _ in range(self.pace.warm_up):
                await side.check(await side.call(await side.before()))
        turns: dict[str, list[list[float]]] = {name: [] for name in sides}
        order = list(sides)
        gc.collect()
        end = time.monotonic() + self.pace.seconds
        rounds = 0
        while rounds < self.pace.rounds_at_least or (
            rounds < self.pace.rounds_at_most and time.monotonic() < end
        ):
            for name in order:
                times = [await _time(sides[name]) for _ in range(1 + self.pace.calls_per_turn)]
                turns[name].append(times[1:])
            order.append(order.pop(0))
            rounds += 1
        return turns


async def _time(side: Timed) -> float:
    given = await side.before()
    start = time.perf_counter_ns()
    await side.call(given)
    return (time.perf_counter_ns() - start) / 1000


#: What a server does by itself some time after many writes, which must not fall into a measurement.
_SETTLING = {
    "postgresql": "VACUUM ANALYZE {}",
    "mariadb": "ANALYZE TABLE {}",
    "mysql": "ANALYZE TABLE {}",
}


def contender(name: str, provider: Provider) -> Contender:
    """Return this package's provider, or a subclass, as a contender."""
    tables = Base.metadata.sorted_tables
    settling = _SETTLING.get(provider.engine.dialect.name)

    def empty(connection: Connection) -> None:
        for table in reversed(tables):
            connection.execute(table.delete())

    def settle(connection: Connection) -> None:
        if settling:
            for table in tables:
                connection.execute(text(settling.format(table.name)))

    return Contender(
        name, provider, partial(_run, provider, empty), partial(_run, provider, settle)
    )


async def _run(provider: Provider, work: Callable[[Connection], None]) -> None:
    engine = provider.engine

    def connected() -> None:
        with engine.connect() as connection:
            work(connection)

    await (greenlet_spawn(connected) if engine.dialect.is_async else asyncio.to_thread(connected))
