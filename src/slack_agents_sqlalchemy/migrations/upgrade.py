"""Where the schema stands, and the one road that brings it to this version's.

Alembic is imported only when there is something to do: a health check every 30 seconds asks one
question and goes on.
"""

import asyncio
import logging
import os
import shlex
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from sqlalchemy import Table, event, inspect
from sqlalchemy.engine import URL, Connection, Dialect, Inspector
from sqlalchemy.exc import DBAPIError

from slack_agents_sqlalchemy import interruption
from slack_agents_sqlalchemy.dialects import ErrorKind, adapter_for, driver_error, lock_error, pause
from slack_agents_sqlalchemy.engine.database import Database
from slack_agents_sqlalchemy.errors import (
    ConfigurationError,
    MigrationLockedError,
    SchemaError,
    SchemaOutdatedError,
    SchemaTooNewError,
    StorageError,
    UnsupportedDatabaseError,
)
from slack_agents_sqlalchemy.models import TABLE_PREFIX, VERSION_TABLE, metadata
from slack_agents_sqlalchemy.options import Options, parse_options
from slack_agents_sqlalchemy.urls import parse_url, redact

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext

REVISIONS = ("0001",)
"""Every revision that this version knows, oldest first; the last is the one it works with."""

HEAD = REVISIONS[-1]

LOCK_TIMEOUT = 60.0  # seconds to wait for another process that migrates
_LOCK_POLL = 1.0  # seconds of them that one attempt waits, so that a cancelled caller is not kept
MIGRATION_TIMEOUT = 3600.0  # seconds that a migration may take

_LOG = logging.getLogger(__name__)

_URL_VARIABLE = "DATABASE_URL"
_TRUTH = {"true": True, "false": False}  # as YAML has it

_ALEMBIC = threading.Lock()
_ALEMBIC_POLL = 0.02  # seconds


def current_revision(connection: Connection) -> str | None:
    """Return the revision of the schema, or None where there is no schema yet.

    One question where there is a schema; ask it outside of transactions.
    """
    try:
        return _select_revision(connection)
    except DBAPIError as exc:
        # There is no table of versions, or it is something else: databases give "no such table"
        # no common code.
        if exc.connection_invalidated:
            raise
        connection.rollback()
        return _look_for_revision(connection)


def _look_for_revision(connection: Connection) -> str | None:
    inspector = inspect(connection)
    present = {table for table in inspector.get_table_names() if table.startswith(TABLE_PREFIX)}
    revision = None
    if VERSION_TABLE in present:
        _require_columns(inspector, VERSION_TABLE, required={"version_num"}, known={"version_num"})
        revision = _select_revision(connection)
    if revision is None:
        # What is there was made by a migration that was cut off, or by somebody else.
        for table in metadata.sorted_tables:
            if table.name in present:
                required = {column.name for column in table.columns if not column.nullable}
                _require_columns(inspector, table.name, required, set(table.columns.keys()))
    return revision


def _select_revision(connection: Connection) -> str | None:
    # As plain SQL: a start need compile nothing.
    sql = adapter_for(connection.dialect.name).select_revision(VERSION_TABLE)
    return connection.exec_driver_sql(sql).scalar()


def _require_columns(inspector: Inspector, table: str, required: set[str], known: set[str]) -> None:
    """Raise for a table that bears a name of this package's tables and is not one.

    Args:
        inspector: Of its database.
        table: Its name.
        required: The columns that it must have.
        known: The columns that it may have; an earlier revision may lack some.

    Raises:
        SchemaError: It has other columns.
    """
    found = {column["name"] for column in inspector.get_columns(table)}
    if not required <= found <= known:
        raise SchemaError(
            f"the database has a table {table} that is not this package's: its columns are "
            f"{', '.join(sorted(found))}. Rename it, or use another database or schema"
        )


def require_known(revision: str | None) -> None:
    """Raise :class:`SchemaTooNewError` for a revision that this version has never heard of."""
    if revision is not None and revision not in REVISIONS:
        raise SchemaTooNewError(
            f"the database schema is at revision {revision}, which is newer than this version of "
            f"slack-agents-sqlalchemy knows (it works with {HEAD}): update the package with "
            "pip install --upgrade slack-agents-sqlalchemy"
        )


