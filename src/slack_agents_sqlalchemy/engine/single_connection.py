"""The connection of a database that has only one; one worker thread uses it."""

import threading
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakSet

from sqlalchemy import event
from sqlalchemy.pool import PoolProxiedConnection

from slack_agents_sqlalchemy.dialects.driver_calls import TransactionCalls
from slack_agents_sqlalchemy.engine.fast_path import FastPath
from slack_agents_sqlalchemy.engine.pool import Pool


class SingleConnection:
    """The single driver connection of an engine, and the transactions on it.

    The connection is looked up once, while it stays the pool's: a checkout would cost a third of a
    point read.

    Args:
        pool: The pool of the engine.
        fast_path: The prepared statements.

    Attributes:
        driver_connection: The connection; None until it is looked up.
    """

    def __init__(self, pool: Pool, fast_path: FastPath[TransactionCalls]) -> None:
        self.fast_path = fast_path
        self.driver_connection: Any = None
        self._pool = pool
        self._checked_out: WeakSet[PoolProxiedConnection] = WeakSet()
        self._lock = threading.RLock()  # held by a transaction: no checkout ends meanwhile
        event.listen(pool.engine, "close", self._forget)
        event.listen(pool.engine, "checkout", self._note)

    def look_up(self) -> Any:
        """Return the driver connection, opened where it is not open.

        Raises:
            StorageError: It cannot be opened.
        """
        if self.driver_connection is None:
            pooled = self._pool.checkout()
            self.driver_connection = pooled.driver_connection
            pooled.close()
        return self.driver_connection

    def run_in_transaction(self, functions: Sequence[Callable[[], None]]) -> bool:
        """Run functions in one transaction, and return whether all of it is stored.

        Nothing is run while another caller has checked the connection out: a commit or rollback
        of that caller would end the transaction.

        Raises:
            Exception: The driver's, of beginning the transaction.
        """
        calls = self.fast_path.calls
        with self._lock:
            if any(pooled.is_valid for pooled in self._checked_out):
                return False
            connection = self.look_up()
            calls.begin(connection)
            for function in functions:
                function()
                if not calls.is_in_transaction(connection):  # an error rolled back the others too
                    return False
            is_stored = calls.commit(connection)
            if calls.is_in_transaction(connection):  # neither committed nor rolled back
                self.disconnect()
            return is_stored

    def disconnect(self) -> None:
        """Close the connection; the next call opens a new one."""
        self._pool.checkout().invalidate()

    def _note(self, _dbapi_connection: Any, _record: Any, pooled: PoolProxiedConnection) -> None:
        with self._lock:
            self._checked_out.add(pooled)

    def _forget(self, _dbapi_connection: Any, _record: Any) -> None:
        self.driver_connection = None
