"""Ask the benchmarks' questions of one or more databases: ``python -m benchmarks --help``."""

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

from benchmarks import RESULTS, questions, report
from benchmarks.harness import FULL, QUICK, Session
from slack_agents_sqlalchemy import Provider, StorageError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

QUESTIONS: dict[str, ModuleType] = {
    module.name: importlib.import_module(f"benchmarks.questions.{module.name}")
    for module in pkgutil.iter_modules(questions.__path__)
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
            help=f"A question ({', '.join(QUESTIONS)}), or a part of a case's name (repeatable)."
        ),
    ] = None,
    *,
    quick: Annotated[
        bool, typer.Option(help="Two rounds of little: shows that it runs, measures nothing.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder for JSON and charts. Default: benchmarks/results, with --quick none."
        ),
    ] = None,
) -> None:
    """Measure, print a table for each question and database, and keep the numbers as JSON."""
    chosen = [name for name in QUESTIONS if name in (only or QUESTIONS)] or list(QUESTIONS)
    cases = tuple(part for part in only or () if part not in QUESTIONS)
    folder = output or (None if quick else RESULTS)
    console = Console()
    answered = 0
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        for one in url or [f"sqlite:///{Path(temporary) / 'benchmark.db'}"]:
            try:
                database = asyncio.run(_look_at(one))
            except StorageError as exc:
                raise typer.BadParameter(str(exc)) from exc
            where = " ".join(filter(None, (database["dialect"], database["server_version"])))
            console.print(f"measuring in the slack_agents_ tables of a {where} database")
            for name in chosen:
                title = (QUESTIONS[name].__doc__ or name).partition("\n")[0]
                with Progress(console=console, transient=True) as progress:
                    session = Session(one, QUICK if quick else FULL, progress, cases)
                    asyncio.run(QUESTIONS[name].measure(session))
                if not session.comparisons:
                    console.print(f"{name}: nothing to measure here", *session.notes, sep="\n")
                    continue
                answered += 1
                console.print(report.table(title, session))
                if folder:
                    file = report.write(folder, report.to_json(name, title, session, database))
                    console.print(f"written: {file.name}")
    if cases and not answered:
        raise typer.BadParameter(f"no question or case is named like {', '.join(cases)}")
    if answered and folder and find_spec("matplotlib"):
        charts = importlib.import_module("benchmarks.charts")
        console.print("drawn:", ", ".join(file.name for file in charts.draw(folder)))


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
