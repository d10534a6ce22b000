"""The measurement: implementations take turns in one process, and answers are checked first.

Each round gives every implementation a turn. The order shifts from round to round, so that other
load of the machine affects all alike. A turn is a few calls; the first one is not counted, because
the caches still hold what the implementation before it used. The result is the median of the
rounds' ratios; the times depend on the machine.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from statistics import median
from typing import Any

from rich.progress import Progress, TaskID
from slack_agents.storage.base import BaseStorageProvider

type Storage = BaseStorageProvider
type Turn = Callable[[], Awaitable[list[float]]]
"""What an implementation does in one round; returns its measurements."""


def percentile_95(numbers: Sequence[float]) -> float:
    """Return the number that 95 of 100 do not exceed."""
    return sorted(numbers)[ceil(0.95 * len(numbers)) - 1]


async def nothing(_: object = None) -> None:
    """Do nothing."""


@dataclass(frozen=True)
class Timed:
    """One implementation's side of a case.

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
    """A call, or several, that each implementation makes.

    Args:
        name: What it is called in the results.
        prepare: Sets it up in a database that is empty but for its dataset.
        dataset: Fills the database; successive cases with the same dataset share its rows.
    """

    name: str
    prepare: Callable[[Storage], Awaitable[Timed]]
    dataset: Callable[[Storage], Awaitable[None]] = nothing


@dataclass(frozen=True)
class Implementation:
    """A storage that is compared.

    Args:
        name: What it is called in the results.
        storage: The provider, initialized.
        another: Makes one more provider on the same database.
        scalar: Runs a statement on its database and returns the first value of the answer.
        empty: Deletes all its rows.
        settle: Runs the database's maintenance after many writes.
    """

    name: str
    storage: Storage
    another: Callable[[], Storage]
    scalar: Callable[[str], Awaitable[Any]]
    empty: Callable[[], Awaitable[None]]
    settle: Callable[[], Awaitable[None]] = nothing


@dataclass(frozen=True)
class Profile:
    """How long and with how much a case is measured.

    Args:
        warm_up: Calls of each implementation that are checked and not timed.
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


FULL = Profile(warm_up=5, calls_per_turn=4, rounds_at_least=10, rounds_at_most=250, seconds=3.0)
QUICK = Profile(
    warm_up=1, calls_per_turn=1, rounds_at_least=1, rounds_at_most=1, seconds=0.0, scale=100
)


@dataclass(frozen=True)
class Comparison:
    """The measurements of one case, round by round.

    Args:
        case: Its name.
        rounds: The measurements of each implementation, of which less is better.
        at: The size at which it was measured, where a suite varies it.
        unit: Of the measurements.
        further: Other numbers of an implementation.
    """

    case: str
    rounds: dict[str, list[list[float]]]
    at: int | None = None
    unit: str = "us"
    further: dict[str, dict[str, float]] = field(default_factory=dict)

    def ratio(self, implementation: str, to: str | None = None) -> float:
        """Return how many times as much the implementation takes as another, usually the first."""
        base = to or next(iter(self.rounds))
        pairs = zip(self.rounds[implementation], self.rounds[base], strict=True)
        return median(median(its) / median(base) for its, base in pairs)

    def to_json(self) -> dict[str, Any]:
        """Return the comparison's numbers, not its single measurements."""
        implementations = {}
        for name, rounds in self.rounds.items():
            numbers = [number for a_round in rounds for number in a_round]
            implementations[name] = {
                "p50": round(median(numbers), 1),
                "p95": round(percentile_95(numbers), 1),
                "median_ratio_to_first": round(self.ratio(name), 3),
                "n": len(numbers),
                **self.further.get(name, {}),
            }
        case = {"case": self.case, "unit": self.unit}
        return case | ({"at": self.at} if self.at else {}) | {"implementations": implementations}


@dataclass
class Session:
    """One suite on one database.

    Args:
        url: The database.
        profile: How long to measure.
        progress: Shows what is being done.
        wanted: Parts of the names of the cases that were asked for; all by none.
    """

    url: str
    profile: Profile
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

        Otherwise it is chance whether an implementation's worker thread runs on the event loop's
        CPU or on another: on a virtual machine a short call on SQLite then takes 90 us or 270 us,
        for the life of the thread.
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
        """Show what is being done, and from now on out of how many comparisons."""
        if self._bar is None:
            self._bar = self.progress.add_task("", total=None)
        self.progress.update(self._bar, description=doing)
        if total is not None:
            self.progress.update(self._bar, total=total)

    async def compare(
        self, cases: Sequence[Case], implementations: Sequence[Implementation]
    ) -> None:
        """Measure each case, the implementations side by side."""
        wanted = [case for case in cases if self.wants(case.name)]
        self.show("", total=len(wanted))
        dataset = None
        try:
            for case in wanted:
                self.show(f"{case.name}: preparing")
                if dataset is None or case.dataset is not dataset:
                    for one in implementations:
                        await one.empty()
                    for one in implementations:
                        await case.dataset(one.storage)
                dataset = None if case.dataset is nothing else case.dataset
                sides = {one.name: await case.prepare(one.storage) for one in implementations}
                for one in implementations:
                    await one.settle()
                await self.measure_calls(case.name, sides)
        finally:
            for one in implementations:
                await one.empty()

    async def measure_calls(
        self, case: str, sides: dict[str, Timed], at: int | None = None
    ) -> Comparison:
        """Measure a call of each implementation in microseconds, once the answers are right."""
        self.show(f"{case}: warming up")
        turns = {name: await self._warm_up(side) for name, side in sides.items()}
        return await self.measure_turns(case, turns, at=at)

    async def measure_turns(
        self,
        case: str,
        turns: Mapping[str, Turn],
        *,
        at: int | None = None,
        unit: str = "us",
        profile: Profile | None = None,
    ) -> Comparison:
        """Measure the implementations' turns in rounds, for as long as the profile sets."""
        self.show(case)
        profile = profile or self.profile
        rounds: dict[str, list[list[float]]] = {name: [] for name in turns}
        order = list(turns)
        gc.collect()
        start = time.monotonic()
        number = 0
        while profile.goes_on(number, time.monotonic() - start):
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
        for _ in range(self.profile.warm_up):
            start = time.monotonic()
            answer = await side.call(await side.before())
            is_long = time.monotonic() - start > self.profile.seconds / 50
            await side.check(answer)
            await side.after(answer)
            if is_long:
                break
        calls = 1 if is_long else 1 + self.profile.calls_per_turn

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
