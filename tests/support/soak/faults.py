"""What befalls a database while processes write to it; each for as long as its context lasts."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NamedTuple

from sqlalchemy.exc import OperationalError

from tests.support.observer import Observer
from tests.support.relay import Relay
from tests.support.servers.process import START_SECONDS, PrivateProcess

KILLED_EVERY = 0.1  # seconds
CUT_AFTER = 20_000  # bytes of a line, on average
FROZEN_AFTER = 100_000
LONGEST_DELAY = 0.02  # seconds
AT_WORK = 1.0  # seconds between two restarts
SUSPENDED = 1.0  # seconds


class Victim(NamedTuple):
    """A database server, and the ways to it.

    Attributes:
        observer: Looks at the database.
        relay: That the processes reach it by.
        process: The server itself, where it is private.
    """

    observer: Observer
    relay: Relay
    process: PrivateProcess | None = None


type Fault = Callable[[Victim], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def nothing(_victim: Victim) -> AsyncIterator[None]:
    """Do no harm."""
    yield


def connections_killed(victim: Victim) -> AbstractAsyncContextManager[None]:
    """Have the server end every connection, ten times a second."""

    async def kill() -> None:
        await asyncio.to_thread(victim.observer.kill_connections)
        await asyncio.sleep(KILLED_EVERY)

    return _again_and_again(kill)


@asynccontextmanager
async def lines_cut(victim: Victim) -> AsyncIterator[None]:
    """Cut each line at a random byte."""
    victim.relay.spoil("cut", after=CUT_AFTER)
    yield
    victim.relay.spoil(None)


@asynccontextmanager
async def lines_frozen(victim: Victim) -> AsyncIterator[None]:
    """Hand nothing on any more from a random byte of each line on, and close nothing."""
    victim.relay.spoil("freeze", after=FROZEN_AFTER)
    yield
    victim.relay.spoil(None)


@asynccontextmanager
async def lines_delayed(victim: Victim) -> AsyncIterator[None]:
    """Hand every piece on after a random time."""
    victim.relay.delay(LONGEST_DELAY)
    yield
    victim.relay.delay(0)


def server_restarted(victim: Victim) -> AbstractAsyncContextManager[None]:
    """Kill the server, or stop it in good order, and start it again, in turn."""
    process = victim.process
    assert process is not None
    ends = itertools.cycle((process.kill, process.end))

    async def restart() -> None:
        await asyncio.to_thread(next(ends))
        process.begin_again()
        await asyncio.to_thread(wait_for_answer, victim.observer)
        await asyncio.sleep(AT_WORK)

    return _again_and_again(restart)


def server_suspended(victim: Victim) -> AbstractAsyncContextManager[None]:
    """Have the server stand still for a second, every other second."""
    process = victim.process
    assert process is not None

    async def suspend() -> None:
        with process.suspended():
            await asyncio.sleep(SUSPENDED)
        await asyncio.sleep(AT_WORK)

    return _again_and_again(suspend)


@asynccontextmanager
async def _again_and_again(harm: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    is_over = False

    async def go_on() -> None:
        while not is_over:
            await harm()

    task = asyncio.create_task(go_on())
    try:
        yield
    finally:
        is_over = True
        await task


def wait_for_answer(observer: Observer) -> None:
    """Wait until the server answers."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            observer.transactions_left()
        except OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


FAULTS: Mapping[str, Fault] = {
    "nothing": nothing,
    "lines delayed": lines_delayed,
    "connections killed": connections_killed,
    "lines cut": lines_cut,
    "lines frozen": lines_frozen,
    "server restarted": server_restarted,
    "server suspended": server_suspended,
}
NEED_A_PRIVATE_SERVER = ("server restarted", "server suspended")
