"""Upgrade the schema of a database to the revision that this version works with.

Alembic is imported only for a migration: a health check every 30 seconds needs one query.
"""

import asyncio
import logging
import random
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import Table, event
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from slack_agents_sqlalchemy.dialects import (
    DialectAdapter,
    ErrorKind,
    adapter_for,
    driver_error,
    migration_lock_error,
    pause,
)
from slack_agents_sqlalchemy.engine.database import Database
from slack_agents_sqlalchemy.errors import MigrationLockedError, UnsupportedDatabaseError
from slack_agents_sqlalchemy.migrations import state
from slack_agents_sqlalchemy.options import Options
from slack_agents_sqlalchemy.resources import migration_scripts
from slack_agents_sqlalchemy.urls import redact

if TYPE_CHECKING:
    from alembic.config import Config

LOCK_TIMEOUT = 60.0  # seconds to wait for another process that migrates
LOCK_ATTEMPT_TIMEOUT = 1.0  # seconds that one attempt waits, so that a cancelled caller ends soon
MIGRATION_TIMEOUT = 3600.0  # seconds that a migration may take

# Without a lock, each object of the schema (some 20) can cost one attempt: another process creates
# it first, and the next attempt finds it.
_ATTEMPTS = 30
_LONGEST_PAUSE = 0.1  # seconds between two attempts

_ALEMBIC = threading.Lock()
_ALEMBIC_POLL = 0.02  # seconds

_LOG = logging.getLogger(__name__)


async def ensure(database: Database, options: Options) -> None:
    """Create, upgrade or check the schema, as the option ``migrate`` says.

    Raises:
        SchemaOutdatedError: ``verify``, and the schema is missing or old.
        SchemaTooNewError: The schema is newer than this version.
        MigrationLockedError: Another process has been migrating for too long.
    """
    if options.migrate == "off":
        await database.run(database.adapter.apply_database_settings)
        return
    revision = await database.run(_revision_in_use)
    if revision == state.HEAD:
        return
    if options.migrate == "verify":
        state.require_head(revision, database.url, options)
    state.require_known(revision)
    await upgrade_to_head(database)


def _revision_in_use(connection: Connection) -> str | None:
    """Return the revision; a database at this version's revision gets the settings it needs."""
    revision = state.current_revision(connection)
    if revision == state.HEAD:
        adapter_for(connection.dialect.name).apply_database_settings(connection)
    return revision


async def upgrade_to_head(database: Database) -> None:
    """Upgrade the schema to this version's revision, unless another process has done it."""
    # Alembic keeps its state in globals, so a process runs one migration at a time. The lock is
    # polled: a thread that waits for it would take it after its caller was cancelled.
    while not _ALEMBIC.acquire(blocking=False):  # noqa: ASYNC110 - other loops may hold it
        await asyncio.sleep(_ALEMBIC_POLL)
    try:
        is_new = await wait_for_lock(
            database, lambda: database.run(_upgrade, timeout=MIGRATION_TIMEOUT)
        )
    finally:
        _ALEMBIC.release()
    if is_new:
        # Imported here: a start without a migration does not need it.
        from slack_agents_sqlalchemy.migrations.built_in_storage import warn_of_rows

        await warn_of_rows(database)


async def wait_for_lock[T](database: Database, migrate: Callable[[], Awaitable[T]]) -> T:
    """Migrate, and retry while another process holds the migration lock.

    Raises:
        MigrationLockedError: The other process did not finish within ``LOCK_TIMEOUT``.
    """
    deadline = time.monotonic() + LOCK_TIMEOUT
    is_reported = False
    while True:
        try:
            return await migrate()
        except MigrationLockedError:
            if time.monotonic() > deadline:
                raise migration_lock_error(LOCK_TIMEOUT) from None
        if not is_reported:
            is_reported = True
            _LOG.warning(
                "waiting for another process that migrates %s, for %g s at most",
                redact(database.url),
                LOCK_TIMEOUT,
            )


def _upgrade(connection: Connection) -> bool:
    """Upgrade the schema, and return whether there was none before."""
    adapter = adapter_for(connection.dialect.name)
    is_new = state.inspect_revision(connection) is None
    if adapter.is_supported:
        _migrate(connection, adapter)
    else:
        _migrate_unknown_dialect(connection, adapter, is_new=is_new)
    return is_new


def _migrate_unknown_dialect(
    connection: Connection, adapter: DialectAdapter, *, is_new: bool
) -> None:
    """Migrate, then check that the database returns texts as they were written.

    Raises:
        UnsupportedDatabaseError: It does not, or it cannot hold the schema.
    """
    with _created_tables() as created:
        try:
            _migrate(connection, adapter)
        except DBAPIError as exc:
            if connection.invalidated:
                raise
            connection.rollback()
            if state.current_revision(connection) == state.HEAD:
                return  # another process has finished the migration
            outcome = _clean_up(connection, created)
            cause = driver_error(exc)
            if adapter.error_kind(cause) is not ErrorKind.OTHER:
                raise
            raise UnsupportedDatabaseError(
                f"{connection.dialect.name} cannot hold the schema, or this user may not create "
                f"it: {cause}. {outcome}"
            ) from exc
    if is_new:
        # Imported here: a start without a migration does not need it.
        from slack_agents_sqlalchemy.migrations.round_trip import changed_texts

        if changed := list(changed_texts(connection)):
            state.drop_version_table(connection)  # the next start checks again
            outcome = _clean_up(connection, created)
            raise UnsupportedDatabaseError(
                f"the database does not keep text as it is: {'; '.join(changed)}. "
                f"Use a database with a Unicode character set, such as UTF-8. {outcome}"
            )


@contextmanager
def _created_tables() -> Iterator[set[str]]:
    """Yield a set to which the names of new tables are added."""
    names: set[str] = set()

    def add(table: Table, *_: object, **__: object) -> None:
        names.add(table.name)

    event.listen(Table, "after_create", add)
    try:
        yield names
    finally:
        event.remove(Table, "after_create", add)


def _clean_up(connection: Connection, created: set[str]) -> str:
    """Drop the tables of an unusable schema if this process created all; return what was done.

    Other tables may have rows, or another process may be about to use them.
    """
    if state.table_names(connection) <= created:
        state.drop_tables(connection)
        return "The new tables were dropped again"
    return "Its tables are kept, as some were there before"


def _migrate(connection: Connection, adapter: DialectAdapter) -> None:
    """Run the migration, and retry where another process may have changed the same object.

    An object that exists is skipped by the next attempt. On an unknown dialect, no lock keeps
    processes from migrating at the same time, and no error code says that this is the reason.
    """
    errors: list[DBAPIError] = []
    while len(errors) < _ATTEMPTS:
        try:
            return _run_alembic(connection)
        except DBAPIError as exc:
            is_lost = connection.invalidated
            if is_lost or (
                adapter.is_supported
                and not adapter.is_concurrent_migration_error(driver_error(exc))
            ):
                raise
            errors.append(exc)
            connection.rollback()
            pause(connection, random.uniform(0.01, _LONGEST_PAUSE))  # noqa: S311 - no secret
    raise errors[0]  # a later one may be about what the first attempt left


def _run_alembic(connection: Connection) -> None:
    from alembic import command  # takes 0.3 s, which only a migration pays

    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def alembic_config() -> "Config":
    """Return alembic's configuration for the scripts of this version."""
    from alembic.config import Config  # see _run_alembic

    config = Config()
    config.set_main_option("script_location", str(migration_scripts()).replace("%", "%%"))
    return config
