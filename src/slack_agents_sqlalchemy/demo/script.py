"""The types of an agent thread as data: users, texts, files, tool calls and usage."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from slack_agents.tools.base import make_tool_error


@dataclass(frozen=True, slots=True)
class User:
    """A Slack user. The framework uses the display name as the name and as the handle."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel or a direct message, with the name that the framework stores."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class File:
    """A file in Slack."""

    filename: str
    mimetype: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that a user uploads; ``extracted`` is its text, None for an image."""

    file: File
    extracted: str | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call and its result: the text for the model, the files for the user."""

    name: str
    input: dict[str, object]
    output: str
    is_error: bool = False
    files: tuple[File, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens of one turn, summed over its calls of the model."""

    input_tokens: int
    output_tokens: int
    cache_written: int
    cache_read: int
    peak: int


@dataclass(frozen=True, slots=True)
class Turn:
    """A user's message, and the steps of the answer: each is a text or a tool call."""

    user: User
    text: str
    steps: tuple[str | ToolCall, ...]
    usage: Usage
    uploads: tuple[Upload, ...] = ()

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls of the answer, in order."""
        return tuple(step for step in self.steps if isinstance(step, ToolCall))


@dataclass(frozen=True, slots=True)
class Thread:
    """A Slack thread with the agent in it."""

    title: str
    channel: Channel
    turns: tuple[Turn, ...]

    @property
    def users(self) -> tuple[User, ...]:
        """The users who write in the thread, in the order of their first messages."""
        return tuple(dict.fromkeys(turn.user for turn in self.turns))

    def tool_calls(self) -> Iterator[ToolCall]:
        """Yield the tool calls of all turns, in order."""
        for turn in self.turns:
            yield from turn.tool_calls


def answered(tool: str, arguments: dict[str, object], result: object, *files: File) -> ToolCall:
    """Return a successful tool call; the model reads the result as JSON."""
    return ToolCall(tool, arguments, json.dumps(result, ensure_ascii=False, indent=2), files=files)


def failed(
    tool: str, arguments: dict[str, object], *, error: str, message: str, recovery: str
) -> ToolCall:
    """Return a failed tool call, with the framework's own error object as the output."""
    outcome = make_tool_error(error=error, message=message, recovery=recovery, tool=tool)
    return ToolCall(tool, arguments, outcome["content"], is_error=True)
