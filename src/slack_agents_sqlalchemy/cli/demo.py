"""``slack-agents-db demo``."""

from pathlib import Path
from typing import Annotated

import typer

from slack_agents_sqlalchemy import interruption
from slack_agents_sqlalchemy.cli.command import command, output
from slack_agents_sqlalchemy.cli.options import read_url


def demo(
    url: Annotated[
        str | None,
        # Not DATABASE_URL: that may be a database in use, where invented threads do not belong.
        typer.Option(
            metavar="URL", help="The database. Without it: an SQLite file in the output directory."
        ),
    ] = None,
    directory: Annotated[
        Path,
        typer.Option(
            "--output", metavar="DIRECTORY", help="Where the HTML export and the SQLite file go."
        ),
    ] = Path("demo-output"),
) -> None:
    """Replay a set of agent threads, show what was stored, and export it as HTML."""
    with command() as interrupted:
        from slack_agents_sqlalchemy.demo import run

        if url is not None:
            read_url(url, "--url")
        directory.mkdir(parents=True, exist_ok=True)
        interrupted.note = "the threads that were stored so far stay in the database"
        interruption.run(run(url or f"sqlite:///{directory / 'demo.db'}", directory, output))
