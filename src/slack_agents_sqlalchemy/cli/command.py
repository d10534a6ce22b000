"""Run a command: its output, its database, its errors and its signals."""

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

from slack_agents_sqlalchemy import interruption
from slack_agents_sqlalchemy.cli.options import Target, UsageError
from slack_agents_sqlalchemy.engine.database import Database
from slack_agents_sqlalchemy.errors import StorageError
from slack_agents_sqlalchemy.interruption import Interruption
from slack_agents_sqlalchemy.options import rename_option

output = Console(highlight=False)
_errors = Console(stderr=True, highlight=False)


def say(line: str) -> None:
    """Print a line to standard output, never wrapped."""
    output.print(line, soft_wrap=True, markup=False)


def run_on[T](target: Target, task: Callable[[Database], Coroutine[Any, Any, T]]) -> T:
    """Open the database that a command names, run a task on it, and return the result."""

    async def open_and_run() -> T:
        database = Database(target.url, target.options)
        await database.open()
        try:
            return await task(database)
        finally:
            await database.close()

    return interruption.run(open_and_run())


@contextmanager
def command(grace: float = interruption.GRACE) -> Iterator[Interruption]:
    """Run the body of a command; an error that the user can fix, or a signal, ends it in one line.

    The exit status is 2 for a `UsageError`, 1 for another error, 130 or 143 for a signal.

    Args:
        grace: Seconds that the command may take to clean up after a signal.
    """
    with interruption.interruptible(grace) as interrupted:
        try:
            yield interrupted
        except (UsageError, StorageError, OSError) as exc:
            message = rename_option(str(exc), schema="--schema")
            if interrupted.signal is not None:  # the error is from the cleanup
                interrupted.note = message
                raise KeyboardInterrupt from exc
            _errors.print(f"[red]Error:[/] {escape(message)}", soft_wrap=True)
            raise typer.Exit(2 if isinstance(exc, UsageError) else 1) from exc
