"""Silence: a server that is gone without a word is found out in time.

Nothing tells a client of a host that lost its power, a network that split or a firewall that forgot
a connection. Two things are done about it, by the connection's socket, so that they work alike with
every driver that has one: TCP gives a connection up that nobody acknowledges anything on, and a
socket is shut down on which a ping was not answered.
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
    """Have TCP give a driver's connection up after so many seconds of silence.

    Nothing is done where there is no socket to be got at, none of TCP, or no such option.
    """
    probes = Keepalive.within(seconds)
    options = {  # macOS has another name for TCP_KEEPIDLE, and no TCP_USER_TIMEOUT
        "TCP_KEEPIDLE": probes.idle,
        "TCP_KEEPALIVE": probes.idle,
        "TCP_KEEPINTVL": probes.interval,
        "TCP_KEEPCNT": probes.number,
        "TCP_USER_TIMEOUT": probes.limit,
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
    """Shut the socket of a driver's connection down when what is done meanwhile takes longer.

    The driver then sees its connection closed. It is not cancelled, as asyncpg and psycopg answer
    that by asking the server to cancel, and wait for that.

    Args:
        seconds: How long it may take.
        connection: The driver's own.
        is_async: Whether the driver waits on the event loop, or keeps this thread.
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
    """Return the socket under a driver's connection, opened once more, if there is one."""
    try:
        descriptor = _descriptor(connection)
        is_blocking = os.get_blocking(descriptor)
        again = os.dup(descriptor)
    except Exception:  # noqa: BLE001 - a driver without one, of a file, or closed: whatever it says
        return None
    try:
        opened = socket.socket(fileno=again)
    except OSError:  # it is something else
        os.close(again)
        return None
    os.set_blocking(descriptor, is_blocking)  # who called socket.setdefaulttimeout has changed it
    return opened


def _descriptor(connection: Any) -> int:
    for name in ("_transport", "_writer"):  # asyncpg and asyncmy; aiomysql
        if (transport := getattr(connection, name, None)) is not None:
            return int(transport.get_extra_info("socket").fileno())
    # PyMySQL has a socket; psycopg, psycopg2 and mysqlclient have its number.
    return int(getattr(connection, "_sock", connection).fileno())
