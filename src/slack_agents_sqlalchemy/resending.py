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

PASSING = (DatabaseUnavailableError, DatabaseConflictError)
"""What may be over when the call is made again."""


async def resend[T](
    call: Callable[[], Awaitable[T]],
    error: Exception,
    *,
    patience: float,
    began: float,
    deadline: float,
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

    Raises:
        DuplicateKeyError: With ``was_stored`` where the row is that of the lost call.
    """
    import tenacity  # only a call that failed pays for the import

    now = asyncio.get_running_loop().time

    def is_worth_it(error: BaseException) -> bool:
        # What is still waiting for the lock when it is given up may be stored when nobody expects
        # it: the server must have the time to give up first, as it just did.
        in_time = now() + (now() - began) < deadline
        return isinstance(error, PASSING) and (in_time or not isinstance(error, LockTimeoutError))

    if not is_worth_it(error):
        raise error
    may_be_stored = isinstance(error, DatabaseUnavailableError)
    async for attempt in tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(is_worth_it),
        stop=tenacity.stop_after_delay(patience),
        wait=tenacity.wait_random_exponential(_FIRST_PAUSE, _LONGEST_PAUSE),
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
