"""Failover: a new connection goes to the first server of the URL that is ready in time."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.engine import Dialect
from sqlalchemy.util import await_only, greenlet_spawn

from slack_agents_sqlalchemy.dialects import DialectAdapter, ErrorKind
from slack_agents_sqlalchemy.errors import DatabaseUnavailableError


class Failover:
    """A listener of SQLAlchemy's event ``do_connect``, which makes the connections.

    It skips a server that is down, does not respond or is not synced with its cluster. It tries the
    server of the last connection first, so that all connections go to the same server.
    """

    def __init__(
        self, adapter: DialectAdapter, servers: Sequence[Mapping[str, object]], limit: float
    ) -> None:
        """Create the listener.

        Args:
            adapter: The adapter of the dialect.
            servers: The arguments of the driver's ``connect`` that name each server, in order; none
                where only the timeout applies.
            limit: Seconds for each server.
        """
        self._adapter = adapter
        self._servers = tuple(servers) or ({},)
        self._has_servers = bool(servers)
        self._limit = limit

    def __call__(
        self,
        dialect: Dialect,
        _record: object,
        arguments: Sequence[Any],
        named: Mapping[str, Any],
    ) -> Any:
        """Return a connection to the first server that is ready."""
        servers = self._servers
        failures: list[Exception] = []
        for position, server in enumerate(servers):
            try:
                connection = self._connect(dialect, arguments, {**named, **server})
            except Exception as exc:
                if not self._is_skipped(exc):
                    raise
                failures.append(exc)
            else:
                if failures:
                    self._servers = (*servers[position:], *servers[:position])
                return connection
        raise failures[-1]

    def _connect(self, dialect: Dialect, arguments: Sequence[Any], named: Mapping[str, Any]) -> Any:
        def connect_and_check() -> Any:
            connection = dialect.connect(*arguments, **named)
            try:
                if self._has_servers:
                    self._adapter.require_ready_server(connection)
            except BaseException:
                dialect.do_terminate(connection)
                raise
            return connection

        async def connect_in_time() -> Any:
            async with asyncio.timeout(self._limit):
                return await greenlet_spawn(connect_and_check)

        # Most drivers stop their timer when the TCP connection is open, before the log-in.
        return await_only(connect_in_time()) if dialect.is_async else connect_and_check()

    def _is_skipped(self, error: Exception) -> bool:
        return (
            isinstance(error, OSError | DatabaseUnavailableError)
            or self._adapter.error_kind(error) is ErrorKind.UNAVAILABLE
        )
