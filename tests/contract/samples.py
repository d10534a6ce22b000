"""What agents store: plausible arguments for the calls, and every call with some."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from slack_agents.storage.base import BaseStorageProvider, OAuthClientRow, OAuthTokenRow

type Id = int | str

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n not really").decode()
PDF = base64.b64encode(b"%PDF-1.7 not really").decode()

IMAGE_CONTENT: dict[str, Any] = {
    "type": "image",
    "source": {"type": "base64", "media_type": "image/png", "data": PNG},
}
IMAGE: dict[str, Any] = {
    "filename": "chart.png",
    "mimetype": "image/png",
    "size_bytes": 24,
}

PDF_CONTENT: dict[str, Any] = {
    "data": PDF,
    "filename": "report.pdf",
    "mimeType": "application/pdf",
}
UPLOAD: dict[str, Any] = {
    "filename": "report.pdf",
    "mimetype": "application/pdf",
    "size_bytes": 20,
}

TOOL_CALL: dict[str, Any] = {
    "tool_call_id": "toolu_01",
    "tool_name": "search",
    "tool_input": {"query": "weather in Zürich", "limit": 3},
    "tool_output": '{"results": ["sunny"]}',
    "is_error": False,
}

USAGE: dict[str, Any] = {
    "model": "claude-sonnet-4",
    "version": "1.2.0",
    "input_tokens": 1200,
    "output_tokens": 340,
    "cache_creation_input_tokens": 56,
    "cache_read_input_tokens": 7800,
    "peak_single_call_input_tokens": 900,
    "estimated_cost_usd": 0.0123,
}


def oauth_token(**changes: Any) -> OAuthTokenRow:
    """Return a token row; `changes` replace its fields."""
    fields: dict[str, Any] = {
        "access_token": "access-1",
        "refresh_token_enc": "refresh-1",
        "token_type": "Bearer",
        "scopes": "read write",
        "expires_at": 1_800_000_000,
        "created_at": 1_700_000_000,
        "updated_at": 1_700_000_001,
    }
    return OAuthTokenRow(**fields | changes)


def oauth_client(**changes: Any) -> OAuthClientRow:
    """Return a client row; `changes` replace its fields."""
    fields: dict[str, Any] = {
        "client_id": "client-1",
        "client_secret": "secret-1",
        "metadata_json": '{"redirect_uris": ["https://agent.example/callback"]}',
        "authorization_server": "https://login.example",
        "created_at": 1_700_000_000,
        "updated_at": 1_700_000_001,
    }
    return OAuthClientRow(**fields | changes)


#: Every call of the base class but `initialize` and `close`, by name.
CALLS: dict[str, Callable[[BaseStorageProvider, Id, Id], Awaitable[Any]]] = {
    "get": lambda storage, _c, _m: storage.get("plugin", "key"),
    "set": lambda storage, _c, _m: storage.set("plugin", "key", {"a": 1}),
    "delete": lambda storage, _c, _m: storage.delete("plugin", "key"),
    "append": lambda storage, _c, _m: storage.append("plugin", "key", {"a": 1}),
    "get_list": lambda storage, _c, _m: storage.get_list("plugin", "key"),
    "query": lambda storage, _c, _m: storage.query("plugin", {"a": 1}),
    "get_oauth_token": lambda storage, _c, _m: storage.get_oauth_token("U1", "server"),
    "put_oauth_token": lambda storage, _c, _m: storage.put_oauth_token(
        "U1", "server", oauth_token()
    ),
    "delete_oauth_token": lambda storage, _c, _m: storage.delete_oauth_token("U1", "server"),
    "get_oauth_client": lambda storage, _c, _m: storage.get_oauth_client("server", "https://a.b"),
    "put_oauth_client": lambda storage, _c, _m: storage.put_oauth_client(
        "server", "https://a.b", oauth_client()
    ),
    "delete_oauth_client": lambda storage, _c, _m: storage.delete_oauth_client(
        "server", "https://a.b"
    ),
    "get_or_create_conversation": lambda storage, _c, _m: storage.get_or_create_conversation(
        "agent", "C1", "1700000000.000100", "general"
    ),
    "has_conversation": lambda storage, _c, _m: storage.has_conversation("agent", "C1", "1.0"),
    "create_message": lambda storage, c, _m: storage.create_message(c, "U1", "Ada", "ada"),
    "get_message_blocks": lambda storage, c, _m: storage.get_message_blocks(c),
    "append_text_block": lambda storage, _c, m: storage.append_text_block(m, "Hello"),
    "append_file_block": lambda storage, _c, m: storage.append_file_block(
        m, PDF_CONTENT, is_user=True, **UPLOAD
    ),
    "append_tool_block": lambda storage, _c, m: storage.append_tool_block(m, **TOOL_CALL),
    "append_usage_block": lambda storage, _c, m: storage.append_usage_block(m, **USAGE),
    "get_tool_call": lambda storage, _c, _m: storage.get_tool_call("toolu_01"),
    "upsert_heartbeat": lambda storage, _c, _m: storage.upsert_heartbeat("agent", 1700000000.5),
    "get_heartbeat": lambda storage, _c, _m: storage.get_heartbeat("agent"),
    "get_conversations_for_export": lambda storage, _c, _m: storage.get_conversations_for_export(
        "agent", handle="ada", date_from=datetime(2020, 1, 1, tzinfo=UTC)
    ),
    "get_messages_with_blocks": lambda storage, c, _m: storage.get_messages_with_blocks(c),
}
