"""A time limit for calls, many at once: one timer serves them all."""

import asyncio
from types import TracebackType
from typing import Self


class DeadlineError(TimeoutError):
    """The call took longer than its limit."""


class Deadlines:
    """Cancels calls that take too long, as ``asyncio.timeout`` does.

    A timer for each call costs as much as reading a row from SQLite. As all calls have the same
    limit, the oldest is due first, and a timer for that one is enough; what it finds in time, it
    leaves.

    Args:
        limit: Seconds that a call may take.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._running: dict[_Deadline, float] = {}  # by age; when each is due
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None  # that the timer is for

    def start(self) -> "_Deadline":
        """Return the context in which the current task has the limit."""
        return _Deadline(self)

    def stop(self) -> None:
        """Drop the timer; no call is running any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def add(self, deadline: "_Deadline") -> None:
        """Have an eye on a call that begins."""
        loop = asyncio.get_running_loop()
        due = self._running[deadline] = loop.time() + self.limit
        if self._timer is None or self._loop is not loop:
            self._loop = loop
            self._timer = loop.call_at(due, self._look, loop)

    def remove(self, deadline: "_Deadline") -> None:
        """Have no eye on it any more."""
        self._running.pop(deadline, None)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        for deadline, due in list(self._running.items()):
            if due > loop.time():
                self._timer = loop.call_at(due, self._look, loop)
                return
            self.remove(deadline)
            deadline.expire()


class _Deadline:
    """The limit of one call.

    Raises:
        DeadlineError: On leaving it, where the limit cancelled the task.
    """

    __slots__ = ("_cancelling", "_deadlines", "_expired", "_task")

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self._expired = False

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a call of the storage must run in a task")
        self._task = task
        self._cancelling = task.cancelling()
        self._deadlines.add(self)
        return self

    def expire(self) -> None:
        """Cancel the call."""
        self._expired = True
        self._task.cancel()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._deadlines.remove(self)
        # A cancellation of somebody else's goes on as one.
        if (
            self._expired
            and self._task.uncancel() <= self._cancelling
            and kind is asyncio.CancelledError
        ):
            raise DeadlineError from error
