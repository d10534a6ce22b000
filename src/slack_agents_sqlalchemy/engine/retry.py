"""A call that lost its connection, or lost against another transaction, is made again."""

import asyncio
from collections.abc import Awaitable, Callable

from slack_agents_sqlalchemy.errors import (
    DatabaseConflictError,
    DatabaseUnavailableError,
    DuplicateKeyError,
    LockTimeoutError,
)

_FIRST_PAUSE = 0.02  # seconds; each next one may be twice as long, and all are random
_LONGEST_PAUSE = 1.0  # seconds
_POLL_PAUSE = 0.005  # seconds; the database has waited for the lock already

TRANSIENT = (DatabaseUnavailableError, DatabaseConflictError)
"""What may be over when the call is made again."""


async def retry[T](
    call: Callable[[], Awaitable[T]],
    error: Exception,
    *,
    patience: float,
    began: float,
    deadline: float,
    polls_locks: bool,
) -> T:
    """Make a call again that failed with a passing error, until it does not.

    What was acknowledged is there, and what was not may be there too: each call of this package
    leaves the same behind when it is made twice, as rows are inserted under ids that the client
    made.

    Args:
        call: What failed.
        error: With what.
        patience: Seconds after which its error is raised after all.
        began: The event loop's time when the call was made.
        deadline: When it is given up.
        polls_locks: Whether the database waits so briefly for a lock that the call is made again
            until its deadline.

    Raises:
        DuplicateKeyError: With ``was_stored`` where the row is that of the lost call.
    """
    import tenacity  # only a call that failed pays for the import

    now = asyncio.get_running_loop().time

    def is_worth_it(error: BaseException) -> bool:
        # What is still waiting for the lock when it is given up may be stored when nobody expects
        # it: the server must have the time to give up first, as it just did.
        if isinstance(error, LockTimeoutError):
            return now() + (now() - began) < deadline
        return isinstance(error, TRANSIENT) and now() < deadline

    if not is_worth_it(error):
        raise error
    may_be_stored = isinstance(error, DatabaseUnavailableError)
    too_long = tenacity.stop_after_delay(patience)
    pause = tenacity.wait_random_exponential(_FIRST_PAUSE, _LONGEST_PAUSE)

    def is_polled(state: tenacity.RetryCallState) -> bool:
        failed = None if state.outcome is None else state.outcome.exception()
        return polls_locks and isinstance(failed, LockTimeoutError)

    async for attempt in tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(is_worth_it),
        stop=lambda state: not is_polled(state) and too_long(state),
        wait=lambda state: _POLL_PAUSE if is_polled(state) else pause(state),
        reraise=True,
    ):
        with attempt:
            began = now()
            try:
                return await call()
            except DatabaseUnavailableError:
                may_be_stored = True
                raise
            except DuplicateKeyError as exc:
                exc.was_stored = may_be_stored
                raise
    raise AssertionError("the last attempt returns or raises")
