"""A database server of the tests, on which they create databases of their own."""

from __future__ import annotations

import os
import secrets
import time
from abc import ABC, abstractmethod
from contextlib import ExitStack, suppress
from typing import ClassVar, Self

from sqlalchemy import URL, make_url

from tests.support.servers.process import (
    LOOPBACK,
    START_SECONDS,
    Place,
    PrivateProcess,
    ServerBrokenError,
)

PRIVATE_ONLY = "SLACK_AGENTS_TEST_PRIVATE_SERVERS"
VERSION_TABLE = "slack_agents_alembic_version"
CONNECT_SECONDS = 5


class Server(ABC):
    """A server on which tests create databases of their own, through one administrator's login."""

    #: Environment variable that names an administrator's URL.
    variable: ClassVar[str]
    #: Administrators' URLs that are tried on this machine.
    usual_urls: ClassVar[tuple[str, ...]]
    #: What connecting raises when no server is there or the login is refused.
    refusals: ClassVar[tuple[type[Exception], ...]]

    def __init__(self, url: URL) -> None:
        self._url = url
        self._databases: list[str] = []
        #: The server itself, where it is private.
        self.process: PrivateProcess | None = None

    @classmethod
    def find(cls) -> Self:
        """Return the server that is named, else one that answers, else a private one.

        Raises:
            ServerMissingError: there is none, and none can be started.
            ServerBrokenError: a private server did not start.
        """
        if named := os.environ.get(cls.variable):
            return cls(make_url(named))
        if os.environ.get(PRIVATE_ONLY) != "1":
            for url in cls.usual_urls:
                with suppress(*cls.refusals):
                    return cls(make_url(url))
        return cls.start()

    @classmethod
    @abstractmethod
    def start(cls, *, durable: bool = False, place: Place = LOOPBACK) -> Self:
        """Start a private server, or raise `ServerMissingError` without its programs.

        Args:
            durable: Whether what it has acknowledged survives when it is killed.
            place: Where.
        """

    def create_database(self) -> str:
        """Create an empty database and return its URL."""
        name = f"sa_test_{os.getpid()}_{secrets.token_hex(4)}"
        self._create(name)
        self._databases.append(name)
        return self._url.set(database=name).render_as_string(hide_password=False)

    def drop_database(self, url: str) -> None:
        """Drop a database that `create_database` made."""
        name = str(make_url(url).database)
        self._databases.remove(name)
        self._drop(name)

    @abstractmethod
    def empty_tables(self, url: str) -> None:
        """Empty every table of the package in this database, but the one with the revision."""

    def close(self) -> None:
        """Drop the databases that are left, log out, and stop the server if it is private."""
        with ExitStack() as stack:
            if self.process:
                stack.callback(self.process.stop)
            stack.callback(self._log_out)
            while self._databases and not self.process:
                self._drop(self._databases.pop())

    @classmethod
    def _log_in_when_ready(cls, url: str, process: PrivateProcess) -> Self:
        """Log in to the private server as soon as it lets us, or stop it and say why it did not."""
        deadline = time.monotonic() + START_SECONDS
        try:
            while True:
                try:
                    server = cls(make_url(url))
                except cls.refusals as refusal:
                    if not process.is_running or time.monotonic() > deadline:
                        raise ServerBrokenError(process.output) from refusal
                    time.sleep(0.05)
                else:
                    server.process = process
                    return server
        except BaseException:
            process.stop()
            raise

    @abstractmethod
    def _create(self, name: str) -> None: ...

    @abstractmethod
    def _drop(self, name: str) -> None: ...

    @abstractmethod
    def _log_out(self) -> None: ...
