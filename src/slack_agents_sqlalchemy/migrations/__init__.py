"""The schema's revision and its upgrade."""

from slack_agents_sqlalchemy.migrations.upgrade import run_environment

__all__ = ["run_environment"]
