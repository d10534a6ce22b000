"""The command line ``slack-agents-db``: each command is a module of this package."""

import io
import sys
from typing import Annotated

import typer

from slack_agents_sqlalchemy._version import __version__
from slack_agents_sqlalchemy.cli.check import check
from slack_agents_sqlalchemy.cli.command import say
from slack_agents_sqlalchemy.cli.current import current
from slack_agents_sqlalchemy.cli.demo import demo
from slack_agents_sqlalchemy.cli.upgrade import upgrade
from slack_agents_sqlalchemy.cli.verify_backend import verify_backend

app = typer.Typer(
    help="Manage the database of your Slack agents.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

# In the order of the help.
app.command()(upgrade)
app.command()(current)
app.command()(check)
app.command()(demo)
app.command()(verify_backend)


def _show_version(wanted: bool) -> None:
    if wanted:
        say(f"slack-agents-sqlalchemy {__version__}")
        raise typer.Exit


@app.callback()
def main(
    *,
    version: Annotated[  # noqa: ARG001 - its callback acts
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Manage the database of your Slack agents."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a character the terminal lacks is shown as ?
