"""Statements of blocks: one INSERT for each kind, and the histories that are read from them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    CompoundSelect,
    Insert,
    null,
    select,
    true,
    type_coerce,
    union_all,
)
from sqlalchemy.orm import InstrumentedAttribute, aliased, join
from sqlalchemy.sql import bindparam

from slack_agents_sqlalchemy import arguments
from slack_agents_sqlalchemy.identifiers import digest
from slack_agents_sqlalchemy.models import Block, Conversation, Message
from slack_agents_sqlalchemy.statements.insertion import insert_under

type Parameters = dict[str, Any]


class Append(NamedTuple):
    """A block to insert: the statement, and all its parameters but the id."""

    statement: Insert
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
_USAGE = ("model", "version", *_TOKENS, "estimated_cost_usd")


_PARENT = {"conversation_id": Message.conversation_id, "message_id": Message.id}


def _insert(*columns: str) -> Insert:
    return insert_under(
        Message.id,
        Block,
        copied=_PARENT,
        given=(*_COMMON, *columns),
        source=Message.__table__,
    )


def _insert_referring(reference: str, *columns: str) -> Insert:
    referred = aliased(Block, name="referred")
    return insert_under(
        Message.id,
        Block,
        copied=_PARENT | {reference: referred.id},
        given=(*_COMMON, *columns),
        source=join(Message, referred, referred.id == bindparam("referred_id")),
    )


_INSERT_TEXT = _insert("text")
_INSERT_TEXT_OF_FILE = _insert_referring("source_file_id", "text")
_INSERT_FILE = _insert(*_FILE)
_INSERT_FILE_OF_TOOL = _insert_referring("tool_block_id", *_FILE)
_INSERT_TOOL = _insert(*_TOOL)
_INSERT_USAGE = _insert(*_USAGE)


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
    arguments.json_object("content", content)
    # The model's API takes an upload back only as an image block; the text of any other file is
    # a block of its own.
    in_history = not is_user or content.get("type") == "image"
    parameters = _block(message_id, "user_file" if is_user else "file", in_history=in_history)
    parameters |= {
        "content": content,
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
    tool_input: dict[str, Any],
    tool_output: str,
    is_error: bool,
) -> Append:
    """Append a tool call and its result."""
    parameters = _block(message_id, "tool_use", in_history=True)
    parameters |= {
        "tool_call_digest": digest(arguments.text("tool_call_id", tool_call_id)),
        "tool_call_id": tool_call_id,
        "tool_name": arguments.text("tool_name", tool_name),
        "tool_input": arguments.json_object("tool_input", tool_input),
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


FIND_MESSAGE = select(Message.id).where(Message.id == bindparam("parent_id"))

GET_TOOL_CALL = (
    select(Block.tool_name, Block.tool_input, Block.tool_output, Block.is_error)
    .where(Block.tool_call_digest == bindparam("tool_call_digest"))
    .order_by(Block.id.desc())
    .limit(1)
)


def tool_call(tool_call_id: str) -> Parameters:
    """Find a tool call by the id that the model gave it."""
    return {"tool_call_digest": digest(arguments.text("tool_call_id", tool_call_id))}


def _history(
    of_block: Sequence[InstrumentedAttribute[Any]],
    of_message: Mapping[str, InstrumentedAttribute[Any]],
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
        of_message: Columns of the messages, by the names that they get.
        only_in_history: Leave out what the model does not see again.
    """
    conversation_id: BindParameter[int] = bindparam("conversation_id")
    blocks = select(
        Block.message_id,
        Block.id,
        *of_block,
        *(type_coerce(null(), column.type).label(name) for name, column in of_message.items()),
    ).where(Block.conversation_id == conversation_id)
    if only_in_history:
        blocks = blocks.where(Block.in_history == true())
    no_block = [null() for _ in range(1 + len(of_block))]
    messages = select(Message.id, *no_block, *of_message.values()).where(
        Message.conversation_id == conversation_id
    )
    nothing = [null() for _ in range(1 + len(no_block) + len(of_message))]
    conversation = select(*nothing).where(Conversation.id == conversation_id)
    return union_all(blocks, messages, conversation)


_CONTENT = (
    Block.block_type,
    Block.text,
    Block.content,
    Block.tool_call_id,
    Block.tool_name,
    Block.tool_input,
    Block.tool_output,
    Block.is_error,
)

GET_HISTORY = _history(_CONTENT, {}, only_in_history=True)

GET_EVERYTHING = _history(
    (
        *_CONTENT,
        Block.created_at,
        Block.source_file_id,
        Block.filename,
        Block.mimetype,
        Block.size_bytes,
        *(getattr(Block, name) for name in _USAGE),
    ),
    {
        "user_id": Message.user_id,
        "user_name": Message.user_name,
        "user_handle": Message.user_handle,
        "message_created_at": Message.created_at,
    },
    only_in_history=False,
)


def history(conversation_id: int | str) -> Parameters:
    """Find the messages and blocks of a conversation."""
    return {"conversation_id": arguments.identifier("conversation", conversation_id)}
