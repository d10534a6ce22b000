"""One run: processes write to a database under a fault, and their writes are compared with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from typing import Any

from slack_agents.config import load_plugin
from slack_agents.storage.base import BaseStorageProvider
from sqlalchemy import make_url

from tests.support.observer import Observer
from tests.support.relay import Relay
from tests.support.servers import PrivateProcess
from tests.support.soak.faults import Fault, Target
from tests.support.soak.tally import Tally, tally
from tests.support.soak.writers import Writers

_PORTS = {"postgresql": 5432, "mariadb": 3306, "mysql": 3306}

type Storage = dict[str, Any]
"""The section `storage` of an agent's configuration."""

type Configure = Callable[[str], Storage]
"""Makes that section for a URL."""

type Work = Callable[[Writers], Awaitable[None]]


@asynccontextmanager
async def opened(storage: Storage) -> AsyncIterator[BaseStorageProvider]:
    """Open a storage as the framework does."""
    options = {name: value for name, value in storage.items() if name != "type"}
    provider = load_plugin(storage["type"], **options)
    await provider.initialize()
    yield provider
    await provider.close()


async def run(
    storage: Configure,
    url: str,
    work: Work,
    *,
    fault: Fault | None = None,
    process: PrivateProcess | None = None,
    processes: int = 2,
    directly: str | None = None,
    **settings: Any,
) -> Tally:
    """Run processes on a database and compare what they said with what is there.

    Args:
        storage: Makes the section `storage` for a URL.
        url: The database; one without rows, or an empty one.
        work: What to do while the processes write.
        fault: What happens to the database meanwhile; without one there is no relay.
        process: Its server, where that is private.
        processes: How many write.
        directly: The URL that they use instead of the one through the relay.
        settings: Further settings of the processes, see `tests.support.soak.writer.Settings`.
    """
    observer = Observer(url)
    async with _relayed(url) as (relay, relayed_url), Writers(**settings) as writers:
        reached = directly or (relayed_url if fault else url)
        await writers.start([storage(reached)] * processes)
        await writers.write(1)
        async with fault(Target(observer, relay, process)) if fault else nullcontext():
            await work(writers)
        await writers.write(1)
        await writers.settle()
        left = await asyncio.to_thread(observer.transactions_left)
        await writers.end()
    async with opened(storage(url)) as direct:
        return await judge(writers, direct) + Tally(leaked=left)


async def judge(writers: Writers, storage: BaseStorageProvider) -> Tally:
    """Compare what processes said with what is there; those that failed or stuck count too."""
    counts = await tally(writers.notes, storage)
    return counts + Tally(errors=len(writers.failed), hung=len(writers.stuck))


@asynccontextmanager
async def _relayed(url: str) -> AsyncIterator[tuple[Relay, str]]:
    """Yield a relay to a server, and the URL through it; that of a file is itself."""
    parsed = make_url(url)
    relay = Relay(parsed.host or "127.0.0.1", parsed.port or _PORTS.get(parsed.drivername, 0))
    if not parsed.host:
        yield relay, url
        return
    through = parsed.set(host="127.0.0.1", port=await relay.open())
    yield relay, through.render_as_string(hide_password=False)
    await relay.close()


def ours(**options: Any) -> Configure:
    """Return what makes the configuration of this package's provider."""
    return lambda url: {"type": "slack_agents_sqlalchemy", "url": url, **options}


def built_in(url: str) -> Storage:
    """Return the configuration of the framework's own provider for a database."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return {"type": "slack_agents.storage.sqlite", "path": parsed.database}
    return {"type": "slack_agents.storage.postgres", "url": url}
