"""Where the schema stands, and the one road that brings it to this version's.

Alembic is imported only when there is something to do: a health check every 30 seconds asks one
question and goes on.
"""

import asyncio
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, column, inspect, select, table
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from slack_agents_sqlalchemy.database import Database
from slack_agents_sqlalchemy.dialects import backend
from slack_agents_sqlalchemy.errors import (
    ConfigurationError,
    SchemaOutdatedError,
    SchemaTooNewError,
)
from slack_agents_sqlalchemy.models import TABLE_PREFIX, VERSION_TABLE, Base
from slack_agents_sqlalchemy.options import Options, parse_url

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext

REVISIONS = ("0001",)
"""Every revision that this version knows, oldest first; the last is the one it works with."""

HEAD = REVISIONS[-1]

LOCK_TIMEOUT = 60.0  # seconds to wait for another process that migrates
MIGRATION_TIMEOUT = 3600.0  # seconds that a migration may take

_ALEMBIC = threading.Lock()
_ALEMBIC_POLL = 0.02  # seconds

_VERSION: Select[Any] = select(column("version_num")).select_from(table(VERSION_TABLE))


def current_revision(connection: Connection) -> str | None:
    """Return the revision of the schema, or None where there is no schema yet.

    One question where there is a schema; ask it outside of transactions.
    """
    try:
        return connection.execute(_VERSION).scalar()
    except DBAPIError as exc:
        # There is no table of versions, or it is something else: databases give "no such table"
        # no common code.
        if exc.connection_invalidated:
            raise
        return _look_for_revision(connection)


def _look_for_revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(_VERSION).scalar()


def require_known(revision: str | None) -> None:
    """Raise :class:`SchemaTooNewError` for a revision that this version has never heard of."""
    if revision is not None and revision not in REVISIONS:
        raise SchemaTooNewError(
            f"the database schema is at revision {revision}, which is newer than this version of "
            f"slack-agents-sqlalchemy knows (it works with {HEAD}): update the package with "
            "pip install --upgrade slack-agents-sqlalchemy"
        )


def require_head(revision: str | None) -> None:
    """Raise unless the schema is the one that this version works with."""
    require_known(revision)
    if revision != HEAD:
        state = "has no schema yet" if revision is None else f"is at revision {revision}"
        raise SchemaOutdatedError(
            f"the database {state}, and this version works with revision {HEAD}: "
            "run slack-agents-db upgrade --url <database URL>"
        )


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
        require_head(revision)
    require_known(revision)
    await upgrade(database)


async def upgrade(database: Database) -> None:
    """Upgrade the schema to this version's, or find that another process has done it."""
    # Alembic keeps its state in globals: one migration at a time in a process. A lock that is not
    # waited for in a thread cannot be lost when its caller is cancelled.
    while not _ALEMBIC.acquire(blocking=False):  # noqa: ASYNC110 - other loops may hold it
        await asyncio.sleep(_ALEMBIC_POLL)
    try:
        await database.run(_upgrade, timeout=MIGRATION_TIMEOUT)
    finally:
        _ALEMBIC.release()


def _upgrade(connection: Connection) -> None:
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
    ``DATABASE_URL`` when alembic's own command line is used.

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
    database = Database(parse_url(_url_from_environment()), Options())
    await database.open()
    try:
        await database.run(
            lambda connection: _migrate(context, connection), timeout=MIGRATION_TIMEOUT
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
        context.configure(connection=connection, **_context_options())
        context.run_migrations()


def _write_sql(context: "EnvironmentContext") -> None:
    url = parse_url(_url_from_environment())
    context.configure(
        url=url, literal_binds=True, dialect_opts={"paramstyle": "named"}, **_context_options()
    )
    with context.begin_transaction():
        context.run_migrations()


def _context_options() -> dict[str, Any]:
    return {
        "target_metadata": Base.metadata,
        "version_table": VERSION_TABLE,
        "include_name": _is_ours,
        "compare_type": True,
    }


def _is_ours(name: str | None, kind: str, _parents: object) -> bool:
    return kind != "table" or (name is not None and name.startswith(TABLE_PREFIX))
