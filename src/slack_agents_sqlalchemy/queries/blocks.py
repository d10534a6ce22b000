"""Statements of blocks: one INSERT for each kind, and the histories that are read from them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    Column,
    ColumnElement,
    CompoundSelect,
    join,
    null,
    select,
    true,
    union_all,
)
from sqlalchemy.sql import bindparam

from slack_agents_sqlalchemy.dialects import InsertSelect
from slack_agents_sqlalchemy.identifiers import digest
from slack_agents_sqlalchemy.models import Block, Conversation, Message
from slack_agents_sqlalchemy.queries import arguments
from slack_agents_sqlalchemy.queries.insert_select import insert_select

blocks, conversations, messages = Block.__table__, Conversation.__table__, Message.__table__

type Parameters = dict[str, Any]


class Append(NamedTuple):
    """A block to insert: how, and all its parameters but the id."""

    insertion: InsertSelect
    parameters: Parameters


_COMMON = ("id", "block_type", "in_history", "created_at")
_FILE = ("content", "filename", "mimetype", "size_bytes")
_TOOL = ("tool_call_digest", "tool_call_id", "tool_name", "tool_input", "tool_output", "is_error")
_TOKENS = (
    "input_tokens",
    "output_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "peak_single_call_input_tokens",
)
USAGE = ("model", "version", *_TOKENS, "estimated_cost_usd")
"""What the content of a usage block holds."""


_PARENT = {"conversation_id": messages.c.conversation_id, "message_id": messages.c.id}


def _insert(*columns: str) -> InsertSelect:
    return insert_select(
        messages.c.id,
        blocks,
        copied=_PARENT,
        given=(*_COMMON, *columns),
        source=messages,
    )


def _insert_referring(reference: str, *columns: str) -> InsertSelect:
    referred = blocks.alias("referred")
    return insert_select(
        messages.c.id,
        blocks,
        copied=_PARENT | {reference: referred.c.id},
        given=(*_COMMON, *columns),
        source=join(messages, referred, referred.c.id == bindparam("referred_id")),
    )


_INSERT_TEXT = _insert("text")
_INSERT_TEXT_OF_FILE = _insert_referring("source_file_id", "text")
_INSERT_FILE = _insert(*_FILE)
_INSERT_FILE_OF_TOOL = _insert_referring("tool_block_id", *_FILE)
_INSERT_TOOL = _insert(*_TOOL)
_INSERT_USAGE = _insert(*USAGE)


def _block(message_id: int | str, block_type: str, *, in_history: bool) -> Parameters:
    return {
        "parent_id": arguments.identifier("message", message_id),
        "block_type": block_type,
        "in_history": in_history,
        "created_at": datetime.now(UTC),
    }


def text(
    message_id: int | str, text: str, is_user: bool, source_file_id: int | str | None
) -> Append:
    """Append what the user or the agent wrote, or what was read from the user's file."""
    parameters = _block(message_id, "user_text" if is_user else "text", in_history=True)
    parameters["text"] = arguments.text("text", text)
    if source_file_id is None:
        return Append(_INSERT_TEXT, parameters)
    parameters["referred_id"] = arguments.identifier("block", source_file_id)
    return Append(_INSERT_TEXT_OF_FILE, parameters)


def file(
    message_id: int | str,
    content: dict[str, Any],
    is_user: bool,
    filename: str,
    mimetype: str,
    size_bytes: int,
    tool_block_id: int | str | None,
) -> Append:
    """Append a file of the user's, or one that a tool made."""
    written = arguments.json_object("content", content)
    # The model's API takes an upload back only as an image block; the text of any other file is
    # a block of its own.
    in_history = not is_user or content.get("type") == "image"
    parameters = _block(message_id, "user_file" if is_user else "file", in_history=in_history)
    parameters |= {
        "content": written,
        "filename": arguments.text("filename", filename),
        "mimetype": arguments.text("mimetype", mimetype),
        "size_bytes": arguments.integer("size_bytes", size_bytes),
    }
    if tool_block_id is None:
        return Append(_INSERT_FILE, parameters)
    parameters["referred_id"] = arguments.identifier("block", tool_block_id)
    return Append(_INSERT_FILE_OF_TOOL, parameters)


