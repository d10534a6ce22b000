"""A pytest plugin for the framework's own suite: its SQLite provider is this package's from now on.

It is loaded with ``-p`` before the suite's test modules are imported, so that the
``from slack_agents.storage.sqlite import Provider`` in them finds this one.
"""

import pytest
import slack_agents.storage.sqlite

import slack_agents_sqlalchemy


class Provider(slack_agents_sqlalchemy.Provider):
    """This package's provider behind the constructor of the framework's SQLite provider."""

    opened = 0

    def __init__(self, path: str) -> None:
        super().__init__(url=f"sqlite:///{path}")

    async def initialize(self) -> None:
        """Open the storage, and count it: the run must show that it went through here."""
        await super().initialize()
        Provider.opened += 1


setattr(slack_agents.storage.sqlite, "Provider", Provider)  # noqa: B010 - mypy: a type


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how often the suite opened this package's provider."""
    terminalreporter.write_line(f"storages opened by slack_agents_sqlalchemy: {Provider.opened}")
