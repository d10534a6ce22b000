"""Run the benchmark suites on one or more databases: ``python -m benchmarks --help``."""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
import tempfile
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from benchmarks import OUTPUT, RESULTS, report, suites
from benchmarks.harness import FULL, QUICK, Profile, Session
from slack_agents_sqlalchemy import Provider, StorageError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

SUITES: dict[str, ModuleType] = {
    module.name: importlib.import_module(f"benchmarks.suites.{module.name}")
    for module in pkgutil.iter_modules(suites.__path__)
}


@app.command()
def main(
    url: Annotated[
        list[str] | None,
        typer.Option(
            help="Database to measure on (repeatable); its slack_agents_ tables must be absent or "
            "empty, and are emptied again. Default: a temporary SQLite file."
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help=f"A suite ({', '.join(SUITES)}), or a part of a case's name (repeatable)."
        ),
    ] = None,
    *,
    quick: Annotated[
        bool, typer.Option(help="Two rounds of small datasets: a smoke test, not a measurement.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder for JSON and charts. Default: benchmark-output, with --quick none."
        ),
    ] = None,
    record: Annotated[
        bool,
        typer.Option(
            help="Replace the committed results in benchmarks/results, which the documentation "
            "is written from."
        ),
    ] = False,
) -> None:
    """Measure, print a table for each suite and database, and keep the numbers as JSON."""
    chosen = [name for name in SUITES if name in (only or SUITES)] or list(SUITES)
    cases = tuple(part for part in only or () if part not in SUITES)
    if record and (quick or output or cases):
        raise typer.BadParameter("--record takes whole suites: no --quick, --output or case")
    folder = RESULTS if record else output or (None if quick else OUTPUT)
    console = Console()
    profile = QUICK if quick else FULL
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        urls = url or [f"sqlite:///{Path(temporary) / 'benchmark.db'}"]
        measured = sum(_run(console, one, chosen, profile, cases, folder) for one in urls)
    if cases and not measured:
        raise typer.BadParameter(f"no suite or case is named like {', '.join(cases)}")
    if record:
        console.print("now run: python -m benchmarks.figures && python -m benchmarks.charts")
    elif measured and folder:
        _draw(console, folder)


def _run(
    console: Console,
    url: str,
    chosen: list[str],
    profile: Profile,
    cases: tuple[str, ...],
    folder: Path | None,
) -> int:
    """Run the suites on one database, and return how many measured something."""
    try:
        database = asyncio.run(_describe(url))
    except StorageError as exc:
        raise typer.BadParameter(str(exc)) from exc
    where = " ".join(filter(None, (database["dialect"], database["server_version"])))
    console.print(f"measuring in the slack_agents_ tables of a {where} database")
    measured = 0
    for name in chosen:
        title = (SUITES[name].__doc__ or name).partition("\n")[0]
        with Progress(console=console, transient=True) as progress:
            session = Session(url, profile, progress, cases)
            asyncio.run(SUITES[name].measure(session))
        if not session.comparisons:
            reasons = session.notes or [f"no case is named like {', '.join(cases)}"]
            console.print(f"{name}: not measured: {'; '.join(reasons)}")
            continue
        measured += 1
        console.print(report.table(title, session))
        if folder:
            file = report.write(folder, report.to_json(name, title, session, database))
            console.print(f"written: {_shown(file)}")
    return measured


def _draw(console: Console, folder: Path) -> None:
    if not find_spec("matplotlib"):
        console.print("no charts: matplotlib is not installed")
        return
    charts = importlib.import_module("benchmarks.charts")
    for file in charts.draw(folder, folder):
        console.print(f"drawn: {_shown(file)}")


def _shown(file: Path) -> Path:
    return file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file


async def _describe(url: str) -> dict[str, str]:
    """Return dialect and version of the database; refuse one that has rows, which may be needed."""
    provider = Provider(url=url)
    await provider.initialize()
    try:
        rows = await provider.count_rows()
        database = report.describe_database(provider.engine)
    finally:
        await provider.close()
    if filled := [name for name, count in rows.items() if count]:
        raise typer.BadParameter(
            f"the {database['dialect']} database has rows in {', '.join(filled)}, which measuring "
            "would delete: give it a database of its own"
        )
    return database


if __name__ == "__main__":
    app()
