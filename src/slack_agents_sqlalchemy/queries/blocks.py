"""Queries of blocks: one INSERT for each kind, and the histories of a conversation."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    CompoundSelect,
    join,
    literal_column,
    null,
    select,
    true,
    union_all,
)
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql import bindparam

from slack_agents_sqlalchemy.dialects import InsertSelect
from slack_agents_sqlalchemy.errors import NotFoundError
from slack_agents_sqlalchemy.identifiers import digest, parse_id
from slack_agents_sqlalchemy.models import Block, Conversation, Message
from slack_agents_sqlalchemy.queries import arguments
from slack_agents_sqlalchemy.queries.insert_select import insert_select
from slack_agents_sqlalchemy.types.exact import write_object, write_value

type Rows = Sequence[Sequence[Any]]
type Parameters = dict[str, Any]


class Append(NamedTuple):
    """The insertion of a block, and the block's row without its id."""

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
_USAGE = ("model", "version", *_TOKENS, "estimated_cost_usd")

_PARENT = {"conversation_id": Message.conversation_id, "message_id": Message.id}


def _insert(*columns: str) -> InsertSelect:
    return insert_select(
        Block,
        parent=Message.id,
        source=Message,
        copied=_PARENT,
        given=(*_COMMON, *columns),
    )


def _insert_referring(reference: str, *columns: str) -> InsertSelect:
    referred = Block.__table__.alias("referred")
    return insert_select(
        Block,
        parent=Message.id,
        source=join(Message.__table__, referred, referred.c.id == bindparam("referred_id")),
        copied=_PARENT | {reference: referred.c.id},
        given=(*_COMMON, *columns),
    )


_INSERT_TEXT = _insert("text")
_INSERT_TEXT_OF_FILE = _insert_referring("source_file_id", "text")
_INSERT_FILE = _insert(*_FILE)
_INSERT_FILE_OF_TOOL = _insert_referring("tool_block_id", *_FILE)
_INSERT_TOOL = _insert(*_TOOL)
_INSERT_USAGE = _insert(*_USAGE)


def _block(message_id: int | str, block_type: str, *, in_history: bool) -> Parameters:
    return {
        "parent_id": parse_id("message", message_id),
        "block_type": block_type,
        "in_history": in_history,
        "created_at": datetime.now(UTC),
    }


def text(
    message_id: int | str, text: str, is_user: bool, source_file_id: int | str | None
) -> Append:
    """Return the block of a text: of the user, of the agent, or of a file of the user."""
    parameters = _block(message_id, "user_text" if is_user else "text", in_history=True)
    parameters |= arguments.texts(text=text)
    if source_file_id is None:
        return Append(_INSERT_TEXT, parameters)
    parameters["referred_id"] = parse_id("block", source_file_id)
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
    """Return the block of a user's file, or of one that a tool made."""
    written = write_object("content", content)
    # The model's API accepts an upload only as an image block; the text of any other file is a
    # block of its own.
    in_history = not is_user or content.get("type") == "image"
    parameters = _block(message_id, "user_file" if is_user else "file", in_history=in_history)
    parameters |= arguments.texts(filename=filename, mimetype=mimetype)
    parameters["content"] = written
    parameters["size_bytes"] = arguments.integer("size_bytes", size_bytes)
    if tool_block_id is None:
        return Append(_INSERT_FILE, parameters)
    parameters["referred_id"] = parse_id("block", tool_block_id)
    return Append(_INSERT_FILE_OF_TOOL, parameters)


def tool(
    message_id: int | str,
    tool_call_id: str,
    tool_name: str,
    tool_input: Any,
    tool_output: str,
    is_error: bool,
) -> Append:
    """Return the block of a tool call and its result; the input is any JSON value."""
    parameters = _block(message_id, "tool_use", in_history=True)
    parameters |= arguments.texts(
        tool_call_id=tool_call_id, tool_name=tool_name, tool_output=tool_output
    )
    parameters["tool_call_digest"] = digest(tool_call_id=tool_call_id)
    parameters["tool_input"] = write_value(tool_input)
    parameters["is_error"] = bool(is_error)
    return Append(_INSERT_TOOL, parameters)


def usage(
    message_id: int | str,
    model: str,
    version: str,
    estimated_cost_usd: float | None,
    **tokens: int,
) -> Append:
    """Return the block of the tokens and the cost of an exchange."""
    parameters = _block(message_id, "usage", in_history=False)
    parameters |= arguments.texts(model=model, version=version)
    parameters["estimated_cost_usd"] = arguments.optional_number(
        "estimated_cost_usd", estimated_cost_usd
    )
    parameters |= {name: arguments.integer(name, tokens[name]) for name in _TOKENS}
    return Append(_INSERT_USAGE, parameters)


FIND_MESSAGE = select(Message.id).where(Message.id == bindparam("parent_id"))


