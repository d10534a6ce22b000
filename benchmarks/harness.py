"""How anything is timed here: contenders take turns in one process, and answers are checked first.

Each round calls every contender once, the order turning from round to round, so that whatever else
the machine does hits them alike. What counts is the median of the rounds' ratios; the times beside
it depend on the machine.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any

from rich.progress import Progress
from slack_agents.storage.base import BaseStorageProvider
from sqlalchemy import make_url
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
class Pace:
    """How long a case is measured: until its seconds are over, within bounds on the rounds."""

    warm_up: int
    rounds_at_least: int
    rounds_at_most: int
    seconds: float


FULL = Pace(warm_up=5, rounds_at_least=20, rounds_at_most=1000, seconds=4.0)
QUICK = Pace(warm_up=1, rounds_at_least=3, rounds_at_most=3, seconds=0.0)


@dataclass(frozen=True)
class Comparison:
    """The times of the contenders in one case, round by round, in microseconds."""

    case: str
    times: dict[str, list[float]]

    def ratio(self, contender: str) -> float:
        """Return how many times as long the contender takes as the first one."""
        first, *_ = self.times.values()
        return median(its / base for its, base in zip(self.times[contender], first, strict=True))

    def to_json(self) -> dict[str, Any]:
        """Return the comparison's numbers, not its single times."""
        return {
            "case": self.case,
            "n": len(next(iter(self.times.values()))),
            "contenders": {
                name: {
                    "p50_us": round(median(times), 1),
                    "p95_us": round(quantiles(times, n=20, method="inclusive")[-1], 1),
                    "median_ratio_to_first": round(self.ratio(name), 3),
                }
                for name, times in self.times.items()
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

    def wants(self, case: str) -> bool:
        """Return whether the case was asked for: by a part of its name, or all by none."""
        return not self.wanted or any(part in case for part in self.wanted)

    async def compare(
        self,
        cases: list[Case],
        contenders: dict[str, BaseStorageProvider],
        empty: Callable[[], Awaitable[None]],
    ) -> None:
        """Measure each case, the contenders side by side, from empty tables."""
        wanted = [case for case in cases if self.wants(case.name)]
        task = self.progress.add_task(make_url(self.url).get_backend_name(), total=len(wanted))
        for case in wanted:
            self.progress.update(task, description=case.name)
            await empty()
            sides = {name: await case.prepare(storage) for name, storage in contenders.items()}
            self.comparisons.append(Comparison(case.name, await self._measure(sides)))
            self.progress.advance(task)
        await empty()
        self.progress.remove_task(task)

    async def _measure(self, sides: dict[str, Timed]) -> dict[str, list[float]]:
        for side in sides.values():
            for _ in range(self.pace.warm_up):
                await side.check(await side.call(await side.before()))
        times: dict[str, list[float]] = {name: [] for name in sides}
        order = list(sides)
        gc.collect()
        end = time.monotonic() + self.pace.seconds
        rounds = 0
        while rounds < self.pace.rounds_at_least or (
            rounds < self.pace.rounds_at_most and time.monotonic() < end
        ):
            for name in order:
                given = await sides[name].before()
                start = time.perf_counter_ns()
                await sides[name].call(given)
                times[name].append((time.perf_counter_ns() - start) / 1000)
            order.append(order.pop(0))
            rounds += 1
        return times


async def delete_rows(provider: Provider) -> None:
    """Delete every row of this package's tables."""
    engine = provider.engine

    def delete() -> None:
        with engine.begin() as connection:
            for table in reversed(Base.metadata.sorted_tables):
                connection.execute(table.delete())

    await (greenlet_spawn(delete) if engine.dialect.is_async else asyncio.to_thread(delete))