def tool(
    message_id: int | str,
    tool_call_id: str,
    tool_name: str,
    tool_input: Any,
    tool_output: str,
    is_error: bool,
) -> Append:
    """Append a tool call and its result; the input is any JSON value that the model wrote."""
    parameters = _block(message_id, "tool_use", in_history=True)
    parameters |= {
        "tool_call_digest": digest(arguments.text("tool_call_id", tool_call_id)),
        "tool_call_id": tool_call_id,
        "tool_name": arguments.text("tool_name", tool_name),
        "tool_input": arguments.json_value(tool_input),
        "tool_output": arguments.text("tool_output", tool_output),
        "is_error": bool(is_error),
    }
    return Append(_INSERT_TOOL, parameters)


def usage(
    message_id: int | str,
    model: str,
    version: str,
    estimated_cost_usd: float | None,
    **tokens: int,
) -> Append:
    """Append what an exchange cost."""
    parameters = _block(message_id, "usage", in_history=False)
    parameters |= {
        "model": arguments.text("model", model),
        "version": arguments.text("version", version),
        "estimated_cost_usd": arguments.optional_number("estimated_cost_usd", estimated_cost_usd),
    }
    parameters |= {name: arguments.integer(name, tokens[name]) for name in _TOKENS}
    return Append(_INSERT_USAGE, parameters)


FIND_MESSAGE = select(messages.c.id).where(messages.c.id == bindparam("parent_id"))

GET_TOOL_CALL = (
    select(
        blocks.c.tool_name,
        blocks.c.tool_input,
        blocks.c.tool_output,
        blocks.c.is_error,
        blocks.c.id,
    )
    .where(blocks.c.tool_call_digest == bindparam("tool_call_digest"))
    .order_by(blocks.c.id.desc())
    .limit(1)
)


def tool_call(tool_call_id: str) -> Parameters:
    """Find a tool call by the id that the model gave it."""
    return {"tool_call_digest": digest(arguments.text("tool_call_id", tool_call_id))}


def _history(
    of_block: Sequence[Column[Any]],
    of_message: Mapping[str, ColumnElement[Any]],
    *,
    only_in_history: bool,
) -> CompoundSelect[Any]:
    """Build the statement that reads a conversation: a range of blocks, and one of messages.

    A block's row has ``message_id`` and ``id``, a message's row ``message_id`` alone, and the
    conversation's own row, which says that there is one, neither. Not a join: PostgreSQL, as long
    as it has no statistics of the tables, reads the blocks again for every message. And not sorted:
    that would carry the large columns along.

    Args:
        of_block: Columns of the blocks.
        of_message: Columns of the messages, by the block's column whose place they take: each
            column of a result costs time in every row, also where it is empty.
        only_in_history: Leave out what the model does not see again.
    """
    wanted: BindParameter[int] = bindparam("conversation_id")
    range_of_blocks = select(blocks.c.message_id, blocks.c.id, *of_block).where(
        blocks.c.conversation_id == wanted
    )
    if only_in_history:
        range_of_blocks = range_of_blocks.where(blocks.c.in_history == true())
    range_of_messages = select(
        messages.c.id, null(), *(of_message.get(column.name, null()) for column in of_block)
    ).where(messages.c.conversation_id == wanted)
    conversation = select(null(), null(), *(null() for _ in of_block)).where(
        conversations.c.id == wanted
    )
    return union_all(range_of_blocks, range_of_messages, conversation)


_IDS = ("message_id", "id")
_CONTENT = (
    "block_type",
    "text",
    "tool_call_id",
    "tool_name",
    "tool_input",
    "tool_output",
    "is_error",
    "content",
)
_DETAILS = ("created_at", "source_file_id", "filename", "mimetype", "size_bytes", *USAGE)

EVERYTHING = (*_IDS, *_CONTENT, *_DETAILS)
"""What a row of ``GET_EVERYTHING`` holds, in order; one of ``GET_HISTORY`` ends at ``content``."""

GET_HISTORY = _history([blocks.c[name] for name in _CONTENT], {}, only_in_history=True)

GET_EVERYTHING = _history(
    [blocks.c[name] for name in (*_CONTENT, *_DETAILS)],
    {
        "text": messages.c.user_id,
        "tool_call_id": messages.c.user_name,
        "tool_name": messages.c.user_handle,
        "created_at": messages.c.created_at,
    },
    only_in_history=False,
)


def history(conversation_id: int | str) -> Parameters:
    """Find the messages and blocks of a conversation."""
    return {"conversation_id": arguments.identifier("conversation", conversation_id)}
