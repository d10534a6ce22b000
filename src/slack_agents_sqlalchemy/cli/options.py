"""The options that several commands share, and the database that they name."""

import os
from typing import Annotated, NamedTuple

import typer
from sqlalchemy.engine import URL

from slack_agents_sqlalchemy.errors import ConfigurationError, DriverMissingError
from slack_agents_sqlalchemy.options import Migrate, Options, parse_options, rename_option
from slack_agents_sqlalchemy.urls import parse_url

_URL_VARIABLE = "DATABASE_URL"
_EXAMPLE = "postgresql://user:password@host/database"

DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar=_URL_VARIABLE,
        show_envvar=True,
        metavar="URL",
        help="The database, for example sqlite:///agents.db.",
    ),
]
Schema = Annotated[
    str | None,
    typer.Option(
        "--schema",
        metavar="NAME",
        help="PostgreSQL: the schema of the tables, as in the agent's config.yaml.",
    ),
]
NoPreparedStatements = Annotated[
    bool,
    typer.Option(
        "--no-prepared-statements",
        help="For a pooler such as PgBouncer, as in the agent's config.yaml.",
    ),
]


class UsageError(Exception):
    """The command line or the environment names no database that can be opened."""


class Target(NamedTuple):
    """The database of a command, and the options of the provider that reach its tables."""

    url: URL
    options: Options


def read_target(
    url: str | None, schema: str | None, no_prepared_statements: bool, *, migrate: Migrate
) -> Target:
    """Return the database that the options of a command name.

    Args:
        url: The value of ``--url``, or of the environment variable ``DATABASE_URL``.
        schema: The value of ``--schema``.
        no_prepared_statements: Whether ``--no-prepared-statements`` was given.
        migrate: ``auto`` if the command may create the database, else ``verify``.

    Raises:
        UsageError: They name no database, or a value is unusable.
        DriverMissingError: The database's driver is not installed.
    """
    if not url:
        raise UsageError(
            "no database is named: use --url, or set the environment variable "
            f"{_URL_VARIABLE}, for example to {_EXAMPLE}"
        )
    parsed = read_url(url, _URL_VARIABLE if url == os.environ.get(_URL_VARIABLE) else "--url")
    try:
        options = parse_options(
            {
                "migrate": migrate,
                "schema": schema,
                "prepared_statements": not no_prepared_statements,
            }
        )
    except ConfigurationError as exc:
        raise UsageError(rename_option(str(exc), schema="--schema")) from exc
    return Target(parsed, options)


def read_url(url: str, name: str) -> URL:
    """Return a database URL.

    Args:
        url: The text.
        name: How the user knows it, for an error's message.

    Raises:
        UsageError: It is not a database URL.
        DriverMissingError: The database's driver is not installed.
    """
    try:
        return parse_url(url)
    except DriverMissingError:
        raise
    except ConfigurationError as exc:
        raise UsageError(rename_option(str(exc), url=name)) from exc
