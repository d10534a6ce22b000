"""Inject faults into databases under load and count lost writes, beside the built-in provider.

    python3 dev.py soak [--seconds 10] [--only "lines cut"] [--on postgresql] [--json FILE]

Servers are private ones, started for this. With `--seconds 3600 --only …` it is a soak.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from tests.support.servers import MariaDB, MySQL, PostgreSQL, PrivateProcess, ServerMissingError
from tests.support.servers.clusters import Galera, Replication
from tests.support.soak.failovers import kill_a_node, promote_the_standby
from tests.support.soak.faults import FAULTS
from tests.support.soak.runs import Configure, built_in, judge, opened, ours, run
from tests.support.soak.tally import Tally
from tests.support.soak.values import try_hostile_keys, try_hostile_values
from tests.support.soak.writers import Writers

HUNG_AFTER = 20.0  # seconds
LIMITED = 5.0  # the option command_timeout where lines freeze; the built-in providers have none
KILLS = 3


class Environment(NamedTuple):
    """A new database for one run.

    Attributes:
        url: The database.
        configure: The provider.
        process: The server, where there is one.
        seconds: How long the fault lasts.
    """

    url: str
    configure: Configure
    process: PrivateProcess | None
    seconds: float

    async def make_tables(self) -> None:
        """Create the tables first: not every provider can create them concurrently."""
        async with opened(self.configure(self.url)):
            pass

    async def work(self, _writers: Writers) -> None:
        """Let the processes write for as long as the fault lasts."""
        await asyncio.sleep(self.seconds)


type Scenario = Callable[[Environment], Coroutine[Any, Any, Tally]]

type Result = dict[str, object]
"""What was done to whom, and the counts."""


async def values(environment: Environment) -> Tally:
    async with opened(environment.configure(environment.url)) as storage:
        return await try_hostile_values(storage)


async def keys(environment: Environment) -> Tally:
    async with opened(environment.configure(environment.url)) as storage:
        return await try_hostile_keys(storage)


async def first_starts(environment: Environment) -> Tally:
    return await run(
        environment.configure, environment.url, _no_work, processes=8, hung_after=HUNG_AFTER
    )


async def eight_processes(environment: Environment) -> Tally:
    await environment.make_tables()
    return await run(
        environment.configure, environment.url, environment.work, processes=8, hung_after=HUNG_AFTER
    )


async def callers_that_give_up(environment: Environment) -> Tally:
    await environment.make_tables()
    return await run(
        environment.configure,
        environment.url,
        environment.work,
        gives_up=True,
        hung_after=HUNG_AFTER,
    )


async def killed_processes(environment: Environment) -> Tally:
    await environment.make_tables()
    async with Writers(hung_after=HUNG_AFTER) as writers:
        for _ in range(KILLS):
            await writers.start([environment.configure(environment.url)] * 2)
            await writers.write(1)
            await asyncio.sleep(environment.seconds / KILLS)
            await writers.kill()
    async with opened(environment.configure(environment.url)) as storage:
        return await judge(writers, storage)


def with_fault(name: str) -> Scenario:
    """Return the scenario of a fault."""

    async def scenario(environment: Environment) -> Tally:
        await environment.make_tables()
        return await run(
            environment.configure,
            environment.url,
            environment.work,
            fault=FAULTS[name],
            process=environment.process,
            hung_after=HUNG_AFTER,
        )

    return scenario


async def _no_work(_writers: Writers) -> None:
    """Do nothing: the start is what is tested."""


EVERYWHERE: Mapping[str, Scenario] = {
    "hostile values": values,
    "hostile keys": keys,
    "eight first starts at once": first_starts,
    "eight processes": eight_processes,
    "callers that give up": callers_that_give_up,
    "processes killed": killed_processes,
}
SERVERS_ONLY: Mapping[str, Scenario] = {name: with_fault(name) for name in FAULTS}
RUNS: Mapping[str, Scenario] = {**EVERYWHERE, **SERVERS_ONLY}

DATABASES = {"postgresql": PostgreSQL, "mariadb": MariaDB, "mysql": MySQL, "sqlite": None}
CLUSTERS = ("galera", "replication")


@contextmanager
def database(name: str) -> Iterator[tuple[str, PrivateProcess | None]]:
    """Yield the URL of a new database, and its server where it has one."""
    kind = DATABASES[name]
    if kind is None:
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{folder}/agents.db", None
        return
    server = kind.start(durable=True)
    try:
        yield server.create_database(), server.process
    finally:
        server.close()


def measure(name: str, on: str, provider: str, seconds: float) -> Tally:
    """Run a scenario of one provider on a database of its own."""
    limited = {}
    if name == "lines frozen":  # for long enough to see what hangs
        limited, seconds = {"command_timeout": LIMITED}, max(seconds, 1.5 * HUNG_AFTER)
    configure = ours(**limited) if provider == "ours" else built_in
    with database(on) as (url, process):
        return asyncio.run(RUNS[name](Environment(url, configure, process, seconds)))


def measure_cluster(name: str, seconds: float) -> Tally:
    """Kill a server of a cluster."""

    async def work(writers: Writers) -> None:
        await writers.write(1)
        await asyncio.sleep(seconds / 2)

    if name == "galera":
        galera = Galera.start()
        try:
            return asyncio.run(kill_a_node(galera, work))[0]
        finally:
            galera.stop()
    replication = Replication.start()
    try:
        return asyncio.run(promote_the_standby(replication, work))
    finally:
        replication.stop()


def runs(only: Sequence[str], on: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Yield each run: the scenario, the database and the provider."""
    for name in only:
        for database_name in DATABASES:
            for provider in ("ours", "built-in"):
                is_there = provider == "ours" or database_name not in ("mariadb", "mysql")
                makes_sense = name in EVERYWHERE or database_name != "sqlite"
                if database_name in on and is_there and makes_sense:
                    yield name, database_name, provider


