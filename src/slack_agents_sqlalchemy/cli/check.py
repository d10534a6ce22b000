"""``slack-agents-db check``."""

from slack_agents_sqlalchemy import migrations
from slack_agents_sqlalchemy.cli.command import command, run_on, say
from slack_agents_sqlalchemy.cli.options import (
    DatabaseUrl,
    NoPreparedStatements,
    Schema,
    read_target,
)
from slack_agents_sqlalchemy.urls import redact


def check(
    url: DatabaseUrl = None,
    schema: Schema = None,
    no_prepared_statements: NoPreparedStatements = False,
) -> None:
    """Check that the schema is this version's. If not, say what to do and exit with 1."""
    with command():
        target = read_target(url, schema, no_prepared_statements, migrate="verify")
        revision = run_on(target, lambda database: database.run(migrations.current_revision))
        migrations.require_head(revision, target.url, target.options)
        say(f"{redact(target.url)} is up to date (revision {revision})")
