"""Faults of a database while processes write to it; each lasts as long as its context."""

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


class Target(NamedTuple):
    """A database server that a fault is injected into.

    Attributes:
        observer: Reads the state of the server.
        relay: Between the processes and the server.
        process: The server itself, where it is private.
    """

    observer: Observer
    relay: Relay
    process: PrivateProcess | None = None


type Fault = Callable[[Target], AbstractAsyncContextManager[None]]


def connections_killed(target: Target) -> AbstractAsyncContextManager[None]:
    """End every connection at the server, ten times a second."""

    async def kill() -> None:
        await asyncio.to_thread(target.observer.kill_connections)
        await asyncio.sleep(KILLED_EVERY)

    return _repeated(kill)


@asynccontextmanager
async def lines_cut(target: Target) -> AsyncIterator[None]:
    """Cut each line at a random byte."""
    target.relay.inject("cut", after=CUT_AFTER)
    yield
    target.relay.inject(None)


@asynccontextmanager
async def lines_frozen(target: Target) -> AsyncIterator[None]:
    """Stop forwarding each line at a random byte, without closing it."""
    target.relay.inject("freeze", after=FROZEN_AFTER)
    yield
    target.relay.inject(None)


@asynccontextmanager
async def lines_delayed(target: Target) -> AsyncIterator[None]:
    """Forward each piece after a random delay."""
    target.relay.delay(LONGEST_DELAY)
    yield
    target.relay.delay(0)


def server_restarted(target: Target) -> AbstractAsyncContextManager[None]:
    """Restart the server, after a kill and after an orderly stop in turn."""
    process = target.process
    assert process is not None
    ends = itertools.cycle((process.kill, process.end))

    async def restart() -> None:
        await asyncio.to_thread(next(ends))
        process.begin_again()
        await asyncio.to_thread(wait_for_answer, target.observer)
        await asyncio.sleep(AT_WORK)

    return _repeated(restart)


def server_suspended(target: Target) -> AbstractAsyncContextManager[None]:
    """Suspend the server for a second, every other second."""
    process = target.process
    assert process is not None

    async def suspend() -> None:
        with process.suspended():
            await asyncio.sleep(SUSPENDED)
        await asyncio.sleep(AT_WORK)

    return _repeated(suspend)


@asynccontextmanager
async def _repeated(inject: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    is_over = False

    async def repeat() -> None:
        while not is_over:
            await inject()

    task = asyncio.create_task(repeat())
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
    "lines delayed": lines_delayed,
    "connections killed": connections_killed,
    "lines cut": lines_cut,
    "lines frozen": lines_frozen,
    "server restarted": server_restarted,
    "server suspended": server_suspended,
}
NEED_A_PRIVATE_SERVER = ("server restarted", "server suspended")
