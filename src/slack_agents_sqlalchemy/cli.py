"""The command line ``slack-agents-db``: what an operator does to the database."""

import asyncio
import io
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from slack_agents_sqlalchemy import migrations
from slack_agents_sqlalchemy._version import __version__
from slack_agents_sqlalchemy.database import Database
from slack_agents_sqlalchemy.errors import ConfigurationError, StorageError
from slack_agents_sqlalchemy.options import Migrate, Options, describe, parse_options, parse_url

app = typer.Typer(
    help="Look after the database of your Slack agents.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_out = Console(highlight=False)
_errors = Console(stderr=True, highlight=False)

_DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="DATABASE_URL",
        show_envvar=True,
        help="Database URL, as sqlite:///agents.db or postgresql://user:password@host/database.",
    ),
]

# What decides where the tables are and how they are reached, as the agent has it in config.yaml.
_Schema = Annotated[
    str | None,
    typer.Option("--schema", help="PostgreSQL: the agent's option `schema`, if it has one."),
]
_PreparedStatements = Annotated[
    bool,
    typer.Option(help="The agent's option `prepared_statements`: not behind PgBouncer."),
]


def _show_version(wanted: bool) -> None:
    if wanted:
        _say(f"slack-agents-sqlalchemy {__version__}")
        raise typer.Exit


@app.callback()
def main(
    *,
    version: Annotated[  # noqa: ARG001 - its callback acts
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Look after the database of your Slack agents."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a sign shows ?


@app.command()
def upgrade(
    url: _DatabaseUrl = None,
    schema: _Schema = None,
    prepared_statements: _PreparedStatements = True,
) -> None:
    """Create the tables, or upgrade them to this version's schema. Safe to run at any time."""
    with _reporting():
        options = _options("auto", schema, prepared_statements)
        before, shown = _with_database(url, options, _upgrade)
    if before == migrations.HEAD:
        _say(f"{shown} is up to date (revision {before})")
    else:
        _say(f"{shown} upgraded from {before or 'nothing'} to revision {migrations.HEAD}")


@app.command()
def current(
    url: _DatabaseUrl = None,
    schema: _Schema = None,
    prepared_statements: _PreparedStatements = True,
) -> None:
    """Show at which revision the schema is. Changes nothing."""
    with _reporting():
        options = _options("verify", schema, prepared_statements)
        revision, _ = _with_database(url, options, _current)
    _say(revision or "no schema yet")


@app.command()
def check(
    url: _DatabaseUrl = None,
    schema: _Schema = None,
    prepared_statements: _PreparedStatements = True,
) -> None:
    """Exit with 0 where the schema is this version's, else say what to do and exit with 1."""
    with _reporting():
        options = _options("verify", schema, prepared_statements)
        revision, shown = _with_database(url, options, _current)
        migrations.require_head(revision, options)
    _say(f"{shown} is up to date (revision {revision})")


@app.command()
def demo(
    url: Annotated[
        str | None,
        # Not DATABASE_URL: made-up threads do not belong where that may point.
        typer.Option(help="Database URL; without it, a SQLite file in the output directory."),
    ] = None,
    output: Annotated[
        Path, typer.Option(help="Where the HTML export goes, and the SQLite file without --url.")
    ] = Path("demo-output"),
) -> None:
    """Replay a set of agent threads, show what was stored, and export it as HTML."""
    from slack_agents_sqlalchemy.demo import run

    with _reporting():
        output.mkdir(parents=True, exist_ok=True)
        asyncio.run(run(url or f"sqlite:///{output / 'demo.db'}", output, _out))


@app.command("verify-backend")
def verify_backend(
    # An argument, not DATABASE_URL: what is tried out is named by hand.
    url: Annotated[str, typer.Argument(help="Database URL; no row in it is touched.")],
    keyword: Annotated[
        str, typer.Option("-k", help="Only the tests whose names match, as pytest's -k.")
    ] = "",
) -> None:
    """Try every sentence of the storage contract on a database, in a scratch place of its own."""
    with _reporting():
        try:
            from slack_agents_sqlalchemy import verification
        except ImportError as exc:
            raise ConfigurationError(
                f"{exc.name} is missing: pip install 'slack-agents-sqlalchemy[verify]'"
            ) from exc
        result = verification.verify(url, _out, keyword)
    if not result:
        raise typer.Exit(1)


def _say(line: str) -> None:
    _out.print(line, soft_wrap=True, markup=False)


async def _upgrade(database: Database) -> str | None:
    before = await database.run(migrations.current_revision)
    migrations.require_known(before)
    if before != migrations.HEAD:
        await migrations.upgrade(database)
    return before


async def _current(database: Database) -> str | None:
    return await database.run(migrations.current_revision)


def _options(migrate: Migrate, schema: str | None, prepared_statements: bool) -> Options:
    return parse_options(
        {"migrate": migrate, "schema": schema, "prepared_statements": prepared_statements}
    )


def _with_database[T](
    url: str | None, options: Options, task: Callable[[Database], Coroutine[Any, Any, T]]
) -> tuple[T, str]:
    """Run a task on an open database; return its result, and the URL to show."""
    parsed = parse_url(url)

    async def open_and_run() -> T:
        database = Database(parsed, options)
        await database.open()
        try:
            return await task(database)
        finally:
            await database.close()

    return asyncio.run(open_and_run()), describe(parsed)


@contextmanager
def _reporting() -> Iterator[None]:
    """Turn an error that a user can mend into one line and exit status 1."""
    try:
        yield
    except (StorageError, OSError) as exc:
        _errors.print(f"[red]Error:[/] {escape(str(exc))}", soft_wrap=True)
        raise typer.Exit(1) from exc
