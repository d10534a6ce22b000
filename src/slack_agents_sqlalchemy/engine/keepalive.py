"""Detect a server that no longer responds, by the socket of the driver's connection.

A client gets no message when a host loses power, a network is partitioned or a firewall drops a
connection. TCP keepalive loses a connection whose packets are not acknowledged. The health check
shuts the socket down when a ping is not answered in time.

Both use the socket, because no public way works with every driver. asyncpg, aiomysql, asyncmy and
PyMySQL have no arguments for TCP keepalive. SQLAlchemy's ``do_terminate`` exists for asyncpg,
aiomysql and asyncmy only, and with TLS the last two wait 30 s for the server (measured).
"""

import asyncio
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from slack_agents_sqlalchemy.dialects.keepalive import Keepalive


def set_keepalive(connection: Any, seconds: float) -> None:
    """Set TCP keepalive on a driver's connection, to lose it after so many seconds.

    Does nothing for a connection without a TCP socket, or where an option does not exist.
    """
    settings = Keepalive.within(seconds)
    options = {  # macOS has TCP_KEEPALIVE for TCP_KEEPIDLE, and no TCP_USER_TIMEOUT
        "TCP_KEEPIDLE": settings.idle,
        "TCP_KEEPALIVE": settings.idle,
        "TCP_KEEPINTVL": settings.interval,
        "TCP_KEEPCNT": settings.number,
        "TCP_USER_TIMEOUT": settings.limit,
    }
    opened = _socket(connection)
    if opened is None:
        return
    with opened:
        if opened.family not in (socket.AF_INET, socket.AF_INET6):
            return
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in options.items():
            if hasattr(socket, name):
                opened.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


@contextmanager
def shut_down_after(seconds: float, connection: Any, *, is_async: bool) -> Iterator[None]:
    """Shut the socket of a driver's connection down when the body takes longer.

    The driver then finds its connection closed. The body is not cancelled: asyncpg and psycopg
    would ask the server to cancel, and wait for its answer.

    Args:
        seconds: Maximum duration of the body.
        connection: The driver's own connection.
        is_async: Whether the driver waits on the event loop; else it blocks this thread.
    """
    opened = _socket(connection)
    if opened is None:
        yield
        return
    with opened:
        if is_async:
            timer = asyncio.get_running_loop().call_later(seconds, _shut_down, opened)
            try:
                yield
            finally:
                timer.cancel()
        else:
            thread = threading.Timer(seconds, _shut_down, (opened,))
            thread.daemon = True
            thread.start()
            try:
                yield
            finally:
                thread.cancel()
                thread.join()


def _shut_down(opened: socket.socket) -> None:
    with suppress(OSError):  # the peer closed it
        opened.shutdown(socket.SHUT_RDWR)


def _socket(connection: Any) -> socket.socket | None:
    """Return a duplicate of the connection's socket; None where it has none."""
    try:
        descriptor = _descriptor(connection)
        is_blocking = os.get_blocking(descriptor)
        duplicate = os.dup(descriptor)
    except Exception:  # noqa: BLE001 - a closed connection, or a driver without a socket
        return None
    try:
        opened = socket.socket(fileno=duplicate)
    except OSError:  # it is no socket
        os.close(duplicate)
        return None
    os.set_blocking(descriptor, is_blocking)  # socket.setdefaulttimeout may have changed it
    return opened


def _descriptor(connection: Any) -> int:
    for name in ("_transport", "_writer"):  # asyncpg and asyncmy; aiomysql: no public way
        if (transport := getattr(connection, name, None)) is not None:
            return int(transport.get_extra_info("socket").fileno())
    if (opened := getattr(connection, "_sock", None)) is not None:  # PyMySQL: no public way
        return int(opened.fileno())
    return int(connection.fileno())  # psycopg, psycopg2 and mysqlclient
