"""Where the schema stands, and the one road that brings it to this version's.

Alembic is imported only when there is something to do: a health check every 30 seconds asks one
question and goes on.
"""

import asyncio
import logging
import os
import shlex
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from sqlalchemy import Table, event, func, inspect, literal, select, table
from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.exc import DBAPIError

from slack_agents_sqlalchemy.database import Database
from slack_agents_sqlalchemy.dialects import Fault, backend, driver_error, pause
from slack_agents_sqlalchemy.errors import (
    ConfigurationError,
    SchemaOutdatedError,
    SchemaTooNewError,
    UnsupportedDatabaseError,
)
from slack_agents_sqlalchemy.options import Options, parse_options, parse_url
from slack_agents_sqlalchemy.tables import TABLE_PREFIX, VERSION_TABLE, metadata

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext

REVISIONS = ("0001",)
"""Every revision that this version knows, oldest first; the last is the one it works with."""

HEAD = REVISIONS[-1]

LOCK_TIMEOUT = 60.0  # seconds to wait for another process that migrates
MIGRATION_TIMEOUT = 3600.0  # seconds that a migration may take

_TRUTH = {"true": True, "false": False}  # as YAML has it

_ALEMBIC = threading.Lock()
_ALEMBIC_POLL = 0.02  # seconds

_log = logging.getLogger(__name__)

_BUILT_IN = frozenset(
    {"conversations", "messages", "agent_heartbeats", "kv_store", "list_store", "oauth_tokens"}
)
"""Tables of the framework's built-in providers; together they are nobody else's."""

_BUILT_IN_ROWS = ("conversations", "messages", "kv_store", "list_store", "oauth_tokens")
_ROWS_COUNTED = 10_000  # of each table: a count of all rows reads the whole table
_ADVICE_TIMEOUT = 5.0  # seconds that the look for the built-in provider's tables may take

# As it is: a start need compile nothing.
_VERSION = f"SELECT version_num FROM {VERSION_TABLE}"  # noqa: S608 - a constant


def current_revision(connection: Connection) -> str | None:
    """Return the revision of the schema, or None where there is no schema yet.

    One question where there is a schema; ask it outside of transactions.
    """
    try:
        return connection.exec_driver_sql(_VERSION).scalar()
    except DBAPIError as exc:
        # There is no table of versions, or it is something else: databases give "no such table"
        # no common code.
        if exc.connection_invalidated:
            raise
        connection.rollback()
        return _look_for_revision(connection)


def _look_for_revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.exec_driver_sql(_VERSION).scalar()


def require_known(revision: str | None) -> None:
    """Raise :class:`SchemaTooNewError` for a revision that this version has never heard of."""
    if revision is not None and revision not in REVISIONS:
        raise SchemaTooNewError(
            f"the database schema is at revision {revision}, which is newer than this version of "
            f"slack-agents-sqlalchemy knows (it works with {HEAD}): update the package with "
            "pip install --upgrade slack-agents-sqlalchemy"
        )


def require_head(revision: str | None, options: Options) -> None:
    """Raise unless the schema is the one that this version works with."""
    require_known(revision)
    if revision != HEAD:
        state = "has no schema yet" if revision is None else f"is at revision {revision}"
        raise SchemaOutdatedError(
            f"the database {state}, and this version works with revision {HEAD}: "
            f"run {_upgrade_command(options)}"
        )


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
        return
    revision = await database.run(current_revision)
    if revision == HEAD:
        return
    if options.migrate == "verify":
        require_head(revision, options)
    require_known(revision)
    await upgrade(database)


async def upgrade(database: Database) -> None:
    """Upgrade the schema to this version's, or find that another process has done it."""
    # Alembic keeps its state in globals: one migration at a time in a process. A lock that is not
    # waited for in a thread cannot be lost when its caller is cancelled.
    while not _ALEMBIC.acquire(blocking=False):  # noqa: ASYNC110 - other loops may hold it
        await asyncio.sleep(_ALEMBIC_POLL)
    try:
        is_new = await database.run(_upgrade, timeout=MIGRATION_TIMEOUT)
    finally:
        _ALEMBIC.release()
    if is_new:
        await _warn_of_built_in_tables(database)


