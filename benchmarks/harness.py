"""How anything is timed here: contenders take turns in one process, and answers are checked first.

Each round gives every contender a turn, in an order that shifts from round to round, so that
whatever else the machine does hits them alike. A turn is a few calls, of which the first does not
count: it finds the caches as the other contender left them. What counts is the median of the
rounds' ratios; the times beside it depend on the machine.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from statistics import median
from typing import Any

from rich.progress import Progress, TaskID
from slack_agents.storage.base import BaseStorageProvider

type Storage = BaseStorageProvider
type Turn = Callable[[], Awaitable[list[float]]]
"""What a contender does in one round; returns its measurements."""


def percentile_95(numbers: Sequence[float]) -> float:
    """Return the number that 95 of 100 do not exceed."""
    return sorted(numbers)[ceil(0.95 * len(numbers)) - 1]


async def nothing(_: object = None) -> None:
    """Do nothing."""


@dataclass(frozen=True)
class Timed:
    """One contender's side of a case.

    Args:
        call: What is timed. It gets what ``before`` returned.
        check: Raises unless the answer of ``call`` is right.
        before: Runs before each call, untimed.
        after: Clears away the answer, untimed.
    """

    call: Callable[[Any], Awaitable[Any]]
    check: Callable[[Any], Awaitable[None]]
    before: Callable[[], Awaitable[Any]] = nothing
    after: Callable[[Any], Awaitable[None]] = nothing


@dataclass(frozen=True)
class Case:
    """Something that contenders do.

    Args:
        name: What it is called in the results.
        prepare: Sets it up in a database that is empty but for the scene.
        scene: Fills the database; cases in a row that share a scene share its rows.
    """

    name: str
    prepare: Callable[[Storage], Awaitable[Timed]]
    scene: Callable[[Storage], Awaitable[None]] = nothing


@dataclass(frozen=True)
class Contender:
    """A storage that takes part.

    Args:
        name: What it is called in the results.
        storage: The provider, initialized.
        another: Makes one more provider on the same database.
        scalar: Runs a statement on its database and returns the first value of the answer.
        empty: Deletes all its rows.
        settle: Brings its database to rest after many writes.
    """

    name: str
    storage: Storage
    another: Callable[[], Storage]
    scalar: Callable[[str], Awaitable[Any]]
    empty: Callable[[], Awaitable[None]]
    settle: Callable[[], Awaitable[None]] = nothing


@dataclass(frozen=True)
class Pace:
    """How long and with how much a case is measured.

    Args:
        warm_up: Calls of each contender that are checked and not timed.
        calls_per_turn: Calls in a turn that count.
        rounds_at_least: Rounds, unless they take five times ``seconds``; three in any case.
        rounds_at_most: Rounds after which a case ends before its ``seconds``.
        seconds: How long a case is measured.
        scale: What the sizes of databases are divided by.
    """

    warm_up: int
    calls_per_turn: int
    rounds_at_least: int
    rounds_at_most: int
    seconds: float
    scale: int = 1

    @property
    def is_quick(self) -> bool:
        """Whether nothing is measured."""
        return self.scale > 1

    def size(self, full: int) -> int:
        """Return how many of something a case shall have."""
        return max(full // self.scale, 10)

    def goes_on(self, rounds: int, elapsed: float) -> bool:
        """Return whether there shall be one more round."""
        if rounds < min(3, self.rounds_at_least):
            return True
        limit = self.seconds if rounds >= self.rounds_at_least else 5 * self.seconds
        return rounds < self.rounds_at_most and elapsed < limit


FULL = Pace(warm_up=5, calls_per_turn=4, rounds_at_least=10, rounds_at_most=250, seconds=3.0)
QUICK = Pace(
    warm_up=1, calls_per_turn=1, rounds_at_least=1, rounds_at_most=1, seconds=0.0, scale=100
)


@dataclass(frozen=True)
class Comparison:
    """What the contenders did in one case, round by round.

    Args:
        case: Its name.
        rounds: The measurements of each contender, of which less is better.
        at: The size at which it was measured, where a question varies one.
        unit: Of the measurements.
        further: Other numbers of a contender.
    """

    case: str
    rounds: dict[str, list[list[float]]]
    at: int | None = None
    unit: str = "us"
    further: dict[str, dict[str, float]] = field(default_factory=dict)

    def ratio(self, contender: str, to: str | None = None) -> float:
        """Return how many times as much the contender takes as another, usually the first."""
        base = to or next(iter(self.rounds))
        pairs = zip(self.rounds[contender], self.rounds[base], strict=True)
        return median(median(its) / median(base) for its, base in pairs)

    def to_json(self) -> dict[str, Any]:
        """Return the comparison's numbers, not its single measurements."""
        contenders = {}
        for name, rounds in self.rounds.items():
            numbers = [number for a_round in rounds for number in a_round]
            contenders[name] = {
                "p50": round(median(numbers), 1),
                "p95": round(percentile_95(numbers), 1),
                "median_ratio_to_first": round(self.ratio(name), 3),
                "n": len(numbers),
                **self.further.get(name, {}),
            }
        case = {"case": self.case, "unit": self.unit}
        return case | ({"at": self.at} if self.at else {}) | {"contenders": contenders}


