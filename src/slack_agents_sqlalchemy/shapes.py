"""Rows to the dicts that the host expects; no I/O."""

import json
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

from slack_agents.storage.base import OAuthClientRow, OAuthTokenRow

from slack_agents_sqlalchemy.exact import json_equal
from slack_agents_sqlalchemy.fast_path import Row

type Rows = Sequence[Row]

_USAGE = (
    "model",
    "version",
    "input_tokens",
    "output_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "peak_single_call_input_tokens",
    "estimated_cost_usd",
)


def dicts(rows: Rows) -> list[dict[str, Any]]:
    """Shape rows as dicts by the names of their columns."""
    return [row._asdict() for row in rows]


def oauth_token(row: Row) -> OAuthTokenRow:
    """Shape a user's tokens."""
    return OAuthTokenRow(**row._asdict())


def oauth_client(row: Row) -> OAuthClientRow:
    """Shape a registered client."""
    return OAuthClientRow(**row._asdict())


def list_items(rows: Rows) -> list[dict[str, Any]]:
    """Shape rows of (id, value) as items that carry their id."""
    return [{**row.value, "id": str(row.id)} for row in rows]


def matches(rows: Rows, filters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Shape rows of (is_value, id, value): items first, then values, each oldest first.

    Only those are kept whose fields equal the filters as JSON; None matches null and absent.
    """
    ordered = sorted(rows, key=lambda row: (row.is_value, row.id))
    shaped = [row.value if row.is_value else {**row.value, "id": str(row.id)} for row in ordered]
    return [
        value
        for value in shaped
        if all(json_equal(value.get(name), wanted) for name, wanted in filters.items())
    ]


def tool_call(row: Row) -> dict[str, Any]:
    """Shape a tool call as the host shows it: input readable, output as it came."""
    return {
        "tool_name": row.tool_name,
        "input_json": json.dumps(row.tool_input, indent=2, ensure_ascii=False),
        "output_json": row.tool_output,
        "is_error": bool(row.is_error),
    }


def message_blocks(rows: Rows) -> list[tuple[int | str, list[dict[str, Any]]]]:
    """Shape a conversation as the model will see it: (message id, blocks) by id."""
    messages: dict[int, list[dict[str, Any]]] = {row.message_id: [] for row in _messages(rows)}
    for row in _blocks(rows):
        messages[row.message_id].append({"block_type": row.block_type, "content": _content(row)})
    return list(messages.items())


def messages_with_blocks(rows: Rows) -> list[dict[str, Any]]:
    """Shape a conversation as an export wants it: everything, messages and blocks by id."""
    messages: dict[int, dict[str, Any]] = {
        row.message_id: {
            "id": row.message_id,
            "user_id": row.user_id,
            "user_name": row.user_name,
            "user_handle": row.user_handle,
            "created_at": row.message_created_at,
            "blocks": [],
        }
        for row in _messages(rows)
    }
    for row in _blocks(rows):
        messages[row.message_id]["blocks"].append(_block(row))
    return list(messages.values())


def _messages(rows: Rows) -> list[Row]:
    of_messages = (row for row in rows if row.id is None and row.message_id is not None)
    return sorted(of_messages, key=attrgetter("message_id"))


def _blocks(rows: Rows) -> list[Row]:
    return sorted((row for row in rows if row.id is not None), key=attrgetter("id"))


def _block(row: Row) -> dict[str, Any]:
    content = _content(row)
    block = {
        "id": row.id,
        "block_type": row.block_type,
        "content": content,
        "created_at": row.created_at,
    }
    match row.block_type:
        case "text" | "user_text":
            block["source_file_id"] = row.source_file_id
        case "file":
            content.setdefault("filename", row.filename)
            content.setdefault("mimeType", row.mimetype or "application/octet-stream")
            block |= {"filename": row.filename, "size_bytes": row.size_bytes}
        case "user_file":
            block |= {"filename": row.filename, "size_bytes": row.size_bytes}
    return block


def _content(row: Row) -> dict[str, Any]:
    match row.block_type:
        case "text" | "user_text":
            return {"text": row.text}
        case "tool_use":
            return {
                "tool_call_id": row.tool_call_id,
                "tool_name": row.tool_name,
                "tool_input": row.tool_input,
                "tool_output": row.tool_output,
                "is_error": bool(row.is_error),
            }
        case "usage":
            return {name: getattr(row, name) for name in _USAGE}
        case _:
            content: dict[str, Any] = row.content
            return content