def require_head(revision: str | None, url: URL, options: Options) -> None:
    """Raise unless the schema is the one that this version works with."""
    require_known(revision)
    if revision != HEAD:
        place = redact(url)
        if options.schema is not None:
            place = f"schema {options.schema!r} of {place}"
        state = (
            "has no tables of this package" if revision is None else f"is at revision {revision}"
        )
        raise SchemaOutdatedError(
            f"{place} {state}, and this version of slack-agents-sqlalchemy works with revision "
            f"{HEAD}: "
            f"run {_upgrade_command(options)}"
        )


def interrupted_upgrade(url: URL) -> str:
    """Return what is true of the schema after an upgrade that was interrupted."""
    where = redact(url)
    if adapter_for(url.get_backend_name()).migrates_atomically:
        return (
            f"the schema of {where} is unchanged or upgraded completely; "
            "slack-agents-db check tells which"
        )
    return (
        f"the schema of {where} may be upgraded in part; "
        "run slack-agents-db upgrade again, it continues where this one stopped"
    )


def rename_option(message: str, **names: str) -> str:
    """Return an error's message that speaks of a storage option as the command line names it.

    Args:
        message: The message.
        names: What the user wrote, by the name of the storage option.
    """
    for option, name in names.items():
        prefix = f"storage option {option!r}"
        if message.startswith(prefix):
            return name + message.removeprefix(prefix)
    return message


def _upgrade_command(options: Options) -> str:
    schema = "" if options.schema is None else f" --schema {shlex.quote(options.schema)}"
    unprepared = "" if options.prepared_statements else " --no-prepared-statements"
    return f"slack-agents-db upgrade --url <database URL>{schema}{unprepared}"


async def ensure(database: Database, options: Options) -> None:
    """Bring the schema to the state that the option ``migrate`` asks for.

    Raises:
        SchemaOutdatedError: ``verify``, and the schema is missing or old.
        SchemaTooNewError: The schema is newer than this version.
        MigrationLockedError: Another process has been migrating for too long.
    """
    if options.migrate == "off":
        await database.run(database.adapter.restore_settings)
        return
    revision = await database.run(_revision_in_use)
    if revision == HEAD:
        return
    if options.migrate == "verify":
        require_head(revision, database.url, options)
    require_known(revision)
    await upgrade(database)


def _revision_in_use(connection: Connection) -> str | None:
    """Return the revision; where it is this version's, the database gets the settings it needs."""
    revision = current_revision(connection)
    if revision == HEAD:
        adapter_for(connection.dialect.name).restore_settings(connection)
    return revision


async def upgrade(database: Database) -> None:
    """Upgrade the schema to this version's, or find that another process has done it."""
    # Alembic keeps its state in globals: one migration at a time in a process. A lock that is not
    # waited for in a thread cannot be lost when its caller is cancelled.
    while not _ALEMBIC.acquire(blocking=False):  # noqa: ASYNC110 - other loops may hold it
        await asyncio.sleep(_ALEMBIC_POLL)
    try:
        is_new = await _wait_for_lock(
            database, lambda: database.run(_upgrade, timeout=MIGRATION_TIMEOUT)
        )
    finally:
        _ALEMBIC.release()
    if is_new:
        # A start that migrates nothing does not pay for the import.
        from slack_agents_sqlalchemy.migrations.built_in_storage import warn_of_rows

        await warn_of_rows(database)


async def _wait_for_lock[T](database: Database, migrate: Callable[[], Awaitable[T]]) -> T:
    """Migrate, and try again while another process holds the migration lock."""
    deadline = time.monotonic() + LOCK_TIMEOUT
    is_reported = False
    while True:
        try:
            return await migrate()
        except MigrationLockedError:
            if time.monotonic() > deadline:
                raise lock_error(LOCK_TIMEOUT) from None
        if not is_reported:
            is_reported = True
            _LOG.warning(
                "waiting for another process that migrates %s, for %g s at most",
                redact(database.url),
                LOCK_TIMEOUT,
            )


