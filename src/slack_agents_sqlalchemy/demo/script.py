"""What a written-out agent thread is made of: who says what, which tools run, what it costs."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from slack_agents.tools.base import make_tool_error


@dataclass(frozen=True, slots=True)
class User:
    """A person in Slack. The framework takes the display name for name and handle alike."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel or a direct message, with the name under which the framework stores it."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class File:
    """A file as it travels through Slack."""

    filename: str
    mimetype: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that a user attaches; ``extracted`` is its text, None for an image."""

    file: File
    extracted: str | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool with its outcome: the text for the model, the files for the user."""

    name: str
    input: dict[str, object]
    output: str
    is_error: bool = False
    files: tuple[File, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens of one turn, summed over the model calls that it took."""

    input_tokens: int
    output_tokens: int
    cache_written: int
    cache_read: int
    peak: int


@dataclass(frozen=True, slots=True)
class Turn:
    """What a user writes, and the steps of the answer: a text, or the call of a tool."""

    user: User
    text: str
    steps: tuple[str | ToolCall, ...]
    usage: Usage
    uploads: tuple[Upload, ...] = ()

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls among the steps, in their order."""
        return tuple(step for step in self.steps if isinstance(step, ToolCall))


@dataclass(frozen=True, slots=True)
class Thread:
    """A Slack thread with the agent in it."""

    title: str
    channel: Channel
    turns: tuple[Turn, ...]

    @property
    def users(self) -> tuple[User, ...]:
        """Everybody who writes in the thread, in the order of their first message."""
        return tuple(dict.fromkeys(turn.user for turn in self.turns))

    def tool_calls(self) -> Iterator[ToolCall]:
        """Yield the calls of all turns, in their order."""
        for turn in self.turns:
            yield from turn.tool_calls


def answered(tool: str, arguments: dict[str, object], result: object, *files: File) -> ToolCall:
    """Return a call that went well; its result is what the model reads, as JSON."""
    return ToolCall(tool, arguments, json.dumps(result, ensure_ascii=False, indent=2), files=files)


def failed(
    tool: str, arguments: dict[str, object], *, error: str, message: str, recovery: str
) -> ToolCall:
    """Return a call that failed, with the framework's own error object as the output."""
    outcome = make_tool_error(error=error, message=message, recovery=recovery, tool=tool)
    return ToolCall(tool, arguments, outcome["content"], is_error=True)
