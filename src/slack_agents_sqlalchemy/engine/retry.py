"""The retry policy: which errors are transient, and when a call is retried."""

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
"""The errors after which the same call may succeed."""


async def retry[T](
    call: Callable[[], Awaitable[T]],
    error: Exception,
    *,
    retry_timeout: float,
    began: float,
    deadline: float,
    polls_locks: bool,
) -> T:
    """Retry a call after a transient error, until it succeeds or fails with another error.

    A call whose connection was lost may have been stored. Each call of this package has the same
    effect when it runs twice, because rows are inserted under ids that the client made.

    Args:
        call: The call.
        error: The error that ended it.
        retry_timeout: Seconds after which the last error is raised.
        began: The event loop's time when the call was sent first.
        deadline: The event loop's time at which the call is given up.
        polls_locks: Whether the database waits so briefly for a lock that the call is retried until
            its deadline.

    Raises:
        DuplicateKeyError: With ``was_stored`` where the row is that of a lost connection.
    """
    import tenacity  # only a call that failed pays for the import

    now = asyncio.get_running_loop().time

    def is_retryable(error: BaseException) -> bool:
        # A statement that still waits for the lock when it is given up may be stored later: the
        # server must have the time to end it first, as it just did.
        if isinstance(error, LockTimeoutError):
            return now() + (now() - began) < deadline
        return isinstance(error, TRANSIENT) and now() < deadline

    def is_polled(state: tenacity.RetryCallState) -> bool:
        failed = None if state.outcome is None else state.outcome.exception()
        return polls_locks and isinstance(failed, LockTimeoutError)

    if not is_retryable(error):
        raise error
    may_be_stored = isinstance(error, DatabaseUnavailableError)
    stop = tenacity.stop_after_delay(retry_timeout)
    wait = tenacity.wait_random_exponential(_FIRST_PAUSE, _LONGEST_PAUSE)
    async for attempt in tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(is_retryable),
        stop=lambda state: not is_polled(state) and stop(state),
        wait=lambda state: _POLL_PAUSE if is_polled(state) else wait(state),
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
