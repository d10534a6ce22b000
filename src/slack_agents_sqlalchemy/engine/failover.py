"""The servers of one URL: a new connection goes to the first of them that serves, in time."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.engine import Dialect
from sqlalchemy.util import await_only, greenlet_spawn

from slack_agents_sqlalchemy.dialects import DialectAdapter, ErrorKind
from slack_agents_sqlalchemy.errors import DatabaseUnavailableError


class Failover:
    """Makes connections, as a listener of SQLAlchemy's event ``do_connect``.

    A server that is down, silent or no working part of its cluster is passed over. The one that
    served last is asked first, so that all connections go to the same server while it lives.
    """

    def __init__(
        self, adapter: DialectAdapter, servers: Sequence[Mapping[str, Any]], limit: float
    ) -> None:
        """Remember the servers.

        Args:
            adapter: The dialect.
            servers: For each, the arguments of the driver's ``connect`` that name it, in order;
                none where the one that the URL names is to be connected to as it is.
            limit: Seconds for each.
        """
        self._adapter = adapter
        self._servers = tuple(servers) or ({},)
        self._may_be_passed_over = bool(servers)
        self._limit = limit

    def __call__(
        self,
        dialect: Dialect,
        _record: object,
        arguments: Sequence[Any],
        named: Mapping[str, Any],
    ) -> Any:
        """Connect to a server."""
        servers = self._servers
        failures: list[Exception] = []
        for position, server in enumerate(servers):
            try:
                connection = self._connect(dialect, arguments, {**named, **server})
            except Exception as exc:
                if not self._is_passed_over(exc):
                    raise
                failures.append(exc)
            else:
                if failures:
                    self._servers = (*servers[position:], *servers[:position])
                return connection
        raise failures[-1]

    def _connect(self, dialect: Dialect, arguments: Sequence[Any], named: Mapping[str, Any]) -> Any:
        def connect_and_look() -> Any:
            connection = dialect.connect(*arguments, **named)
            try:
                if self._may_be_passed_over:
                    self._adapter.require_ready_server(connection)
            except BaseException:
                dialect.do_terminate(connection)
                raise
            return connection

        async def limited() -> Any:
            async with asyncio.timeout(self._limit):
                return await greenlet_spawn(connect_and_look)

        # Drivers limit the time until a server takes the connection, not until it answers.
        return await_only(limited()) if dialect.is_async else connect_and_look()

    def _is_passed_over(self, error: Exception) -> bool:
        return (
            isinstance(error, OSError | DatabaseUnavailableError)
            or self._adapter.error_kind(error) is ErrorKind.UNAVAILABLE
        )
