"""Rows to the dicts that the host expects; no I/O."""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple, Self

from slack_agents.storage.base import OAuthClientRow, OAuthTokenRow

from slack_agents_sqlalchemy.queries.blocks import EVERYTHING, USAGE
from slack_agents_sqlalchemy.types.exact import json_equal, show_json

type Row = Sequence[Any]

type Rows = Sequence[Row]


def oauth_token(row: Row) -> OAuthTokenRow:
    """Shape a user's tokens."""
    access_token, refresh_token_enc, token_type, scopes, expires_at, created_at, updated_at = row
    return OAuthTokenRow(
        access_token=access_token,
        refresh_token_enc=refresh_token_enc,
        token_type=token_type,
        scopes=scopes,
        expires_at=expires_at,
        created_at=created_at,
        updated_at=updated_at,
    )


def oauth_client(row: Row) -> OAuthClientRow:
    """Shape a registered client."""
    client_id, client_secret, metadata_json, authorization_server, created_at, updated_at = row
    return OAuthClientRow(
        client_id=client_id,
        client_secret=client_secret,
        metadata_json=metadata_json,
        authorization_server=authorization_server,
        created_at=created_at,
        updated_at=updated_at,
    )


def list_items(rows: Rows) -> list[dict[str, Any]]:
    """Shape rows of (id, value) as items that carry their id."""
    return [{**value, "id": str(item_id)} for item_id, value in rows]


def matches(rows: Rows, filters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Shape rows of (is_value, id, value): items first, then values, each oldest first.

    Only those are kept whose fields equal the filters as JSON; None matches null and absent.
    """
    ordered = sorted(rows, key=itemgetter(0, 1))
    shaped = [
        value if is_value else {**value, "id": str(item_id)} for is_value, item_id, value in ordered
    ]
    return [
        value
        for value in shaped
        if all(json_equal(value.get(name), wanted) for name, wanted in filters.items())
    ]


def tool_call(row: Row) -> dict[str, Any]:
    """Shape a row of (name, input, output, is_error, id): input readable, output as it came."""
    tool_name, tool_input, tool_output, is_error, _ = row
    return {
        "tool_name": tool_name,
        "input_json": show_json(tool_input),
        "output_json": tool_output,
        "is_error": bool(is_error),
    }


def exported_conversations(rows: Rows) -> list[dict[str, Any]]:
    """Shape conversations as the export lists them."""
    return [
        {
            "id": conversation_id,
            "agent_name": agent_name,
            "channel_id": channel_id,
            "channel_name": channel_name,
            "thread_id": thread_id,
        }
        for conversation_id, agent_name, channel_id, channel_name, thread_id in rows
    ]


# Where a history's row holds what; a message's own row has the user in place of a block's text,
# tool_call_id and tool_name.
_AT = {name: position for position, name in enumerate(EVERYTHING)}
_MESSAGE_ID, _ID = _AT["message_id"], _AT["id"]
_BLOCK_TYPE, _TEXT, _CONTENT = _AT["block_type"], _AT["text"], _AT["content"]
_TOOL_CALL = slice(_AT["tool_call_id"], _AT["is_error"] + 1)
_USER = slice(_AT["text"], _AT["tool_name"] + 1)
_CREATED_AT, _SOURCE_FILE_ID = _AT["created_at"], _AT["source_file_id"]
_FILENAME, _MIMETYPE, _SIZE_BYTES = _AT["filename"], _AT["mimetype"], _AT["size_bytes"]
_USAGE = slice(_AT[USAGE[0]], _AT[USAGE[-1]] + 1)


class History(NamedTuple):
    """A conversation's rows, sorted by id: those of blocks and those of messages."""

    blocks: list[Row]
    messages: list[Row]

    @classmethod
    def of(cls, rows: Rows) -> Self:
        """Sort the rows of a history; the conversation's own row is left out."""
        blocks = [row for row in rows if row[_ID] is not None]
        messages = [row for row in rows if row[_ID] is None and row[_MESSAGE_ID] is not None]
        return cls(
            sorted(blocks, key=itemgetter(_ID)), sorted(messages, key=itemgetter(_MESSAGE_ID))
        )

    @property
    def newest_id(self) -> int:
        """The largest id of a message or block; 0 where there is none."""
        newest_block: int = self.blocks[-1][_ID] if self.blocks else 0
        newest_message: int = self.messages[-1][_MESSAGE_ID] if self.messages else 0
        return max(newest_block, newest_message)


def message_blocks(history: History) -> list[tuple[int | str, list[dict[str, Any]]]]:
    """Shape a conversation as the model will see it: (message id, blocks) by id."""
    messages: dict[int, list[dict[str, Any]]] = {row[_MESSAGE_ID]: [] for row in history.messages}
    for row in history.blocks:
        block = {"block_type": row[_BLOCK_TYPE], "content": _content(row)}
        messages[row[_MESSAGE_ID]].append(block)
    return list(messages.items())


def messages_with_blocks(history: History) -> list[dict[str, Any]]:
    """Shape a conversation as an export wants it: everything, messages and blocks by id."""
    messages: dict[int, dict[str, Any]] = {}
    for row in history.messages:
        user_id, user_name, user_handle = row[_USER]
        messages[row[_MESSAGE_ID]] = {
            "id": row[_MESSAGE_ID],
            "user_id": user_id,
            "user_name": user_name,
            "user_handle": user_handle,
            "created_at": row[_CREATED_AT],
            "blocks": [],
        }
    for row in history.blocks:
        messages[row[_MESSAGE_ID]]["blocks"].append(_block(row))
    return list(messages.values())


def _content(row: Row) -> dict[str, Any]:
    match row[_BLOCK_TYPE]:
        case "text" | "user_text":
            return {"text": row[_TEXT]}
        case "tool_use":
            tool_call_id, tool_name, tool_input, tool_output, is_error = row[_TOOL_CALL]
            return {
                "tool_call_id": tool_call_id,
                "tool_name": tool_name,
                "tool_input": tool_input,
                "tool_output": tool_output,
                "is_error": bool(is_error),
            }
        case "usage":
            return dict(zip(USAGE, row[_USAGE], strict=True))
        case _:
            content: dict[str, Any] = row[_CONTENT]
            return content


def _block(row: Row) -> dict[str, Any]:
    content = _content(row)
    block = {
        "id": row[_ID],
        "block_type": row[_BLOCK_TYPE],
        "content": content,
        "created_at": row[_CREATED_AT],
    }
    match row[_BLOCK_TYPE]:
        case "text" | "user_text":
            block["source_file_id"] = row[_SOURCE_FILE_ID]
        case "file":
            block["filename"] = filename = row[_FILENAME]
            block["size_bytes"] = row[_SIZE_BYTES]
            content.setdefault("filename", filename)
            content.setdefault("mimeType", row[_MIMETYPE] or "application/octet-stream")
        case "user_file":
            block["filename"] = row[_FILENAME]
            block["size_bytes"] = row[_SIZE_BYTES]
    return block