async def _warn_of_built_in_tables(database: Database) -> None:
    """Log a warning where an agent leaves rows of the framework's built-in provider behind."""
    try:
        rows = await database.run(_count_built_in_rows, timeout=_ADVICE_TIMEOUT)
    except Exception:  # noqa: BLE001 - advice: any dialect's error here must not fail a start
        _log.debug("could not look for the tables of the built-in provider", exc_info=True)
        return
    if rows:
        counted = ", ".join(
            f"{name} ({count:,}{'+' if count == _ROWS_COUNTED else ''})"
            for name, count in rows.items()
        )
        _log.warning(
            "The tables of slack-agents-sqlalchemy are new and empty, and the same database has "
            "rows of the framework's built-in storage provider: %s. Nothing was copied: agents "
            "that switch to this provider start without these conversations. The old tables are "
            "not changed. See docs/switching.md, 'Switching from the built-in storage'.",
            counted,
        )


def _count_built_in_rows(connection: Connection) -> dict[str, int]:
    """Return the built-in provider's tables that have rows, with the number of rows up to a limit.

    They are looked for where this connection looks, and in the schema ``public``, which the
    built-in provider uses on PostgreSQL while the option ``schema`` names another one.
    """
    inspector = inspect(connection)
    places = [None, *({"public"} & set(inspector.get_schema_names()))]
    for schema in places:
        if set(inspector.get_table_names(schema=schema)) >= _BUILT_IN:
            break
    else:
        return {}
    found = {}
    for name in _BUILT_IN_ROWS:
        some = select(literal(1).label("one")).select_from(table(name, schema=schema))
        rows = some.limit(_ROWS_COUNTED).subquery()
        if count := connection.execute(select(func.count()).select_from(rows)).scalar_one():
            found[name] = count
    return found


def _upgrade(connection: Connection) -> bool:
    """Upgrade the schema, and return whether there was none before."""
    known = backend(connection.dialect.name)
    is_new = _look_for_revision(connection) is None
    if known.is_known:
        _migrate_under_lock(connection, known.migration_pauses)
    else:
        _migrate_in_turn(connection)
        if is_new:
            from slack_agents_sqlalchemy import proof  # see _run_alembic

            proof.require_exact_text(connection)
    return is_new


def _migrate_under_lock(connection: Connection, pauses: Iterator[float]) -> None:
    """Migrate; what was made past the lock is passed over when it is begun again."""
    known = backend(connection.dialect.name)
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
    known = backend(connection.dialect.name)
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
    if backend(connection.dialect.name).classify(cause) is not Fault.OTHER:
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
    package = Path(__file__).parent
    installed = package / "alembic"  # in the wheel; in a checkout they are at its top
    return installed if installed.is_dir() else package.parents[1] / "alembic"


def run_environment(context: Any) -> None:
    """Run migrations as ``alembic/env.py``: every road to a new schema comes through here.

    The connection comes from :func:`upgrade`, or is made from the environment variable
    ``DATABASE_URL`` when alembic's own command line is used, with options of the provider as
    ``-x schema=agent_one``.

    Args:
        context: The module ``alembic.context``, which stands for the ``EnvironmentContext``.
    """
    if context.is_offline_mode():
        _write_sql(context)
        return
    connection = context.config.attributes.get("connection")
    if connection is not None:
        _migrate(context, connection)
        return
    asyncio.run(_connect_and_migrate(context))


async def _connect_and_migrate(context: "EnvironmentContext") -> None:
    given = context.get_x_argument(as_dictionary=True)
    options = parse_options({name: _TRUTH.get(text, text) for name, text in given.items()})
    database = Database(parse_url(_url_from_environment()), options)
    await database.open()
    try:
        await database.run(
            lambda connection: _migrate(context, connection),
            timeout=MIGRATION_TIMEOUT,
            once=True,
        )
    finally:
        await database.close()


def _url_from_environment() -> str:
    url = os.environ.get("DATABASE_URL")
    if not url:
        raise ConfigurationError(
            "set the environment variable DATABASE_URL to the database URL, "
            "as in DATABASE_URL=sqlite:///agents.db alembic upgrade head"
        )
    return url


def _migrate(context: "EnvironmentContext", connection: Connection) -> None:
    with backend(connection.dialect.name).migration_lock(connection, LOCK_TIMEOUT):
        # Asked again under the lock: another process may have migrated meanwhile.
        require_known(_look_for_revision(connection))
        if not backend(connection.dialect.name).autocommits:
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
