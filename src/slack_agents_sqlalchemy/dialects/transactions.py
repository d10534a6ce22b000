"""Run an operation as one transaction, and retry it after a conflict with another one."""

import asyncio
import random
import time
from collections.abc import Callable
from itertools import count

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.util import await_only

from slack_agents_sqlalchemy.dialects.error_kinds import driver_error, is_transient
from slack_agents_sqlalchemy.errors import DuplicateKeyError

_ATTEMPTS = 20  # each retry needs a conflict with the transaction of another caller
_LONGEST_PAUSE = 0.1  # seconds
_SESSION_ENDS = 3.0  # seconds


def run_in_transaction[T](
    connection: Connection,
    operation: Callable[[Connection], T],
    *,
    error_code: Callable[[BaseException], str | int | None],
    is_duplicate_key: Callable[[BaseException], bool],
) -> T:
    """Run an operation as one transaction, retry it as a whole, and return its result.

    Args:
        connection: A new one, which has run nothing yet.
        operation: What to do; it may run several times.
        error_code: Returns the code of a driver's error. A commit that failed without a code may
            have succeeded.
        is_duplicate_key: Returns whether an error says that the key of a row exists.

    Raises:
        DuplicateKeyError: With ``was_stored``: an earlier commit of this call stored the row.
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
            code = error_code(driver_error(exc))
            if attempt == _ATTEMPTS or connection.invalidated or not is_transient(exc, code):
                raise
            may_be_stored |= committing and code is None
            connection.rollback()
            pause(connection, random.uniform(0, min(0.001 * 2**attempt, _LONGEST_PAUSE)))  # noqa: S311 - no secret
        else:
            return result
    raise AssertionError("the last attempt returns or raises")


def pause(connection: Connection, seconds: float) -> None:
    """Sleep, in a greenlet or on a worker thread."""
    if connection.dialect.is_async:
        await_only(asyncio.sleep(seconds))
    else:
        time.sleep(seconds)


def wait_until(connection: Connection, is_over: Callable[[], bool]) -> None:
    """Wait until a session has ended at the server, at most a few seconds.

    Args:
        connection: A connection of another session.
        is_over: Returns whether it has ended.
    """
    deadline = time.monotonic() + _SESSION_ENDS
    while not is_over() and time.monotonic() < deadline:
        pause(connection, 0.005)