def _upgrade(connection: Connection) -> bool:
    """Upgrade the schema, and return whether there was none before."""
    known = adapter_for(connection.dialect.name)
    is_new = _look_for_revision(connection) is None
    if known.is_supported:
        _migrate_under_lock(connection, known.migration_pauses)
    else:
        _migrate_in_turn(connection)
        if is_new:
            from slack_agents_sqlalchemy.migrations import round_trip  # see _run_alembic

            round_trip.require_exact_text(connection)
    return is_new


def _migrate_under_lock(connection: Connection, pauses: Iterator[float]) -> None:
    """Migrate; what was made past the lock is passed over when it is begun again."""
    known = adapter_for(connection.dialect.name)
    for seconds in pauses:
        try:
            _run_alembic(connection)
        except DBAPIError as exc:
            if connection.invalidated or not known.was_overtaken(driver_error(exc)):
                raise
            pause(connection, seconds)
        else:
            return
    _run_alembic(connection)


def _migrate_in_turn(connection: Connection) -> None:
    """Migrate without a lock, where there is none: what others have made is passed over.

    A process that fails has met another one's work, or a database that cannot hold the schema.
    The first is over as soon as somebody gets on; the second never is.
    """
    known = adapter_for(connection.dialect.name)
    made: list[Table] = []

    def note(table: Table, *_: object, **__: object) -> None:
        made.append(table)

    event.listen(Table, "after_create", note)
    standing = None
    try:
        while True:
            try:
                _run_alembic(connection)
            except DBAPIError as exc:
                if connection.invalidated:
                    raise
                connection.rollback()
                found = _standing(connection)
                if found != standing:
                    standing, obstacle, pauses = found, exc, known.migration_pauses
                seconds = next(pauses, None)
                if seconds is None:
                    _refuse(connection, obstacle, made)
                pause(connection, seconds)
            else:
                return
    finally:
        event.remove(Table, "after_create", note)


def _standing(connection: Connection) -> dict[str, set[str | None]]:
    """Return the tables there are, with the names of their indexes."""
    inspector = inspect(connection)
    found = {
        table: {index["name"] for index in inspector.get_indexes(table)}
        for table in inspector.get_table_names()
        if table.startswith(TABLE_PREFIX)
    }
    connection.rollback()
    return found


def _refuse(connection: Connection, error: DBAPIError, made: Sequence[Table]) -> NoReturn:
    """Raise the error of a migration that nothing helps, and remove what it has made.

    Tables stay where others have made some too: they may depend on each other.
    """
    alone = _standing(connection).keys() <= {table.name for table in made}
    if alone:
        for table in reversed(made):
            table.drop(connection)
        connection.commit()
    cause = driver_error(error)
    if adapter_for(connection.dialect.name).error_kind(cause) is not ErrorKind.OTHER:
        raise error
    left = "What was made of it was removed again" if alone else "Tables that were there are left"
    raise UnsupportedDatabaseError(
        f"{connection.dialect.name} cannot hold the schema, or this user may not make it: "
        f"{cause}. {left}"
    ) from error


def _run_alembic(connection: Connection) -> None:
    from alembic import command  # a third of a second that only a migration pays

    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def alembic_config() -> "Config":
    """Return alembic's configuration for the scripts of this version."""
    from alembic.config import Config  # see _upgrade

    config = Config()
    config.set_main_option("script_location", str(_script_location()).replace("%", "%%"))
    return config


def _script_location() -> Path:
    package = Path(__file__).parents[1]
    installed = package / "alembic"  # in the wheel; in a checkout they are at its top
    return installed if installed.is_dir() else package.parents[1] / "alembic"


def run_environment(context: Any) -> None:
    """Run migrations as ``alembic/env.py``: every road to a new schema comes through here.

    The connection comes from :func:`upgrade`, or is made from the environment variable
    ``DATABASE_URL`` when alembic's own command line is used, with options of the provider as
    ``-x schema=agent_one``. There an error is one line and exit status 1, and a signal is one line
    and exit status 130 or 143.

    Args:
        context: The module ``alembic.context``, which stands for the ``EnvironmentContext``.
    """
    connection = context.config.attributes.get("connection")
    if connection is not None:
        _migrate(context, connection)
    elif context.config.cmd_opts is not None:
        with _alembic_command():
            _run_as_asked(context, interruption.run)
    else:
        _run_as_asked(context, asyncio.run)


