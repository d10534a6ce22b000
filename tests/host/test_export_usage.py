"""`slack-agents export-usage --format csv` on the example agent."""

from __future__ import annotations

import asyncio
import csv
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from slack_agents_sqlalchemy.demo.replay import estimated_cost
from slack_agents_sqlalchemy.demo.threads import AGENT_NAME, AGENT_VERSION, MODEL
from tests.host.commands import Finished, slack_agents
from tests.host.conftest import Stored, StoredThread

pytestmark = pytest.mark.durable


async def exported(url: str, output: Path, *filters: str) -> tuple[Finished, list[dict[str, str]]]:
    """Return how the command ended, and the rows that it wrote, none where it wrote no file."""
    finished = await slack_agents(
        "export-usage", "--format", "csv", "--output", output, *filters, url=url
    )
    return finished, rows_of(output)


def rows_of(output: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file, none where there is no file."""
    if not output.exists():
        return []
    with output.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def expected_row(stored: StoredThread) -> dict[str, str]:
    """Return the row that the framework should write of a thread, from the script alone."""
    thread = stored.thread
    usages = [turn.usage for turn in thread.turns]
    first, last = stored.said_at[0], stored.said_at[-1]
    return {
        "conversation_id": str(stored.id),
        "date": first.date().isoformat(),
        "started_at": first.isoformat(),
        "last_message_at": last.isoformat(),
        "agent_name": AGENT_NAME,
        "channel_name": thread.channel.name,
        "thread_id": stored.thread_id,
        "user_id": thread.turns[0].user.id,
        "user_handle": thread.turns[0].user.name,
        "message_count": str(len(thread.turns)),
        "model": MODEL,
        "version": AGENT_VERSION,
        "total_input_tokens": str(sum(usage.input_tokens for usage in usages)),
        "total_output_tokens": str(sum(usage.output_tokens for usage in usages)),
        "cache_creation_input_tokens": str(sum(usage.cache_written for usage in usages)),
        "cache_read_input_tokens": str(sum(usage.cache_read for usage in usages)),
        "peak_single_call_input_tokens": str(max(usage.peak for usage in usages)),
        "estimated_cost_usd": str(sum(estimated_cost(usage) for usage in usages)),
        "tool_call_count": str(len(list(thread.tool_calls()))),
        "file_count": str(sum(len(turn.uploads) for turn in thread.turns)),
    }


async def test_every_conversation_has_its_row_with_the_numbers_that_were_written(
    stored: Stored, tmp_path: Path
) -> None:
    output = tmp_path / "usage.csv"

    finished, rows = await exported(stored.url, output)

    assert finished == Finished(0, f"Exported 7 conversation(s) to {output}\n", "")
    *of_threads, bare = rows
    assert of_threads == [expected_row(thread) for thread in stored.threads]
    times = [
        datetime.fromisoformat(row[column])
        for row in rows
        for column in ("started_at", "last_message_at")
    ]
    assert times == sorted(times)
    assert stored.started <= times[0]
    assert times[-1] <= stored.finished
    # The cost of a model without a price is nothing, as the framework counts it.
    assert bare == bare | {
        "conversation_id": str(stored.bare_id),
        "channel_name": "",
        "thread_id": "1.5",
        "user_handle": "bare",
        "message_count": "2",
        "model": "a-model-without-a-price",
        "version": "2.0",
        "total_input_tokens": "7",
        "total_output_tokens": "5",
        "cache_creation_input_tokens": "3",
        "cache_read_input_tokens": "2",
        "peak_single_call_input_tokens": "12",
        "estimated_cost_usd": "0.0",
        "tool_call_count": "0",
        "file_count": "0",
    }


async def test_the_filters_choose_the_conversations_with_one_message_that_meets_them_all(
    stored: Stored, tmp_path: Path
) -> None:
    revenue, vpn, invoice, deployment, contracts, access = stored.threads
    bare = str(stored.bare_id)
    filters: dict[tuple[str, ...], list[Any]] = {
        ("--handle", "Amélie Durand"): [revenue, invoice],
        ("--date-to", invoice.said_at[-1].isoformat()): [revenue, vpn, invoice],
        ("--date-from", deployment.said_at[0].isoformat()): [deployment, contracts, access, bare],
        # 渡辺 健二 wrote the first message of the first thread, and Amélie Durand its second.
        ("--handle", "渡辺 健二", "--date-from", revenue.said_at[1].isoformat()): [contracts],
        ("--handle", "amélie durand"): [],
    }

    ended = await asyncio.gather(
        *(
            exported(stored.url, tmp_path / f"{number}.csv", *arguments)
            for number, arguments in enumerate(filters)
        )
    )

    for (arguments, expected), (finished, rows) in zip(filters.items(), ended, strict=True):
        ids = [str(getattr(thread, "id", thread)) for thread in expected]
        assert [row["conversation_id"] for row in rows] == ids, arguments
        assert (finished.exit_code, finished.errors) == (0, ""), arguments
        nothing = "No conversations found matching the filters.\n"
        assert finished.output.startswith("Exported") if ids else finished.output == nothing
