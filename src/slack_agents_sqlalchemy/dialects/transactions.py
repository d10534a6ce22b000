"""Run an operation as one transaction, again where another transaction won."""

import asyncio
import random
import time
from collections.abc import Callable
from itertools import count

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.util import await_only

from slack_agents_sqlalchemy.errors import DuplicateKeyError

_ATTEMPTS = 20  # each but the first needs another caller whose transaction won
_LONGEST_PAUSE = 0.1  # seconds


def transact[T](
    connection: Connection,
    operation: Callable[[Connection], T],
    is_transient: Callable[[DBAPIError], bool],
    code_of: Callable[[DBAPIError], str | int | None],
    is_duplicate_key: Callable[[DBAPIError], bool],
) -> T:
    """Run an operation as one transaction, which is run again as a whole where it lost.

    Args:
        connection: A new one, which has run nothing yet.
        operation: What to do; it may be run several times.
        is_transient: Whether it may succeed when it is run again after this error.
        code_of: The code of an error; without one, nobody knows what became of a commit.
        is_duplicate_key: Whether an error says that a row is there already.

    Raises:
        DuplicateKeyError: With ``was_stored``: the row is that of a commit without an answer.
    """
    may_be_stored = False
    for attempt in count(1):
        committing = False
        try:
            result = operation(connection)
            committing = True
            connection.commit()
        except DBAPIError as exc:
            if may_be_stored and is_duplicate_key(exc):
                duplicate = DuplicateKeyError("a commit without an answer had stored the row")
                duplicate.was_stored = True
                raise duplicate from None
            if attempt == _ATTEMPTS or connection.invalidated or not is_transient(exc):
                raise
            may_be_stored |= committing and code_of(exc) is None
            connection.rollback()
            pause(connection, random.uniform(0, min(0.001 * 2**attempt, _LONGEST_PAUSE)))  # noqa: S311 - no secret
        else:
            return result
    raise AssertionError("the last attempt returns or raises")


def pause(connection: Connection, seconds: float) -> None:
    """Let others go on for a moment."""
    if connection.dialect.is_async:
        await_only(asyncio.sleep(seconds))
    else:
        time.sleep(seconds)