@contextmanager
def _alembic_command() -> Iterator[None]:
    """Report errors and signals as a command does; alembic's CommandError is two lines and 255."""
    with interruption.interruptible() as command:
        command.note = "slack-agents-db check tells whether the schema is up to date"
        try:
            yield
        except (StorageError, OSError) as exc:
            message = rename_option(str(exc), url=_URL_VARIABLE, schema="-x schema")
            sys.exit(f"Error: {message}")


def _run_as_asked(context: Any, run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    if context.is_offline_mode():
        _write_sql(context)
    else:
        run(_connect_and_migrate(context))


async def _connect_and_migrate(context: "EnvironmentContext") -> None:
    given = context.get_x_argument(as_dictionary=True)
    migrate = "auto" if _migrates(context) else "verify"
    options = parse_options(
        {"migrate": migrate, **{name: _TRUTH.get(text, text) for name, text in given.items()}}
    )
    database = Database(parse_url(_url_from_environment()), options)
    await database.open()
    try:
        await _wait_for_lock(
            database,
            lambda: database.run(
                lambda connection: _migrate(context, connection),
                timeout=MIGRATION_TIMEOUT,
                once=True,
            ),
        )
    finally:
        await database.close()


def _migrates(context: "EnvironmentContext") -> bool:
    """Return whether alembic's command changes the schema: ``current`` and ``check`` do not."""
    try:
        context.get_revision_argument()
    except KeyError:  # no revision to go to
        return False
    return True


def _url_from_environment() -> str:
    url = os.environ.get(_URL_VARIABLE)
    if not url:
        raise ConfigurationError(
            "set the environment variable DATABASE_URL to the database URL, "
            "as in DATABASE_URL=sqlite:///agents.db alembic upgrade head"
        )
    return url


def _migrate(context: "EnvironmentContext", connection: Connection) -> None:
    with adapter_for(connection.dialect.name).migration_lock(connection, _LOCK_POLL):
        # Asked again under the lock: another process may have migrated meanwhile.
        require_known(_look_for_revision(connection))
        if not adapter_for(connection.dialect.name).autocommits:
            _teach_alembic(connection.dialect)
        context.configure(connection=connection, **_context_options())
        context.run_migrations()


def _teach_alembic(dialect: Dialect) -> None:
    """Register alembic's generic implementation for a dialect that it has none for."""
    from alembic.ddl.impl import DefaultImpl  # see _run_alembic

    with suppress(KeyError):
        DefaultImpl.get_by_dialect(dialect)
        return

    class Generic(DefaultImpl):
        __dialect__ = dialect.name

        def version_table_impl(self, **options: Any) -> Table:
            # Alembic would give the primary key a name of 32 characters.
            version = super().version_table_impl(**options)
            version.primary_key.name = f"pk_{version.name}"
            return version

        def _exec(self, *arguments: Any, **options: Any) -> Any:
            # Databases differ in what a transaction may do with a table that it has made.
            result = super()._exec(*arguments, **options)
            if self.connection is not None and not self.as_sql:
                self.connection.commit()
            return result


def _write_sql(context: "EnvironmentContext") -> None:
    url = parse_url(_url_from_environment())
    _teach_alembic(url.get_dialect()())
    context.configure(
        url=url, literal_binds=True, dialect_opts={"paramstyle": "named"}, **_context_options()
    )
    with context.begin_transaction():
        context.run_migrations()


def _context_options() -> dict[str, Any]:
    return {
        "target_metadata": metadata,
        "version_table": VERSION_TABLE,
        "include_name": _is_ours,
        "compare_type": True,
    }


def _is_ours(name: str | None, kind: str, _parents: object) -> bool:
    return kind != "table" or (name is not None and name.startswith(TABLE_PREFIX))
