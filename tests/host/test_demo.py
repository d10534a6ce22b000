"""`slack-agents-db demo`: the main function of the package in one command."""

from __future__ import annotations

import asyncio
import csv
import re
from pathlib import Path

import pytest
from rich.cells import cell_len

from slack_agents_sqlalchemy.demo.replay import estimated_cost
from slack_agents_sqlalchemy.demo.threads import THREADS
from tests.host.commands import Finished, run, slack_agents

SECTIONS = [
    "The history for the model",
    "A tool call",
    "Usage of each conversation",
    "The rows of each table",
    "The conversations as web pages",
]


def sections(output: str) -> list[str]:
    """Return the titles of the numbered sections, in their order."""
    return re.findall(r"^ \d  (.+?) *$", output, re.MULTILINE)


def row(output: str, name: str) -> list[str]:
    """Return the columns of the line that begins with this name."""
    (line,) = re.findall(rf"^ *{re.escape(name)} .*$", output, re.MULTILINE)
    return str(line).removeprefix(" ").removeprefix(name).split()


async def test_the_demo_needs_nothing_and_leaves_a_database_and_web_pages(tmp_path: Path) -> None:
    finished = await run("slack-agents-db", "demo", cwd=tmp_path)

    assert (finished.exit_code, finished.errors) == (0, "")
    assert sections(finished.output) == SECTIONS
    assert (tmp_path / "demo-output" / "demo.db").is_file()
    assert (tmp_path / "demo-output" / "html" / "index.html").is_file()
    assert str(Path("demo-output", "html", "index.html")) in finished.output


@pytest.mark.parametrize("columns", [80, 120])
async def test_the_demo_stays_within_the_terminal(tmp_path: Path, columns: int) -> None:
    finished = await run("slack-agents-db", "demo", cwd=tmp_path, COLUMNS=str(columns))

    assert max(map(cell_len, finished.output.splitlines())) <= columns
    assert "渡辺 健二" in finished.output
    assert "'Österreich'" in finished.output


async def test_a_narrow_terminal_shows_every_number_of_the_usage(tmp_path: Path) -> None:
    finished = await run("slack-agents-db", "demo", cwd=tmp_path, COLUMNS="40")

    usage = finished.output.partition("Usage of each conversation")[2].partition(SECTIONS[3])[0]
    assert max(map(cell_len, usage.splitlines())) <= 40
    assert usage.count(" tokens in, ") == usage.count(" USD") == len(THREADS) + 1
    for shown in ("11 messages, 16 tool calls", "78,884 tokens in, 61,518 cached", "2,774 tokens"):
        assert shown in usage


async def test_the_thread_whose_history_is_shown_is_in_the_list_of_threads(tmp_path: Path) -> None:
    finished = await run("slack-agents-db", "demo", cwd=tmp_path, COLUMNS="120")

    history, _, rest = finished.output.partition(f" 2  {SECTIONS[1]}")
    named = re.search("in the thread “(.+?)…?”", history)
    assert named is not None
    assert f"\n{named[1]}" in rest


@pytest.mark.durable
async def test_the_framework_finds_what_two_runs_of_the_demo_wrote(
    fresh_url: str, tmp_path: Path
) -> None:
    demo = ("slack-agents-db", "demo", "--url", fresh_url, "--output", tmp_path)

    first, second = await run(*demo), await run(*demo)
    health, usage = await asyncio.gather(
        slack_agents("healthcheck", url=fresh_url),
        slack_agents(
            "export-usage", "--format", "csv", "--output", tmp_path / "usage.csv", url=fresh_url
        ),
    )

    assert (first.exit_code, first.errors) == (0, "")
    assert (second.exit_code, second.errors) == (0, "")
    assert sections(first.output) == sections(second.output) == SECTIONS
    assert row(first.output, "slack_agents_conversations")[:2] == ["+6", "6"]
    assert row(second.output, "slack_agents_conversations")[:2] == ["+6", "12"]
    assert row(second.output, "slack_agents_heartbeats")[:2] == ["0", "1"]
    # Messages, tool calls, tokens in, of them cached, tokens out, and what they cost.
    totals = ["11", "16", "78,884", "61,518", "2,774", "0.1250"]
    assert row(first.output, "6 threads") == row(second.output, "6 threads") == totals
    assert health == Finished(0, "", "")
    assert usage.exit_code == 0
    with (tmp_path / "usage.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert sum(int(each["tool_call_count"]) for each in rows) == 2 * 16
    cost = sum(estimated_cost(turn.usage) for thread in THREADS for turn in thread.turns)
    assert sum(float(each["estimated_cost_usd"]) for each in rows) == pytest.approx(2 * cost)


async def test_the_demo_runs_in_memory_without_the_web_pages(tmp_path: Path) -> None:
    finished = await run(
        "slack-agents-db", "demo", "--url", "sqlite:///:memory:", "--output", tmp_path
    )

    assert (finished.exit_code, finished.errors) == (0, "")
    assert sections(finished.output) == SECTIONS
    assert "Left out" in finished.output
    assert not (tmp_path / "html").exists()


async def test_the_demo_says_in_a_line_that_the_database_cannot_be_reached(tmp_path: Path) -> None:
    url = "postgresql://agent:kept-secret@127.0.0.1:1/agents"

    finished = await run("slack-agents-db", "demo", "--url", url, "--output", tmp_path)

    assert finished.exit_code == 1
    assert "127.0.0.1:1" in finished.errors
    assert "Traceback" not in finished.errors
    assert "kept-secret" not in finished.output + finished.errors
