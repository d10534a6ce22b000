"""``python -m slack_agents_sqlalchemy``: the command line ``slack-agents-db``."""

from slack_agents_sqlalchemy.cli.app import app

app(prog_name="slack-agents-db")