def _history(
    of_block: Sequence[InstrumentedAttribute[Any]],
    of_message: Mapping[str, InstrumentedAttribute[Any]],
    *,
    only_in_history: bool,
) -> CompoundSelect[Any]:
    """Return the statement that reads a conversation: a range of blocks, and one of messages.

    A row begins with ``message_id`` and ``id``. A message's row has 0 for the first, and the
    conversation's own row, which says that it exists, 0 for both. So the sorted rows are the
    conversation, the messages, and then the blocks of each message, all in order.

    It is not a join: PostgreSQL, as long as it has no statistics of the tables, reads the blocks
    again for every message. It is not sorted: the sort would carry the large columns along.

    Args:
        of_block: Columns of the blocks.
        of_message: Columns of the messages, by the block's column that they share: each
            column of a result costs time in every row, also where it is empty.
        only_in_history: Whether to leave out what the model does not see again.
    """
    wanted: BindParameter[int] = bindparam("conversation_id")
    no_id: Any = literal_column("0", Block.id.type)
    range_of_blocks = select(Block.message_id, Block.id, *of_block).where(
        Block.conversation_id == wanted
    )
    if only_in_history:
        range_of_blocks = range_of_blocks.where(Block.in_history == true())
    range_of_messages = select(
        no_id, Message.id, *(of_message.get(column.key, null()) for column in of_block)
    ).where(Message.conversation_id == wanted)
    conversation = select(no_id, no_id, *(null() for _ in of_block)).where(
        Conversation.id == wanted
    )
    return union_all(range_of_blocks, range_of_messages, conversation)


_CONTENT = (
    Block.block_type,
    Block.text,
    Block.tool_call_id,
    Block.tool_name,
    Block.tool_input,
    Block.tool_output,
    Block.is_error,
    Block.content,
)

GET_HISTORY = _history(_CONTENT, {}, only_in_history=True)


def history(conversation_id: int | str) -> Parameters:
    """Return the parameters that select the messages and blocks of a conversation."""
    return {"conversation_id": parse_id("conversation", conversation_id)}


def to_message_blocks(
    conversation_id: int | str, rows: Rows
) -> list[tuple[int | str, list[dict[str, Any]]]]:
    """Return the history for the model, of rows of ``GET_HISTORY``: (message id, blocks) by id.

    Raises:
        NotFoundError: There is no conversation, not even its own row.
    """
    if not rows:
        raise NotFoundError(f"there is no conversation {conversation_id}")
    messages: dict[int | str, list[dict[str, Any]]] = {}
    for (
        message_id,
        row_id,
        block_type,
        text,
        tool_call_id,
        tool_name,
        tool_input,
        tool_output,
        is_error,
        content,
    ) in sorted(rows, key=tuple):
        if not message_id:
            if row_id:
                messages[row_id] = []
            continue
        if text is not None:
            shown = {"text": text}
        elif tool_call_id is not None:
            shown = {
                "tool_call_id": tool_call_id,
                "tool_name": tool_name,
                "tool_input": tool_input,
                "tool_output": tool_output,
                "is_error": is_error,
            }
        else:
            shown = content
        messages[message_id].append({"block_type": block_type, "content": shown})
    return list(messages.items())


GET_EVERYTHING = _history(
    (
        *_CONTENT,
        Block.created_at,
        Block.source_file_id,
        Block.filename,
        Block.mimetype,
        Block.size_bytes,
        Block.model,
        Block.version,
        Block.input_tokens,
        Block.output_tokens,
        Block.cache_creation_input_tokens,
        Block.cache_read_input_tokens,
        Block.peak_single_call_input_tokens,
        Block.estimated_cost_usd,
    ),
    {
        "text": Message.user_id,
        "tool_call_id": Message.user_name,
        "tool_name": Message.user_handle,
        "created_at": Message.created_at,
    },
    only_in_history=False,
)


def to_messages_with_blocks(conversation_id: int | str, rows: Rows) -> list[dict[str, Any]]:
    """Return the messages of an export, of rows of ``GET_EVERYTHING``: with their blocks, by id.

    Raises:
        NotFoundError: There is no conversation, not even its own row.
    """
    if not rows:
        raise NotFoundError(f"there is no conversation {conversation_id}")
    messages: dict[int, dict[str, Any]] = {}
    for (
        message_id,
        row_id,
        block_type,
        text,
        tool_call_id,
        tool_name,
        tool_input,
        tool_output,
        is_error,
        content,
        created_at,
        source_file_id,
        filename,
        mimetype,
        size_bytes,
        model,
        version,
        input_tokens,
        output_tokens,
        cache_creation_input_tokens,
        cache_read_input_tokens,
        peak_single_call_input_tokens,
        estimated_cost_usd,
    ) in sorted(rows, key=tuple):
        if not message_id:
            if row_id:
                messages[row_id] = {
                    "id": row_id,
                    "user_id": text,
                    "user_name": tool_call_id,
                    "user_handle": tool_name,
                    "created_at": created_at,
                    "blocks": [],
                }
            continue
        block = {
            "id": row_id,
            "block_type": block_type,
            "content": content,
            "created_at": created_at,
        }
        if text is not None:
            block["content"] = {"text": text}
            block["source_file_id"] = source_file_id
        elif tool_call_id is not None:
            block["content"] = {
                "tool_call_id": tool_call_id,
                "tool_name": tool_name,
                "tool_input": tool_input,
                "tool_output": tool_output,
                "is_error": is_error,
            }
        elif content is not None:
            block["filename"] = filename
            block["size_bytes"] = size_bytes
            if block_type == "file":
                content.setdefault("filename", filename)
                content.setdefault("mimeType", mimetype or "application/octet-stream")
        else:
            block["content"] = {
                "model": model,
                "version": version,
                "input_tokens": input_tokens,
                "output_tokens": output_tokens,
                "cache_creation_input_tokens": cache_creation_input_tokens,
                "cache_read_input_tokens": cache_read_input_tokens,
                "peak_single_call_input_tokens": peak_single_call_input_tokens,
                "estimated_cost_usd": estimated_cost_usd,
            }
        messages[message_id]["blocks"].append(block)
    return list(messages.values())
