"""Every call of the contract that is one statement."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from slack_agents.storage.base import OAuthClientRow, OAuthTokenRow

from slack_agents_sqlalchemy import Provider

type Call = Callable[[], Awaitable[object]]


async def single_statement_calls(storage: Provider) -> dict[str, Call]:
    """Every call of the contract that is one statement, on rows that are there."""
    conversation = await storage.get_or_create_conversation("agent", "C1", "1.0", "general")
    message = await storage.create_message(conversation, "U1", "Ada", "ada")
    file_content = {"data": "QUJD" * 25_000, "filename": "a.pdf", "mimeType": "application/pdf"}
    now = datetime.now(UTC)
    token = OAuthTokenRow("access", None, "Bearer", "read", None, 1, 2)
    client = OAuthClientRow("client", None, "{}", "https://example.org", 1, 2)

    def append_text(**arguments: Any) -> Call:
        return lambda: storage.append_text_block(message, "text", **arguments)

    def append_file(**arguments: Any) -> Call:
        return lambda: storage.append_file_block(
            message,
            file_content,
            is_user=False,
            filename="a.pdf",
            mimetype="application/pdf",
            size_bytes=75_000,
            **arguments,
        )

    def append_tool() -> Awaitable[int]:
        return storage.append_tool_block(
            message,
            tool_call_id="toolu_1",
            tool_name="search",
            tool_input={},
            tool_output="found",
            is_error=False,
        )

    def append_usage() -> Awaitable[None]:
        return storage.append_usage_block(
            message,
            model="a-model",
            version="1",
            input_tokens=1,
            output_tokens=2,
            cache_creation_input_tokens=3,
            cache_read_input_tokens=4,
            peak_single_call_input_tokens=5,
            estimated_cost_usd=0.1,
        )

    def export(**filters: Any) -> Call:
        return lambda: storage.get_conversations_for_export("agent", **filters)

    tool_block, file_block = await append_tool(), await append_file()()
    return {
        "get": lambda: storage.get("namespace", "key"),
        "set": lambda: storage.set("namespace", "key", {"a": 1}),
        "delete": lambda: storage.delete("namespace", "key"),
        "append": lambda: storage.append("namespace", "key", {"a": 1}),
        "get_list": lambda: storage.get_list("namespace", "key"),
        "query": lambda: storage.query("namespace", {"a": 1}),
        "query, by text": lambda: storage.query("namespace", {"a": "b"}),
        "query, all": lambda: storage.query("namespace", {}),
        "put_oauth_token": lambda: storage.put_oauth_token("U1", "server", token),
        "get_oauth_token": lambda: storage.get_oauth_token("U1", "server"),
        "delete_oauth_token": lambda: storage.delete_oauth_token("U1", "server"),
        "put_oauth_client": lambda: storage.put_oauth_client("server", "uri", client),
        "get_oauth_client": lambda: storage.get_oauth_client("server", "uri"),
        "delete_oauth_client": lambda: storage.delete_oauth_client("server", "uri"),
        "get_or_create_conversation, existing": lambda: storage.get_or_create_conversation(
            "agent", "C1", "1.0", "general"
        ),
        "has_conversation": lambda: storage.has_conversation("agent", "C1", "1.0"),
        "create_message": lambda: storage.create_message(conversation, "U1", "Ada", "ada"),
        "append_text_block": append_text(is_user=True),
        "append_text_block, of a file": append_text(source_file_id=file_block),
        "append_file_block": append_file(),
        "append_file_block, of a tool": append_file(tool_block_id=tool_block),
        "append_tool_block": append_tool,
        "append_usage_block": append_usage,
        "get_message_blocks": lambda: storage.get_message_blocks(conversation),
        "get_messages_with_blocks": lambda: storage.get_messages_with_blocks(conversation),
        "get_tool_call": lambda: storage.get_tool_call("toolu_1"),
        "get_conversations_for_export": export(),
        "get_conversations_for_export, by handle": export(handle="ada"),
        "get_conversations_for_export, by dates": export(date_from=now, date_to=now),
        "upsert_heartbeat": lambda: storage.upsert_heartbeat("agent", 1.5),
        "get_heartbeat": lambda: storage.get_heartbeat("agent"),
    }
