"""The demo itself: replay the threads, then show what the database gives back."""

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
    """Replay a written-out set of agent threads and show what was stored.

    Every run has threads of its own, so running it again on the same database only adds rows.

    Args:
        url: The database; its tables are made where they are missing.
        output: The directory for the HTML export (``html/``), created where absent.
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
        f"The agent {AGENT_NAME} helps a company with IT and analytics. What was said in "
        f"{len(THREADS)} of its Slack threads is stored through the framework's own "
        "ConversationManager, call by call as a running agent does it, and then read back.\n",
        highlight=False,
    )


async def _replay(conversations: ConversationManager, started: float) -> list[ReplayedThread]:
    replayed = []
    for index, thread in enumerate(THREADS):
        # A Slack thread is named by the time of its first message; these are a minute apart.
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
            "What the model sees again",
            # By its first words, as the list of threads below names it.
            f"The next message in the thread “{_first_words(replayed)}” is answered with this "
            "history: texts, "
            "images, tool calls and their results. Usage, and files made by tools, stay in the "
            "database. Long content is cut here, for display only.",
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
            "A tool call, looked up",
            "Slack shows a tool call as one line. “Show Details” sends its id, and the framework "
            "asks the storage for the rest.",
        )
    )
    console.print(report.tool_call(call_id, found))


async def _show_usage(
    provider: Provider, replayed: Sequence[ReplayedThread], console: Console
) -> None:
    # Asked of the provider: the manager refuses for a database in memory, which cannot export.
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
            "Added up from the usage blocks, as “slack-agents export-usage” does it.",
        )
    )
    console.print(report.usage_table(rows))
    if len(stored) > len(rows):
        console.print(f"Not listed: {len(stored) - len(rows)} earlier threads of this agent.")


async def _show_row_counts(provider: Provider, before: Mapping[str, int], console: Console) -> None:
    console.print(
        report.heading(
            4,
            "What was written where",
            "The tables of this package in the database, and the rows that this run added.",
        )
    )
    console.print(report.row_counts(before, await provider.count_rows()))


async def _export(conversations: ConversationManager, directory: Path, console: Console) -> None:
    console.print(
        report.heading(
            5,
            "The conversations as web pages",
            "Made by the framework's “slack-agents export-conversations --format html”.",
        )
    )
    if not conversations.supports_export:
        console.print("Left out: a database in memory is gone with its process.")
        return
    exported = await export_conversations_html(conversations, AGENT_NAME, str(directory))
    facts = {"Pages": f"{exported} conversations", "Open": str(directory / "index.html")}
    # Not wrapped, so that the path can be copied.
    console.print(report.facts(facts), soft_wrap=True)


def _conclude(console: Console) -> None:
    console.print("\nTo keep your own agent's conversations like this, write in its config.yaml:\n")
    console.print(Text(_CONFIGURATION, "cyan"))
