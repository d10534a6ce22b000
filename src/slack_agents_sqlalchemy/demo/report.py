"""Render stored data for a terminal (no I/O)."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.highlighter import JSONHighlighter
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from slack_agents.llm.base import Message

# Limits of what is shown of a text and of a tool's data, in lines and in characters. A text that
# is longer by no more than the tolerance is shown in full.
_MAX_LINES = 8
_MAX_LINE = 300
_MAX_DATA = 200
_TOLERANCE = 40
_ROLES = {"user": ("user", "cyan"), "assistant": ("assistant", "green")}
_CONTENTS = {
    "slack_agents_conversations": "one row for each Slack thread",
    "slack_agents_messages": "author and time of each message",
    "slack_agents_blocks": "texts, files, tool calls, usage",
    "slack_agents_heartbeats": "the last heartbeat of each agent",
    "slack_agents_key_values": "values of plug-ins, by key",
    "slack_agents_list_items": "items of plug-ins, in lists",
    "slack_agents_oauth_tokens": "OAuth tokens of users",
    "slack_agents_oauth_clients": "clients registered at OAuth servers",
}


@dataclass(frozen=True, slots=True)
class _ByWidth:
    """A table, and its replacement on a terminal that is too narrow."""

    table: RenderableType
    columns: int
    narrow: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.table if options.max_width >= self.columns else self.narrow


def heading(number: int, title: str, explanation: str) -> RenderableType:
    """Return the title of a section, and its explanation."""
    return Group(
        Text(),
        Text.assemble((f" {number} ", "bold white on blue"), (f" {title}", "bold")),
        Text(explanation, "dim"),
        Text(),
    )


# --- The history for the model --------------------------------------------------------------------


def history(messages: Sequence[Message]) -> RenderableType:
    """Return the messages of a history; long content is shortened for display."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column()
    for message in messages:
        blocks = message.content
        if isinstance(blocks, str):
            blocks = [{"type": "text", "text": blocks}]
        of_tools = any(block["type"] == "tool_result" for block in blocks)
        role, colour = ("tool", "yellow") if of_tools else _ROLES[message.role]
        for position, block in enumerate(blocks):
            table.add_row(Text("" if position else role, f"bold {colour}"), _block(block))
    return table


def _block(block: Mapping[str, Any]) -> Text:
    match block["type"]:
        case "text":
            return _lines(block["text"])
        case "image":
            source = block["source"]
            return Text(f"[{source['media_type']}, {len(source['data']):,} characters of base64]")
        case "tool_use":
            arguments = _one_line(json.dumps(block["input"], ensure_ascii=False))
            return Text.assemble(("→ " + block["name"], "bold"), " ", arguments)
        case "tool_result":
            failed = block.get("is_error", False)
            mark = ("✗ ", "bold red") if failed else ("✓ ", "bold green")
            return Text.assemble(mark, _one_line(block["content"]))
        case other:
            return Text(f"[{other}]")


def _lines(text: str) -> Text:
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) <= _MAX_LINES + 1:
        return Text("\n").join(_one_line(line, _MAX_LINE) for line in lines)
    shown = Text("\n").join(_one_line(line, _MAX_LINE) for line in lines[:_MAX_LINES])
    return shown.append(f"\n… {len(lines) - _MAX_LINES} more lines", "dim")


def _one_line(text: str, limit: int = _MAX_DATA) -> Text:
    flat = " ".join(text.split())
    if len(flat) <= limit + _TOLERANCE:
        return Text(flat)
    cut = f" … {len(flat) - limit:,} more characters"
    return Text.assemble(flat[:limit], (cut, "dim"))


# --- A tool call ----------------------------------------------------------------------------------


def tool_call(call_id: str, found: Mapping[str, Any]) -> RenderableType:
    """Return a tool call as Slack shows its details."""
    colour, mark = ("red", "✗") if found["is_error"] else ("green", "✓")
    highlighted = JSONHighlighter()
    body = Group(
        Text("Input", "bold"),
        highlighted(found["input_json"]),
        Text(),
        Text("Output", "bold"),
        highlighted(found["output_json"]),
    )
    return Panel(
        body,
        title=Text(f"{mark} {found['tool_name']}", f"bold {colour}"),
        subtitle=Text(call_id, "dim"),
        title_align="left",
        subtitle_align="right",
        border_style=colour,
        padding=(0, 1),
    )


# --- Usage ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ThreadUsage:
    """The usage of one thread: its messages, tool calls, tokens and cost in US dollars."""

    first_words: str
    where: str
    messages: int
    tool_calls: int
    tokens_in: int
    tokens_cached: int
    tokens_out: int
    cost: float


