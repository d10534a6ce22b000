"""One attempt of a call: its deadline, the connection that it uses, and how it is interrupted."""

import math
import threading
from collections.abc import Callable
from typing import Any

type Interrupt = Callable[[Any], None]
"""Has the database end what a driver connection runs; for a greenlet or another thread."""


class Attempt:
    """One attempt of a call, and how far it has come.

    Attributes:
        deadline: The event loop's time at which the call has taken too long.
        writes: Whether the call may change rows.
        shares_commit: Whether the call is one writing statement on the driver connection, which may
            run in a transaction with those of other calls.
        connected: It has had a connection.
        connection: The driver connection that it runs on, while it uses one.
        sql: The statement that was sent on the driver connection.
        sent: Its values.
        lost: That connection was lost.
    """

    __slots__ = (
        "_lock",
        "connected",
        "connection",
        "deadline",
        "lost",
        "sent",
        "shares_commit",
        "sql",
        "writes",
    )

    def __init__(
        self, deadline: float = math.inf, *, writes: bool = True, shares_commit: bool = False
    ) -> None:
        self.deadline = deadline
        self.writes = writes
        self.shares_commit = shares_commit
        self.connection: Any = None
        self.connected = False
        self.sql = ""
        self.sent: Any = ()
        self.lost = False
        self._lock = threading.Lock()

    def end(self) -> None:
        """Note that the connection is no longer used, before others may use it."""
        with self._lock:
            self.connection = None

    def interrupt(self, interrupt: Interrupt) -> None:
        """End what the connection runs, where this attempt still uses it."""
        with self._lock:
            if self.connection is not None:
                interrupt(self.connection)
