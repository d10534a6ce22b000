"""`slack-agents healthcheck` on the example agent."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests.conftest import NewProvider
from tests.host.commands import HELLO_STORAGE, Finished, slack_agents

ANOTHER_AGENT = "hello-world"


@pytest.mark.durable
async def test_a_fresh_heartbeat_is_healthy(new_provider: NewProvider, database_url: str) -> None:
    provider = await new_provider()
    await provider.upsert_heartbeat(HELLO_STORAGE.name, time.time())

    assert await slack_agents("healthcheck", url=database_url) == Finished(0, "", "")


@pytest.mark.durable
async def test_an_old_heartbeat_is_unhealthy(new_provider: NewProvider, database_url: str) -> None:
    provider = await new_provider()
    await provider.upsert_heartbeat(HELLO_STORAGE.name, time.time() - 300)

    finished = await slack_agents("healthcheck", url=database_url)

    assert finished.exit_code == 1
    assert finished.errors.startswith("UNHEALTHY: heartbeat is 30")


@pytest.mark.durable
async def test_another_agents_heartbeat_is_not_this_agents(
    new_provider: NewProvider, database_url: str
) -> None:
    provider = await new_provider()
    await provider.upsert_heartbeat(ANOTHER_AGENT, time.time())

    assert await slack_agents("healthcheck", url=database_url) == Finished(
        1, "", "UNHEALTHY: no heartbeat for hello-storage\n"
    )


@pytest.mark.durable
async def test_a_database_that_was_empty_has_no_heartbeat_and_no_conversations(
    fresh_url: str, tmp_path: Path
) -> None:
    health, usage, pages = await asyncio.gather(
        slack_agents("healthcheck", url=fresh_url),
        slack_agents(
            "export-usage", "--format", "csv", "--output", tmp_path / "usage.csv", url=fresh_url
        ),
        slack_agents(
            "export-conversations", "--format", "html", "--output", tmp_path / "html", url=fresh_url
        ),
    )

    nothing = Finished(0, "No conversations found matching the filters.\n", "")
    assert health == Finished(1, "", "UNHEALTHY: no heartbeat for hello-storage\n")
    assert (usage, pages) == (nothing, nothing)


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("postgresql://agent:kept-secret@127.0.0.1:1/agents", "127.0.0.1:1"),
        ("mariadb://agent:kept-secret@127.0.0.1:1/agents", "127.0.0.1:1"),
        ("sqlite:////no-such-directory/agents.db", "/no-such-directory/agents.db"),
        ("oracle://agent:kept-secret@127.0.0.1/agents", "oracle"),
        ("agent:kept-secret@127.0.0.1", "URL"),
    ],
    ids=["postgresql", "mariadb", "sqlite", "no driver", "no URL"],
)
async def test_a_database_out_of_reach_is_unhealthy_and_named_without_its_password(
    url: str, named: str
) -> None:
    finished = await slack_agents("healthcheck", url=url)

    assert finished.exit_code == 1
    assert finished.errors.startswith("UNHEALTHY: storage init failed: ")
    assert named in finished.errors
    assert "kept-secret" not in finished.errors
    assert "Traceback" not in finished.errors


async def test_a_database_in_memory_is_refused_by_every_command(tmp_path: Path) -> None:
    url = "sqlite:///:memory:"
    health, usage, pages = await asyncio.gather(
        slack_agents("healthcheck", url=url),
        slack_agents(
            "export-usage", "--format", "csv", "--output", tmp_path / "usage.csv", url=url
        ),
        slack_agents(
            "export-conversations", "--format", "html", "--output", tmp_path / "html", url=url
        ),
    )

    assert [each.exit_code for each in (health, usage, pages)] == [1, 1, 1]
    assert health.errors.startswith("UNHEALTHY: healthcheck requires persistent storage")
    assert usage.errors.startswith("Error: export-usage requires persistent storage")
    assert pages.errors.startswith("Error: export-conversations requires persistent storage")
    assert is_empty(tmp_path)


def is_empty(directory: Path) -> bool:
    """Whether nothing was written here."""
    return not list(directory.iterdir())
