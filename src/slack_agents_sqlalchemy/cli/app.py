"""The command line ``slack-agents-db``: what an operator does to the database."""

import io
import os
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from sqlalchemy.engine import URL

from slack_agents_sqlalchemy import interruption
from slack_agents_sqlalchemy._version import __version__
from slack_agents_sqlalchemy.engine.database import Database
from slack_agents_sqlalchemy.errors import ConfigurationError, DriverMissingError, StorageError
from slack_agents_sqlalchemy.interruption import Interruption
from slack_agents_sqlalchemy.migrations import upgrade as migrations
from slack_agents_sqlalchemy.options import Migrate, Options, parse_options
from slack_agents_sqlalchemy.urls import parse_url, redact

app = typer.Typer(
    help="Look after the database of your Slack agents.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_out = Console(highlight=False)
_errors = Console(stderr=True, highlight=False)

_URL_VARIABLE = "DATABASE_URL"
_EXAMPLE = "postgresql://user:password@host/database"

_DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar=_URL_VARIABLE,
        show_envvar=True,
        metavar="URL",
        help="The database, for example sqlite:///agents.db.",
    ),
]

# What decides where the tables are and how they are reached, as the agent has it in config.yaml.
_Schema = Annotated[
    str | None,
    typer.Option(
        "--schema",
        metavar="NAME",
        help="PostgreSQL: the schema of the tables, as in the agent's config.yaml.",
    ),
]
_Unprepared = Annotated[
    bool,
    typer.Option(
        "--no-prepared-statements",
        help="For a pooler such as PgBouncer, as in the agent's config.yaml.",
    ),
]


class _UsageError(Exception):
    """The command line or the environment names no database that could be opened."""


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
            stream.reconfigure(errors="replace")  # a character the terminal lacks is shown as ?


@app.command()
def upgrade(
    url: _DatabaseUrl = None,
    schema: _Schema = None,
    no_prepared_statements: _Unprepared = False,
) -> None:
    """Create the tables, or upgrade them to this version's schema. Safe to run at any time."""
    with _command() as command:
        parsed, options = _read(url, "auto", schema, no_prepared_statements)
        command.note = migrations.interrupted_upgrade(parsed)
        before = _with_database(parsed, options, _upgrade)
        if before == migrations.HEAD:
            _say(f"{redact(parsed)} is up to date (revision {before})")
        else:
            was = before or "nothing"
            _say(f"{redact(parsed)} upgraded from {was} to revision {migrations.HEAD}")


@app.command()
def current(
    url: _DatabaseUrl = None,
    schema: _Schema = None,
    no_prepared_statements: _Unprepared = False,
) -> None:
    """Show the revision of the schema. Changes nothing."""
    with _command():
        parsed, options = _read(url, "verify", schema, no_prepared_statements)
        revision = _with_database(parsed, options, _current)
        _say(revision or "no schema yet")


@app.command()
def check(
    url: _DatabaseUrl = None,
    schema: _Schema = None,
    no_prepared_statements: _Unprepared = False,
) -> None:
    """Check that the schema is this version's. If not, say what to do and exit with 1."""
    with _command():
        parsed, options = _read(url, "verify", schema, no_prepared_statements)
        revision = _with_database(parsed, options, _current)
        migrations.require_head(revision, parsed, options)
        _say(f"{redact(parsed)} is up to date (revision {revision})")


@app.command()
def demo(
    url: Annotated[
        str | None,
        # Not DATABASE_URL: made-up threads do not belong where that may point.
        typer.Option(
            metavar="URL", help="The database. Without it: an SQLite file in the output directory."
        ),
    ] = None,
    output: Annotated[
        Path,
        typer.Option(metavar="DIRECTORY", help="Where the HTML export and the SQLite file go."),
    ] = Path("demo-output"),
) -> None:
    """Replay a set of agent threads, show what was stored, and export it as HTML."""
    with _command() as command:
        from slack_agents_sqlalchemy.demo import run

        if url is not None:
            _read_url(url, "--url")
        output.mkdir(parents=True, exist_ok=True)
        chosen = url or f"sqlite:///{output / 'demo.db'}"
        command.note = "the threads that were stored so far stay in the database"
        interruption.run(run(chosen, output, _out))


@app.command("verify-backend")
def verify_backend(
    # An argument, not DATABASE_URL: what is tried out is named by hand.
    url: Annotated[
        str, typer.Argument(metavar="URL", help="The database. None of its rows is touched.")
    ],
    keyword: Annotated[
        str,
        typer.Option("-k", metavar="EXPRESSION", help="Only the tests that match, as pytest's -k."),
    ] = "",
) -> None:
    """Run the tests of the storage contract in a temporary place on a database.

    Exit status: 0 all passed, 1 the database failed or was refused, 2 no test matches, 3 not all
    tests ran.
    """
    with _command(interruption.GRACE_TO_REMOVE) as command:
        try:
            from slack_agents_sqlalchemy.testing import plugin as verification
        except ImportError as exc:
            raise ConfigurationError(
                f"{exc.name} is missing: install the extra `verify` of this package, or "
                "pip install hypothesis pytest pytest-asyncio"
            ) from exc
        parsed = _read_url(url, "the URL")
        status = verification.verify(parsed, _out, keyword, command)
    raise typer.Exit(status)


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


def _read(
    url: str | None, migrate: Migrate, schema: str | None, unprepared: bool
) -> tuple[URL, Options]:
    """Return what the options of a command say.

    Raises:
        _UsageError: They name no database, or a value is of no use.
        DriverMissingError: The database's driver is not installed.
    """
    if not url:
        raise _UsageError(
            "no database is named: use --url, or set the environment variable "
            f"{_URL_VARIABLE}, for example to {_EXAMPLE}"
        )
    parsed = _read_url(url, _URL_VARIABLE if url == os.environ.get(_URL_VARIABLE) else "--url")
    try:
        options = parse_options(
            {"migrate": migrate, "schema": schema, "prepared_statements": not unprepared}
        )
    except ConfigurationError as exc:
        raise _UsageError(migrations.rename_option(str(exc), schema="--schema")) from exc
    return parsed, options


def _read_url(url: str, name: str) -> URL:
    try:
        return parse_url(url)
    except DriverMissingError:
        raise
    except ConfigurationError as exc:
        raise _UsageError(migrations.rename_option(str(exc), url=name)) from exc


def _with_database[T](
    url: URL, options: Options, task: Callable[[Database], Coroutine[Any, Any, T]]
) -> T:
    """Run a task on an open database and return its result."""

    async def open_and_run() -> T:
        database = Database(url, options)
        await database.open()
        try:
            return await task(database)
        finally:
            await database.close()

    return interruption.run(open_and_run())


@contextmanager
def _command(grace: float = interruption.GRACE) -> Iterator[Interruption]:
    """Run a command: an error that a user can mend, or a signal, ends it with one line.

    Args:
        grace: Seconds that a signal leaves it to clean up.
    """
    with interruption.interruptible(grace) as command:
        try:
            yield command
        except (_UsageError, StorageError, OSError) as exc:
            message = migrations.rename_option(str(exc), schema="--schema")
            if command.signal is not None:  # it failed to clean up
                command.note = message
                raise KeyboardInterrupt from exc
            _errors.print(f"[red]Error:[/] {escape(message)}", soft_wrap=True)
            raise typer.Exit(2 if isinstance(exc, _UsageError) else 1) from exc
