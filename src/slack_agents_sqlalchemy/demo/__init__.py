"""The demo: agent threads as data, replayed through the framework and read from the database."""

from slack_agents_sqlalchemy.demo.tour import run

__all__ = ["run"]
