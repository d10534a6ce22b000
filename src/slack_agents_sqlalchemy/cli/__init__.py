"""The command line ``slack-agents-db``."""

from slack_agents_sqlalchemy.cli.app import app

__all__ = ["app"]
