"""``slack-agents-db verify-backend``."""

from typing import Annotated

import typer

from slack_agents_sqlalchemy import interruption
from slack_agents_sqlalchemy.cli.command import command, output
from slack_agents_sqlalchemy.cli.options import read_url
from slack_agents_sqlalchemy.errors import ConfigurationError


def verify_backend(
    # An argument, not DATABASE_URL: the user names the database on purpose.
    url: Annotated[
        str, typer.Argument(metavar="URL", help="The database. None of its rows is touched.")
    ],
    keyword: Annotated[
        str,
        typer.Option("-k", metavar="EXPRESSION", help="Only the tests that match, as pytest's -k."),
    ] = "",
) -> None:
    """Run the tests of the storage contract in a temporary database.

    Exit status: 0 all passed, 1 the database failed or was refused, 2 no test matches, 3 not all
    tests ran.
    """
    with command(interruption.GRACE_TO_REMOVE) as interrupted:
        try:
            from slack_agents_sqlalchemy.testing.verification import verify
        except ImportError as exc:
            raise ConfigurationError(
                f"{exc.name} is missing: install the extra `verify` of this package, or "
                "pip install hypothesis pytest pytest-asyncio"
            ) from exc
        status = verify(read_url(url, "the URL"), output, keyword, interrupted)
    raise typer.Exit(status)
