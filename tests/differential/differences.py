"""Where the framework's own providers answer differently from the contract: the one list of it.

A reference is the framework's code with each decided difference made good in an override, whose
comment says what the framework does. What cannot be made good on the reference's side is evened out
on both sides by :func:`comparable`. Everything that is not here must be equal.

Left to the programs' strategies, because the framework's PostgreSQL provider cannot hold it at all:
NUL and lone surrogates, numbers that JSONB writes in another way (``1e23``, ``-0.0``), token counts
beyond 32 bits. Left to the contract suite, because both references lack it: errors for ids that do
not exist, and a ``query`` that finds list items and values in one namespace.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from slack_agents.storage import postgres

from benchmarks.implementations import PrimitivesOnly
from tests.differential.views import View

TOOL_FILE = "file"
UPLOAD = "user_file"


def comparable(view: View) -> list[str]:
    """Return the view as lines of JSON, without what no reference keeps."""
    # JSONB has its own order of keys, and the framework writes letters as \u escapes: what
    # `input_json` says is compared here, how it is laid out in the contract suite.
    for call in filter(None, view["tool calls"]):
        call["input_json"] = json.loads(call["input_json"])
    # The built-in PostgreSQL provider keeps heartbeats as timestamps, to the microsecond.
    for heartbeat in filter(None, view["heartbeats"]):
        heartbeat["last_ping_pong_time"] = round(heartbeat["last_ping_pong_time"], 6)
    return json.dumps(view, indent=1, sort_keys=True).splitlines()


class BuiltInPostgreSQL(postgres.Provider):
    """The framework's PostgreSQL provider, with the decided differences made good."""

    async def get_tool_call(self, tool_call_id: str) -> dict[str, Any] | None:
        """Return the newest call with this id."""
        # The framework returns whichever of them the server finds first.
        newest = await self.pool.fetchrow(
            "SELECT tool_name, tool_input, tool_output, is_error FROM tool_blocks"
            " WHERE tool_call_id = $1 ORDER BY id DESC LIMIT 1",
            tool_call_id,
        )
        if newest is None:
            return None
        return {
            "tool_name": newest["tool_name"],
            "input_json": newest["tool_input"],
            "output_json": newest["tool_output"],
            "is_error": newest["is_error"],
        }


class Defaults(PrimitivesOnly):
    """The base class's default domain methods, with the decided differences made good."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._channel_names: dict[int | str, str] = {}

    async def get_or_create_conversation(  # type: ignore[override] # ids are text there
        self, agent_name: str, channel_id: str, thread_id: str, channel_name: str | None = None
    ) -> int | str:
        """Return the conversation's id and keep a changed channel name."""
        # The default keeps the name that it got first.
        conversation = await super().get_or_create_conversation(
            agent_name, channel_id, thread_id, channel_name
        )
        if channel_name:
            self._channel_names[conversation] = channel_name
        return conversation

    async def get_message_blocks(
        self, conversation_id: int | str
    ) -> list[tuple[int | str, list[dict[str, Any]]]]:
        """Return what the model sees again."""
        # The default returns everything, usage and raw uploads too, and every field of it.
        return [
            (
                message,
                [
                    {"block_type": block["block_type"], "content": block["content"]}
                    for block in blocks
                    if block["block_type"] != "usage"
                    and (block["block_type"] != UPLOAD or block["content"].get("type") == "image")
                ],
            )
            for message, blocks in await super().get_message_blocks(conversation_id)
        ]

    async def get_messages_with_blocks(self, conversation_id: int | str) -> list[dict[str, Any]]:
        """Return everything in the fields of the contract."""
        messages = await super().get_messages_with_blocks(conversation_id)
        for message in messages:
            for block in message["blocks"]:
                mimetype = block.pop("mimetype", None)
                # The default also shows which tool call a file comes from.
                block.pop("tool_block_id", None)
                if block["block_type"] == TOOL_FILE:
                    # The default leaves a tool's file without its name and MIME type.
                    block["content"].setdefault("filename", block["filename"])
                    block["content"].setdefault("mimeType", mimetype)
        return messages

    async def get_tool_call(self, tool_call_id: str) -> dict[str, Any] | None:
        """Return the newest call with this id."""
        # The default returns the oldest.
        calls = [
            block["content"]
            for block in await self.query("blocks", {"block_type": "tool_use"})
            if block["content"]["tool_call_id"] == tool_call_id
        ]
        if not calls:
            return None
        return {
            "tool_name": calls[-1]["tool_name"],
            "input_json": json.dumps(calls[-1]["tool_input"]),
            "output_json": calls[-1]["tool_output"],
            "is_error": calls[-1]["is_error"],
        }

    async def get_conversations_for_export(
        self,
        agent_name: str,
        *,
        handle: str | None = None,
        date_from: str | datetime | None = None,
        date_to: str | datetime | None = None,
    ) -> list[dict[str, Any]]:
        """Return the conversations in which one message meets all filters."""
        # The default lets a different message meet each filter.
        conversations = []
        for conversation in await super().get_conversations_for_export(
            agent_name, handle=handle, date_from=date_from, date_to=date_to
        ):
            messages = await self.get_list("messages", str(conversation["id"]))
            if (handle and date_from) and not any(
                message["user_handle"] == handle and message["created_at"] >= str(date_from)
                for message in messages
            ):
                continue
            name = self._channel_names.get(conversation["id"], conversation["channel_name"])
            conversations.append({**conversation, "channel_name": name})
        return conversations
