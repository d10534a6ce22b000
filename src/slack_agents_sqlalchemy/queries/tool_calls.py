"""Queries of tool calls, by the id that the model gave them."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.sql import bindparam

from slack_agents_sqlalchemy.identifiers import digest
from slack_agents_sqlalchemy.models import Block
from slack_agents_sqlalchemy.types.exact import show_json

type Parameters = dict[str, Any]

# Of `Block`: `ToolCall` would add a condition that the index on the digest does not need.
GET_NEWEST = (
    select(Block.id, Block.tool_name, Block.tool_input, Block.tool_output, Block.is_error)
    .where(Block.tool_call_digest == bindparam("tool_call_digest"))
    .order_by(Block.id.desc())
    .limit(1)
)


def tool_call(tool_call_id: str) -> Parameters:
    """Return the parameters that select a tool call."""
    return {"tool_call_digest": digest(tool_call_id=tool_call_id)}


def to_tool_call(rows: Sequence[Sequence[Any]]) -> dict[str, Any] | None:
    """Return the tool call of a row of ``GET_NEWEST``, with readable input, or None."""
    if not rows:
        return None
    [(_, tool_name, tool_input, tool_output, is_error)] = rows
    return {
        "tool_name": tool_name,
        "input_json": show_json(tool_input),
        "output_json": tool_output,
        "is_error": is_error,
    }