def thread_usage(
    conversation: Mapping[str, Any], messages: Sequence[Mapping[str, Any]]
) -> ThreadUsage:
    """Return the usage of a conversation, summed over the blocks of its export."""
    blocks = [block for message in messages for block in message["blocks"]]
    usage = [block["content"] for block in blocks if block["block_type"] == "usage"]
    said = [block["content"]["text"] for block in blocks if block["block_type"] == "user_text"]
    direct = conversation["channel_id"].startswith("D")
    channel = "direct message" if direct else f"#{conversation['channel_name']}"
    people = dict.fromkeys(message["user_handle"] for message in messages)
    return ThreadUsage(
        first_words=" ".join(said[0].split()) if said else "",
        where=f"{channel} · {', '.join(people)}",
        messages=len(messages),
        tool_calls=sum(block["block_type"] == "tool_use" for block in blocks),
        tokens_in=sum(
            each["input_tokens"]
            + each["cache_creation_input_tokens"]
            + each["cache_read_input_tokens"]
            for each in usage
        ),
        tokens_cached=sum(each["cache_read_input_tokens"] for each in usage),
        tokens_out=sum(each["output_tokens"] for each in usage),
        cost=sum(each["estimated_cost_usd"] or 0.0 for each in usage),
    )


def usage_table(rows: Sequence[ThreadUsage]) -> RenderableType:
    """Return the usage of each thread, and the total."""
    return _ByWidth(_usage_table(rows), 72, _usage_list(rows))


def _usage_list(rows: Sequence[ThreadUsage]) -> RenderableType:
    total = ThreadUsage(
        f"{len(rows)} threads",
        "total",
        messages=sum(row.messages for row in rows),
        tool_calls=sum(row.tool_calls for row in rows),
        tokens_in=sum(row.tokens_in for row in rows),
        tokens_cached=sum(row.tokens_cached for row in rows),
        tokens_out=sum(row.tokens_out for row in rows),
        cost=sum(row.cost for row in rows),
    )
    return Group(*(Group(*_usage_lines(row), Text()) for row in (*rows, total)))


def _usage_lines(row: ThreadUsage) -> Iterator[Text]:
    yield Text(row.first_words, overflow="ellipsis", no_wrap=True)
    yield Text(row.where, "dim")
    yield Text(f"  {_count(row.messages, 'message')}, {_count(row.tool_calls, 'tool call')}")
    yield Text(f"  {row.tokens_in:,} tokens in, {row.tokens_cached:,} cached")
    yield Text(f"  {row.tokens_out:,} tokens out, {row.cost:.4f} USD")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _usage_table(rows: Sequence[ThreadUsage]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, show_footer=True, padding=(0, 1, 0, 0))
    table.add_column("Thread\nchannel · users", f"{len(rows)} threads")
    numbers = (
        ("Mes-\nsages", sum(row.messages for row in rows)),
        ("Tool\ncalls", sum(row.tool_calls for row in rows)),
        ("Tokens\nin", sum(row.tokens_in for row in rows)),
        ("of them\ncached", sum(row.tokens_cached for row in rows)),
        ("Tokens\nout", sum(row.tokens_out for row in rows)),
    )
    for title, total in numbers:
        table.add_column(title, f"{total:,}", justify="right", no_wrap=True)
    cost = f"{sum(row.cost for row in rows):.4f}"
    table.add_column("Cost\nUSD", cost, justify="right", no_wrap=True)
    for row in rows:
        first = Text(row.first_words, overflow="ellipsis", no_wrap=True)
        where = Text(row.where, "dim")
        table.add_row(
            Group(first, where),
            str(row.messages),
            str(row.tool_calls),
            f"{row.tokens_in:,}",
            f"{row.tokens_cached:,}",
            f"{row.tokens_out:,}",
            f"{row.cost:.4f}",
        )
    return table


# --- The rows of each table -----------------------------------------------------------------------


def row_counts(before: Mapping[str, int], after: Mapping[str, int]) -> RenderableType:
    """Return the number of rows of each table, and how many of them are new."""
    return _ByWidth(
        _row_counts(before, after, explained=True), 72, _row_counts(before, after, explained=False)
    )


def _row_counts(before: Mapping[str, int], after: Mapping[str, int], *, explained: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("Table", no_wrap=True)
    table.add_column("New", justify="right", no_wrap=True)
    table.add_column("Rows", justify="right", no_wrap=True)
    if explained:
        table.add_column("Contents")
    for name in sorted(after, key=list(_CONTENTS).index):
        rows, new = after[name], after[name] - before[name]
        table.add_row(
            Text(name, "" if rows else "dim"),
            Text(f"+{new:,}", "green") if new else Text("0", "dim"),
            f"{rows:,}",
            *([Text(_CONTENTS[name], "dim")] if explained else []),
        )
    return table


def facts(pairs: Mapping[str, str]) -> Text:
    """Return names and values, one pair on each line; print them without wrapping."""
    width = max(map(len, pairs)) + 2
    return Text("\n").join(
        Text.assemble((name.ljust(width), "dim"), value) for name, value in pairs.items()
    )
