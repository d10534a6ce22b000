"""``slack-agents-db current``."""

from slack_agents_sqlalchemy import migrations
from slack_agents_sqlalchemy.cli.command import command, run_on, say
from slack_agents_sqlalchemy.cli.options import (
    DatabaseUrl,
    NoPreparedStatements,
    Schema,
    read_target,
)


def current(
    url: DatabaseUrl = None,
    schema: Schema = None,
    no_prepared_statements: NoPreparedStatements = False,
) -> None:
    """Show the revision of the schema. Changes nothing."""
    with command():
        target = read_target(url, schema, no_prepared_statements, migrate="verify")
        revision = run_on(target, lambda database: database.run(migrations.current_revision))
        say(revision or "no schema yet")
