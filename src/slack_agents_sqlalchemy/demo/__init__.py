"""The demo: written-out agent threads, replayed through the framework and read back."""

from slack_agents_sqlalchemy.demo.tour import run

__all__ = ["run"]