def main(
    seconds: Annotated[float, typer.Option(help="How long the fault of each run lasts.")] = 10.0,
    only: Annotated[list[str] | None, typer.Option(help=f"Of: {', '.join(RUNS)}.")] = None,
    on: Annotated[
        list[str] | None, typer.Option(help=f"Of: {', '.join((*DATABASES, *CLUSTERS))}.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--json", help="Where to keep the counts.")] = None,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print it so too.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Inject faults under load; exit with 1 where this provider has an anomaly."""
    console = Console(width=max(Console().width, 120))
    results: list[Result] = []

    def note(name: str, database_name: str, provider: str, run: Callable[[], Tally]) -> None:
        try:
            counts = run()
        except ServerMissingError as missing:
            console.print(f"{name}, {database_name}: left out, {missing}")
            return
        results.append({"fault": name, "on": database_name, "by": provider} | asdict(counts))
        console.print(f"{name}, {database_name}, {provider}: {counts}")
        if output:
            output.write_text(json.dumps(results, indent=1) + "\n")

    on = on or [*DATABASES, *CLUSTERS]
    for name, database_name, provider in runs(only or list(RUNS), on):
        note(
            name, database_name, provider, partial(measure, name, database_name, provider, seconds)
        )
    for name in CLUSTERS:
        if name in on and not only:
            note("a server killed", name, "ours", partial(measure_cluster, name, seconds))
    console.print(table(results))
    if as_markdown:
        print(markdown(results))
    if any(one["by"] == "ours" and one[count] for one in results for count in Tally().anomalies):
        raise typer.Exit(1)


_HEADINGS = {"duplicated": "dupl.", "longest": "longest, s"}


def table(results: Sequence[Result]) -> Table:
    """Return the counts as a table."""
    shown = Table()
    for name in results[0]:
        shown.add_column(_HEADINGS.get(name, name), no_wrap=True)
    for result in results:
        shown.add_row(*map(_shown, result.values()))
    return shown


def markdown(results: Sequence[Result]) -> str:
    """Return the counts as a table in Markdown, ours / the built-in's in one cell."""
    pairs: dict[tuple[object, object], list[Result]] = {}
    for result in results:
        pairs.setdefault((result["fault"], result["on"]), []).append(result)
    names = [name for name in results[0] if name != "by"]
    lines = [[_HEADINGS.get(name, name) for name in names], ["---"] * len(names)]
    for place, pair in pairs.items():
        counts = [" / ".join(_shown(one[name]) for one in pair) for name in names[len(place) :]]
        lines.append([*map(str, place), *counts])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _shown(value: object) -> str:
    match value:
        case float():
            return f"{value:.1f}"
        case int():
            return f"{value:,}"
        case _:
            return str(value)


if __name__ == "__main__":
    typer.run(main)
