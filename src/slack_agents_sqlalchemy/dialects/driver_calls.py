"""The calls of a driver's own connection that the fast path needs."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any


class DriverCalls(ABC):
    """The use of a driver's own connection.

    Attributes:
        read_time: Returns the aware UTC time for a time of the driver; None where the driver
            returns aware UTC times itself.
    """

    read_time: Callable[[Any], datetime] | None = None

    @abstractmethod
    def is_closed(self, connection: Any) -> bool:
        """Return whether the connection was closed, by the server for example."""


class AsyncDriverCalls(DriverCalls):
    """The calls of an asyncio driver that run a statement."""

    @abstractmethod
    async def fetch(
        self, connection: Any, sql: str, arguments: list[Any]
    ) -> Sequence[Sequence[Any]]:
        """Run a reading statement and return all its rows."""

    @abstractmethod
    async def execute(self, connection: Any, sql: str, arguments: list[Any]) -> int:
        """Run a writing statement and return how many rows it matched or inserted."""


class TransactionCalls(DriverCalls):
    """The calls of a synchronous driver that make a transaction; PEP 249 defines the others."""

    @abstractmethod
    def begin(self, connection: Any) -> None:
        """Begin a transaction that writes."""

    @abstractmethod
    def is_in_transaction(self, connection: Any) -> bool:
        """Return whether the connection is in a transaction."""

    @abstractmethod
    def commit(self, connection: Any) -> bool:
        """Commit the transaction, else roll it back; return whether all of it is stored."""