@dataclass
class Session:
    """One question asked of one database.

    Args:
        url: The database.
        pace: How long to measure.
        progress: Shows what is being done.
        wanted: Parts of the names of the cases that were asked for; all by none.
    """

    url: str
    pace: Pace
    progress: Progress
    wanted: tuple[str, ...] = ()
    comparisons: list[Comparison] = field(default_factory=list)
    #: What there is to know about the measurements beside the numbers.
    notes: list[str] = field(default_factory=list)
    pinned: bool = False
    _bar: TaskID | None = None

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
        """Return whether the case was asked for."""
        return not self.wanted or any(part in case for part in self.wanted)

    def show(self, doing: str, total: int | None = None) -> None:
        """Show what is being done, and from now on out of how many races."""
        if self._bar is None:
            self._bar = self.progress.add_task("", total=None)
        self.progress.update(self._bar, description=doing)
        if total is not None:
            self.progress.update(self._bar, total=total)

    async def compare(self, cases: Sequence[Case], contenders: Sequence[Contender]) -> None:
        """Measure each case, the contenders side by side."""
        wanted = [case for case in cases if self.wants(case.name)]
        self.show("", total=len(wanted))
        scene = None
        try:
            for case in wanted:
                self.show(f"{case.name}: preparing")
                if scene is None or case.scene is not scene:
                    for one in contenders:
                        await one.empty()
                    for one in contenders:
                        await case.scene(one.storage)
                scene = None if case.scene is nothing else case.scene
                sides = {one.name: await case.prepare(one.storage) for one in contenders}
                for one in contenders:
                    await one.settle()
                await self.race_calls(case.name, sides)
        finally:
            for one in contenders:
                await one.empty()

    async def race_calls(
        self, case: str, sides: dict[str, Timed], at: int | None = None
    ) -> Comparison:
        """Measure a call of each contender in microseconds, once the answers are right."""
        self.show(f"{case}: warming up")
        turns = {name: await self._warm_up(side) for name, side in sides.items()}
        return await self.race(case, turns, at=at)

    async def race(
        self,
        case: str,
        turns: dict[str, Turn],
        *,
        at: int | None = None,
        unit: str = "us",
        pace: Pace | None = None,
    ) -> Comparison:
        """Measure the contenders' turns in rounds, for as long as the pace says."""
        self.show(case)
        pace = pace or self.pace
        rounds: dict[str, list[list[float]]] = {name: [] for name in turns}
        order = list(turns)
        gc.collect()
        start = time.monotonic()
        number = 0
        while pace.goes_on(number, time.monotonic() - start):
            for name in order:
                rounds[name].append(await turns[name]())
            order.append(order.pop(0))
            number += 1
        comparison = Comparison(case, rounds, at, unit)
        self.comparisons.append(comparison)
        if self._bar is not None:
            self.progress.advance(self._bar)
        return comparison

    async def _warm_up(self, side: Timed) -> Turn:
        """Check the answers, and return a turn: of one call, and no more, where calls are long."""
        is_long = False
        for _ in range(self.pace.warm_up):
            start = time.monotonic()
            answer = await side.call(await side.before())
            is_long = time.monotonic() - start > self.pace.seconds / 50
            await side.check(answer)
            await side.after(answer)
            if is_long:
                break
        calls = 1 if is_long else 1 + self.pace.calls_per_turn

        async def turn() -> list[float]:
            times = [await _time(side) for _ in range(calls)]
            return times if is_long else times[1:]

        return turn


async def _time(side: Timed) -> float:
    given = await side.before()
    start = time.perf_counter_ns()
    answer = await side.call(given)
    microseconds = (time.perf_counter_ns() - start) / 1000
    await side.after(answer)
    return microseconds
