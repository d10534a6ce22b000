"""Run alembic's environment: every migration runs here, whatever started it."""

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from sqlalchemy import Table
from sqlalchemy.engine import Connection, Dialect

from slack_agents_sqlalchemy import interruption
from slack_agents_sqlalchemy.dialects import adapter_for
from slack_agents_sqlalchemy.engine.database import Database
from slack_agents_sqlalchemy.errors import ConfigurationError, StorageError
from slack_agents_sqlalchemy.migrations import state
from slack_agents_sqlalchemy.migrations.upgrade import (
    LOCK_ATTEMPT_TIMEOUT,
    MIGRATION_TIMEOUT,
    wait_for_lock,
)
from slack_agents_sqlalchemy.models import TABLE_PREFIX, VERSION_TABLE, metadata
from slack_agents_sqlalchemy.options import parse_options, rename_option
from slack_agents_sqlalchemy.urls import parse_url

if TYPE_CHECKING:
    from alembic.runtime.environment import EnvironmentContext

_URL_VARIABLE = "DATABASE_URL"
_BOOLEANS = {"true": True, "false": False}  # as in YAML


def run_environment(context: Any) -> None:
    """Run the migrations that alembic was asked for; ``alembic/env.py`` calls this.

    The connection comes from :func:`upgrade_to_head`. Alembic's own command line has none: there,
    the environment variable ``DATABASE_URL`` names the database, ``-x schema=agent_one`` sets an
    option of the provider, an error is one line and exit status 1, and a signal is one line and
    exit status 130 or 143.

    Args:
        context: The module ``alembic.context``, a proxy of the ``EnvironmentContext``.
    """
    connection = context.config.attributes.get("connection")
    if connection is not None:
        _migrate(context, connection)
    elif context.config.cmd_opts is not None:
        with _alembic_command():
            _run_alembic_command(context, interruption.run)
    else:
        _run_alembic_command(context, asyncio.run)


@contextmanager
def _alembic_command() -> Iterator[None]:
    """Report an error or a signal in one line; alembic's CommandError gives two, and status 255."""
    with interruption.interruptible() as command:
        command.note = "run slack-agents-db check to see whether the schema is up to date"
        try:
            yield
        except (StorageError, OSError) as exc:
            message = rename_option(str(exc), url=_URL_VARIABLE, schema="-x schema")
            sys.exit(f"Error: {message}")


def _run_alembic_command(
    context: "EnvironmentContext", run: Callable[[Coroutine[Any, Any, None]], None]
) -> None:
    if context.is_offline_mode():
        _write_sql(context)
    else:
        run(_connect_and_migrate(context))


async def _connect_and_migrate(context: "EnvironmentContext") -> None:
    given = context.get_x_argument(as_dictionary=True)
    migrate = "auto" if _changes_schema(context) else "verify"
    options = parse_options(
        {"migrate": migrate, **{name: _BOOLEANS.get(text, text) for name, text in given.items()}}
    )
    database = Database(parse_url(_url_from_environment()), options)
    await database.open()
    try:
        await wait_for_lock(
            database,
            lambda: database.run(
                lambda connection: _migrate(context, connection),
                timeout=MIGRATION_TIMEOUT,
                once=True,
            ),
        )
    finally:
        await database.close()


def _changes_schema(context: "EnvironmentContext") -> bool:
    """Return whether alembic's command changes the schema: ``current`` and ``check`` do not."""
    try:
        context.get_revision_argument()
    except KeyError:  # the command has no target revision
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
    adapter = adapter_for(connection.dialect.name)
    with adapter.migration_lock(connection, LOCK_ATTEMPT_TIMEOUT):
        # Checked again under the lock: another process may have migrated in the meantime.
        state.require_known(state.inspect_revision(connection))
        if not adapter.supports_autocommit:
            _register_portable_implementation(connection.dialect)
        context.configure(connection=connection, **_context_options())
        context.run_migrations()


def _register_portable_implementation(dialect: Dialect) -> None:
    """Register an implementation of alembic's operations for a dialect that has none."""
    from alembic.ddl.impl import DefaultImpl  # takes 0.3 s, which only a migration pays

    with suppress(KeyError):
        DefaultImpl.get_by_dialect(dialect)
        return

    class Portable(DefaultImpl):
        __dialect__ = dialect.name

        def version_table_impl(self, **options: Any) -> Table:
            # Alembic's own name for the primary key has 32 characters; some databases allow 31.
            version = super().version_table_impl(**options)
            version.primary_key.name = f"pk_{version.name}"
            return version

        def _exec(self, *arguments: Any, **options: Any) -> Any:
            # Some databases cannot use a new table in the transaction that created it.
            result = super()._exec(*arguments, **options)
            if self.connection is not None and not self.as_sql:
                self.connection.commit()
            return result


def _write_sql(context: "EnvironmentContext") -> None:
    url = parse_url(_url_from_environment())
    _register_portable_implementation(url.get_dialect()())
    context.configure(
        url=url, literal_binds=True, dialect_opts={"paramstyle": "named"}, **_context_options()
    )
    with context.begin_transaction():
        context.run_migrations()


def _context_options() -> dict[str, Any]:
    return {
        "target_metadata": metadata,
        "version_table": VERSION_TABLE,
        "include_name": _is_own,
        "compare_type": True,
    }


def _is_own(name: str | None, kind: str, _parents: object) -> bool:
    return kind != "table" or (name is not None and name.startswith(TABLE_PREFIX))
