"""``slack-agents-db upgrade``."""

from slack_agents_sqlalchemy import migrations
from slack_agents_sqlalchemy.cli.command import command, run_on, say
from slack_agents_sqlalchemy.cli.options import (
    DatabaseUrl,
    NoPreparedStatements,
    Schema,
    read_target,
)
from slack_agents_sqlalchemy.engine.database import Database
from slack_agents_sqlalchemy.urls import redact


def upgrade(
    url: DatabaseUrl = None,
    schema: Schema = None,
    no_prepared_statements: NoPreparedStatements = False,
) -> None:
    """Create the tables, or upgrade them to this version's schema. Safe to run at any time."""
    with command() as interruption:
        target = read_target(url, schema, no_prepared_statements, migrate="auto")
        interruption.note = migrations.after_interrupted_upgrade(target.url)
        before = run_on(target, _upgrade)
        if before == migrations.HEAD:
            say(f"{redact(target.url)} is up to date (revision {before})")
        else:
            since = before or "nothing"
            say(f"{redact(target.url)} upgraded from {since} to revision {migrations.HEAD}")


async def _upgrade(database: Database) -> str | None:
    """Upgrade the schema, and return the revision that it had before."""
    before = await database.run(migrations.current_revision)
    migrations.require_known(before)
    if before != migrations.HEAD:
        await migrations.upgrade_to_head(database)
    return before
