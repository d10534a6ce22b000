"""The agent directory under `examples/` says everything that it needs."""

from __future__ import annotations

import re

from slack_agents_sqlalchemy.demo.threads import AGENT_NAME, AGENT_VERSION, MODEL
from tests.host.commands import HELLO_STORAGE


def text(name: str) -> str:
    """Return a file of the agent directory."""
    return (HELLO_STORAGE / name).read_text(encoding="utf-8")


def test_the_environment_example_names_the_variables_of_the_configuration() -> None:
    wanted = set(re.findall(r"\{([A-Z_]+)\}", text("config.yaml")))
    assert set(re.findall(r"^([A-Z_]+)=", text(".env.example"), re.MULTILINE)) == wanted


def test_the_storage_needs_a_type_and_a_url_and_nothing_else() -> None:
    lines = 'storage:\n  type: slack_agents_sqlalchemy\n  url: "{DATABASE_URL}"\n'
    assert f"\n\n{lines}\n" in text("config.yaml")
    assert lines in text("README.md")


def test_the_demo_has_the_names_of_this_agent() -> None:
    assert HELLO_STORAGE.name == AGENT_NAME
    assert f'version: "{AGENT_VERSION}"\n' in text("config.yaml")
    assert f"model: {MODEL}\n" in text("config.yaml")
