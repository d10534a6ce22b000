"""Run the demo: replay the threads, then show what the database contains."""

import textwrap
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text
from slack_agents.cli.export_conversations_html import export_conversations_html
from slack_agents.conversations import ConversationManager

from slack_agents_sqlalchemy.demo import report
from slack_agents_sqlalchemy.demo.replay import ReplayedThread, replay
from slack_agents_sqlalchemy.demo.threads import AGENT_NAME, THREADS
from slack_agents_sqlalchemy.provider import Provider
from slack_agents_sqlalchemy.urls import redact

_CONFIGURATION = """\
  storage:
    type: slack_agents_sqlalchemy
    url: "{DATABASE_URL}"
"""


async def run(url: str, output: Path, console: Console) -> None:
    """Replay a set of agent threads and show what was stored.

    Each run stores new threads: a second run on the same database only adds rows.

    Args:
        url: The database; missing tables are created.
        output: The directory for the HTML export (``html/``), created if it is missing.
        console: Where to print.

    Raises:
        StorageError: The database cannot be used; the message says why.
    """
    provider = Provider(url=url)
    await provider.initialize()
    try:
        conversations = ConversationManager(provider)
        before = await provider.count_rows()
        _introduce(console)
        started = time.time()
        replayed = await _replay(conversations, started)
        _show_stored(provider, time.time() - started, console)
        await _show_history(conversations, replayed[0], console)
        await _show_tool_call(conversations, replayed[0], console)
        await _show_usage(provider, replayed, console)
        await _show_row_counts(provider, before, console)
        await _export(conversations, output / "html", console)
        _conclude(console)
    finally:
        await provider.close()


def _introduce(console: Console) -> None:
    console.print(Text("slack-agents-sqlalchemy: a demo without Slack and without a model", "bold"))
    console.print(
        f"The agent {AGENT_NAME} helps a company with IT and analytics. {len(THREADS)} of its "
        "Slack threads are stored through the framework's own ConversationManager, with the calls "
        "that a running agent makes, and then read from the database.\n",
        highlight=False,
    )


async def _replay(conversations: ConversationManager, started: float) -> list[ReplayedThread]:
    replayed = []
    for index, thread in enumerate(THREADS):
        # The id of a Slack thread is the time of its first message; these are a minute apart.
        thread_id = f"{started - 60 * (len(THREADS) - index):.6f}"
        replayed.append(await replay(conversations, thread, thread_id))
    await conversations.upsert_heartbeat(AGENT_NAME, time.time())
    return replayed


def _show_stored(provider: Provider, seconds: float, console: Console) -> None:
    messages = sum(len(thread.turns) for thread in THREADS)
    users = {user for thread in THREADS for user in thread.users}
    stored = f"{len(THREADS)} threads, {messages} messages of {len(users)} users"
    facts = {
        "Database": redact(provider.engine.url),
        "Stored": f"{stored}, in {seconds:.2f} seconds",
    }
    console.print(report.facts(facts), soft_wrap=True)


async def _show_history(
    conversations: ConversationManager, replayed: ReplayedThread, console: Console
) -> None:
    messages = await conversations.get_messages(replayed.conversation_id)
    console.print(
        report.heading(
            1,
            "The history for the model",
            # The first words name the thread in the list of threads below too.
            "The model gets this history with the next message in the thread "
            f"“{_first_words(replayed)}”: texts, images, tool calls and their results. Usage, and "
            "files from tools, stay in the database. Long content is shortened here, for display "
            "only.",
        )
    )
    console.print(report.history(messages))


def _first_words(replayed: ReplayedThread) -> str:
    return textwrap.shorten(replayed.thread.turns[0].text, 32, placeholder="…")


async def _show_tool_call(
    conversations: ConversationManager, replayed: ReplayedThread, console: Console
) -> None:
    call_id = next(key for key, call in replayed.tool_calls.items() if call.is_error)
    found = await conversations.get_tool_call(call_id)
    if found is None:
        raise LookupError(f"the tool call {call_id} was stored a moment ago and is not found")
    console.print(
        report.heading(
            2,
            "A tool call",
            "Slack shows a tool call as one line. “Show Details” sends the call's id, and the "
            "framework reads the call from the database.",
        )
    )
    console.print(report.tool_call(call_id, found))


async def _show_usage(
    provider: Provider, replayed: Sequence[ReplayedThread], console: Console
) -> None:
    # The provider is called directly: the manager refuses to export a database in memory.
    stored = await provider.get_conversations_for_export(AGENT_NAME)
    ours = {each.conversation_id for each in replayed}
    rows = [
        report.thread_usage(
            conversation, await provider.get_messages_with_blocks(conversation["id"])
        )
        for conversation in stored
        if conversation["id"] in ours
    ]
    console.print(
        report.heading(
            3,
            "Usage of each conversation",
            "The sums of the usage blocks, as “slack-agents export-usage” computes them.",
        )
    )
    console.print(report.usage_table(rows))
    if len(stored) > len(rows):
        console.print(f"Not listed: {len(stored) - len(rows)} earlier threads of this agent.")


async def _show_row_counts(provider: Provider, before: Mapping[str, int], console: Console) -> None:
    console.print(
        report.heading(
            4,
            "The rows of each table",
            "The tables of this package, with the rows that this run added.",
        )
    )
    console.print(report.row_counts(before, await provider.count_rows()))


async def _export(conversations: ConversationManager, directory: Path, console: Console) -> None:
    console.print(
        report.heading(
            5,
            "The conversations as web pages",
            "Written by the framework's “slack-agents export-conversations --format html”.",
        )
    )
    if not conversations.supports_export:
        console.print("Left out: a database in memory ends with its process.")
        return
    exported = await export_conversations_html(conversations, AGENT_NAME, str(directory))
    facts = {"Pages": f"{exported} conversations", "Open": str(directory / "index.html")}
    # Not wrapped: a user may copy the path.
    console.print(report.facts(facts), soft_wrap=True)


def _conclude(console: Console) -> None:
    console.print("\nTo store your own agent's conversations, write in its config.yaml:\n")
    console.print(Text(_CONFIGURATION, "cyan"))
