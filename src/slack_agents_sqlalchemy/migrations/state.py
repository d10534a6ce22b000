"""The revision of a database's schema, and what it means for this version of the package."""

import shlex

from sqlalchemy import MetaData, Table, inspect
from sqlalchemy.engine import URL, Connection, Inspector
from sqlalchemy.exc import DBAPIError

from slack_agents_sqlalchemy.dialects import adapter_for
from slack_agents_sqlalchemy.errors import SchemaError, SchemaOutdatedError, SchemaTooNewError
from slack_agents_sqlalchemy.models import TABLE_PREFIX, VERSION_TABLE, metadata
from slack_agents_sqlalchemy.options import Options
from slack_agents_sqlalchemy.urls import redact

REVISIONS = ("0001",)
"""Every revision that this version knows, oldest first; the last is the one it works with."""

HEAD = REVISIONS[-1]


def current_revision(connection: Connection) -> str | None:
    """Return the revision of the schema, or None where there is no schema yet.

    One query where there is a schema. Call it outside of transactions.
    """
    try:
        return _select_revision(connection)
    except DBAPIError as exc:
        # The version table is missing or not this package's: the error code for a missing table
        # differs between databases.
        if exc.connection_invalidated:
            raise
        connection.rollback()
        return inspect_revision(connection)


def inspect_revision(connection: Connection) -> str | None:
    """Return the revision of the schema, read by queries that work without a schema too.

    Raises:
        SchemaError: A table with a name of this package's tables was made by another program.
    """
    inspector = inspect(connection)
    present = _table_names(inspector)
    revision = None
    if VERSION_TABLE in present:
        _require_columns(
            inspector, VERSION_TABLE, required={"version_num"}, allowed={"version_num"}
        )
        revision = _select_revision(connection)
    if revision is None:
        # These tables are from an interrupted migration, or from another program.
        for table in metadata.sorted_tables:
            if table.name in present:
                required = {column.name for column in table.columns if not column.nullable}
                _require_columns(inspector, table.name, required, set(table.columns.keys()))
    return revision


def table_names(connection: Connection) -> set[str]:
    """Return the names of the tables that have the prefix of this package."""
    return _table_names(inspect(connection))


def _table_names(inspector: Inspector) -> set[str]:
    return {name for name in inspector.get_table_names() if name.startswith(TABLE_PREFIX)}


def drop_tables(connection: Connection) -> None:
    """Drop the tables of this package, with all rows."""
    drop_version_table(connection)
    for table in reversed(metadata.sorted_tables):
        table.drop(connection, checkfirst=True)
    connection.commit()


def drop_version_table(connection: Connection) -> None:
    """Drop the table that contains the revision."""
    Table(VERSION_TABLE, MetaData()).drop(connection, checkfirst=True)
    connection.commit()


def _select_revision(connection: Connection) -> str | None:
    # As plain SQL: a start compiles no statement.
    sql = adapter_for(connection.dialect.name).revision_query(VERSION_TABLE)
    return connection.exec_driver_sql(sql).scalar()


def _require_columns(
    inspector: Inspector, table: str, required: set[str], allowed: set[str]
) -> None:
    """Raise for a table that has the name of one of this package's tables and other columns.

    Args:
        inspector: The inspector of the database.
        table: The table's name.
        required: The columns that it must have.
        allowed: The columns that it may have; an earlier revision may lack some.

    Raises:
        SchemaError: A required column is missing, or a column is unknown.
    """
    found = {column["name"] for column in inspector.get_columns(table)}
    if not required <= found <= allowed:
        raise SchemaError(
            f"the database has a table {table} that is not this package's: its columns are "
            f"{', '.join(sorted(found))}. Rename it, or use another database or schema"
        )


def require_known(revision: str | None) -> None:
    """Raise :class:`SchemaTooNewError` for a revision that this version does not know."""
    if revision is not None and revision not in REVISIONS:
        raise SchemaTooNewError(
            f"the database schema is at revision {revision}, which is newer than this version of "
            f"slack-agents-sqlalchemy knows (it works with {HEAD}): update the package with "
            "pip install --upgrade slack-agents-sqlalchemy"
        )


def require_head(revision: str | None, url: URL, options: Options) -> None:
    """Raise unless this version works with the revision.

    Raises:
        SchemaOutdatedError: The schema is missing or older; the message names the command to run.
        SchemaTooNewError: The schema is newer.
    """
    require_known(revision)
    if revision == HEAD:
        return
    database = redact(url)
    if options.schema is not None:
        database = f"schema {options.schema!r} of {database}"
    state = "has no tables of this package" if revision is None else f"is at revision {revision}"
    raise SchemaOutdatedError(
        f"{database} {state}, and this version of slack-agents-sqlalchemy works with revision "
        f"{HEAD}: run {_upgrade_command(options)}"
    )


def _upgrade_command(options: Options) -> str:
    schema = "" if options.schema is None else f" --schema {shlex.quote(options.schema)}"
    unprepared = "" if options.prepared_statements else " --no-prepared-statements"
    return f"slack-agents-db upgrade --url <database URL>{schema}{unprepared}"


def after_interrupted_upgrade(url: URL) -> str:
    """Return a sentence about the schema after an upgrade that a signal interrupted."""
    database = redact(url)
    if adapter_for(url.get_backend_name()).has_transactional_ddl:
        return (
            f"the schema of {database} is unchanged or upgraded completely; "
            "run slack-agents-db check to see which"
        )
    return (
        f"the schema of {database} may be upgraded in part; "
        "run slack-agents-db upgrade again, it continues where this one stopped"
    )
