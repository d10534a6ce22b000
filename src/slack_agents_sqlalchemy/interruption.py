"""Handle SIGINT and SIGTERM in a command: cancel it, limit the cleanup, end the process.

Python's own handler of SIGINT cancels: asyncio cancels the main task, other code gets a
``KeyboardInterrupt``. SIGTERM is handled in the same way.
"""

import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

GRACE = 5.0  # seconds that a command may take to close its connections
GRACE_TO_REMOVE = 30.0  # seconds, if it also drops a temporary database

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """The state of a command that a signal may interrupt.

    Attributes:
        signal: The first signal that was received, or None.
        note: A part of a sentence: what the user needs to know about the interrupted work.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self.note = ""
        self._ending = threading.Lock()

    def end(self) -> NoReturn:
        """Print one line and end the process with the exit status 130 or 143.

        SystemExit is not used: the interpreter would wait for drivers' threads, or crash in them.
        """
        self._ending.acquire()  # the main thread and the watching thread may both call this
        line = f"Interrupted: {self.note}\n" if self.note else "Interrupted\n"
        with suppress(OSError):
            os.write(2, line.encode(errors="replace"))
        os._exit(128 + (self.signal or signal.SIGINT))

    def terminate(self, number: int, frame: FrameType | None) -> None:
        """Handle SIGTERM as SIGINT is handled at this moment."""
        self.signal = signal.Signals(number)
        on_interrupt = signal.getsignal(signal.SIGINT)
        if not callable(on_interrupt):  # SIGINT is ignored, as in a background job of a script
            raise KeyboardInterrupt
        on_interrupt(number, frame)

    def watch(self, received: socket.socket, grace: float) -> None:
        """End the process at the second signal, or when the cleanup takes too long.

        Args:
            received: The socket to which the interpreter writes the number of each signal. It is
                closed at the end of the command.
            grace: Seconds that the cleanup may take.
        """
        with received:
            first = _next_signal(received)
            if first is None:
                return
            self.signal = first
            received.settimeout(grace)
            with suppress(TimeoutError):
                if _next_signal(received) is None:
                    return
        self.end()


def _next_signal(received: socket.socket) -> signal.Signals | None:
    """Wait for SIGINT or SIGTERM; return None at the end of the command."""
    while number := received.recv(1):
        if number[0] in _SIGNALS:
            return signal.Signals(number[0])
    return None


@contextmanager
def interruptible(grace: float = GRACE) -> Iterator[Interruption]:
    """Let SIGINT and SIGTERM interrupt the body of a command, which runs in the main thread.

    Args:
        grace: Seconds that the cleanup may take. A second signal ends the process immediately.
    """
    interruption = Interruption()
    received, written = socket.socketpair()
    written.setblocking(False)  # noqa: FBT003 - its only argument
    with ExitStack() as stack:
        stack.enter_context(written)
        stack.callback(signal.signal, signal.SIGTERM, signal.getsignal(signal.SIGTERM))
        # In a thread: the main thread may be blocked in a driver's C code.
        watching = threading.Thread(target=interruption.watch, args=(received, grace), daemon=True)
        watching.start()
        stack.callback(
            signal.set_wakeup_fd,
            signal.set_wakeup_fd(written.fileno(), warn_on_full_buffer=False),
        )
        signal.signal(signal.SIGTERM, interruption.terminate)
        try:
            yield interruption
        except KeyboardInterrupt:
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError):
                    stream.flush()
            interruption.end()


def run[T](main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine as `asyncio.run` does; SIGINT and SIGTERM cancel it."""
    with ExitStack() as stack:
        runner = stack.enter_context(asyncio.Runner())
        try:
            return runner.run(main)
        except KeyboardInterrupt:
            # Not closed: that waits for threads, such as one that resolves a host name.
            stack.pop_all()
            raise
