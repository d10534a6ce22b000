"""The calls of a driver's own connection that the fast path needs."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Protocol, runtime_checkable


class DriverCalls(Protocol):
    """How statements run on a driver's own connection.

    The calls of a synchronous driver never suspend, so that a worker thread can run them too.
    """

    @property
    def read_time(self) -> Callable[[Any], datetime] | None:
        """A function that returns an aware UTC time for a time of the driver.

        None where the driver returns aware UTC times itself.
        """
        ...

    async def fetch(
        self, connection: Any, sql: str, arguments: list[Any]
    ) -> Sequence[Sequence[Any]]:
        """Run a reading statement and return all its rows."""
        ...

    async def execute(self, connection: Any, sql: str, arguments: list[Any]) -> int:
        """Run a writing statement and return how many rows it matched or inserted."""
        ...

    def is_closed(self, connection: Any) -> bool:
        """Return whether the connection was closed, by the server for example."""
        ...


@runtime_checkable
class TransactionCalls(Protocol):
    """How several statements share a transaction on a driver's own connection."""

    def begin(self, connection: Any) -> None:
        """Begin a transaction that writes."""
        ...

    def is_in_transaction(self, connection: Any) -> bool:
        """Return whether the connection is in a transaction."""
        ...

    def commit(self, connection: Any) -> bool:
        """Commit the transaction, else roll it back; return whether all of it is stored."""
        ...
