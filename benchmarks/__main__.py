"""Ask the benchmarks' questions of one or more databases: ``python -m benchmarks --help``."""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

import benchmarks
from benchmarks import report
from benchmarks.harness import FULL, QUICK, Session
from slack_agents_sqlalchemy import Provider, StorageError

RESULTS = Path(__file__).with_name("results")

app = typer.Typer(add_completion=False)


def questions() -> dict[str, ModuleType]:
    """Return the modules of this package that measure something, by name."""
    names = [module.name for module in pkgutil.iter_modules(benchmarks.__path__)]
    modules = {
        name: importlib.import_module(f"benchmarks.{name}") for name in names if name[0] != "_"
    }
    return {name: module for name, module in modules.items() if hasattr(module, "measure")}


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
        typer.Option(help="A question, or a part of the name of a case (repeatable)."),
    ] = None,
    *,
    quick: Annotated[
        bool, typer.Option(help="Three rounds a case: shows that it runs, measures nothing.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder for the JSON. Default: benchmarks/results, with --quick none."),
    ] = None,
) -> None:
    """Measure, print a table for each question and database, and keep the numbers as JSON."""
    asked = questions()
    chosen = [name for name in asked if name in (only or asked)] or list(asked)
    cases = tuple(part for part in only or () if part not in asked)
    folder = output or (None if quick else RESULTS)
    console = Console()
    measured = 0
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        for one in url or [f"sqlite:///{Path(temporary) / 'benchmark.db'}"]:
            try:
                database = asyncio.run(_look_at(one))
            except StorageError as exc:
                raise typer.BadParameter(str(exc)) from exc
            where = " ".join(filter(None, (database["dialect"], database["server_version"])))
            console.print(f"measuring in the slack_agents_ tables of a {where} database")
            for name in chosen:
                title = (asked[name].__doc__ or name).partition("\n")[0]
                with Progress(console=console, transient=True) as progress:
                    session = Session(one, QUICK if quick else FULL, progress, cases)
                    asyncio.run(asked[name].measure(session))
                if not session.comparisons:
                    continue
                measured += 1
                console.print(report.table(title, session))
                if folder:
                    file = report.write(folder, report.to_json(name, title, session, database))
                    console.print(f"written: {file.name}")
    if not measured:
        raise typer.BadParameter(f"no question or case is named like {', '.join(only or ())}")


async def _look_at(url: str) -> dict[str, str]:
    """Return which database this is, or end: rows that are there may be somebody's."""
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
