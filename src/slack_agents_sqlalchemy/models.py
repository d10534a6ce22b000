"""Declarative models of the tables, for queries of your own; the provider itself needs none.

As in ``select(Usage.model, func.sum(Usage.estimated_cost_usd)).group_by(Usage.model)``.
"""

from datetime import datetime
from typing import Any

from sqlalchemy.orm import DeclarativeBase, Mapped

from slack_agents_sqlalchemy import tables


class Base(DeclarativeBase):
    """Root of the models."""

    metadata = tables.metadata


class Conversation(Base):
    """A Slack thread that an agent takes part in; one row per (agent, channel, thread)."""

    __table__ = tables.conversations

    id: Mapped[int]
    thread_digest: Mapped[str]
    agent_digest: Mapped[str]
    created_at: Mapped[datetime]
    agent_name: Mapped[str]
    channel_id: Mapped[str]
    channel_name: Mapped[str | None]
    thread_id: Mapped[str]


class Message(Base):
    """One exchange in a conversation: what a user wrote and all that the agent did about it."""

    __table__ = tables.messages

    id: Mapped[int]
    conversation_id: Mapped[int]
    user_handle_digest: Mapped[str]
    created_at: Mapped[datetime]
    user_id: Mapped[str]
    user_name: Mapped[str]
    user_handle: Mapped[str]


class Block(Base):
    """A part of a message; all kinds are one table, so that a history is one range scan.

    The subclasses say which columns a kind uses. Large columns come last: a row that is not
    wanted is passed over without reading them.
    """

    __table__ = tables.blocks
    __mapper_args__ = {"polymorphic_on": "block_type", "polymorphic_abstract": True}

    id: Mapped[int]
    conversation_id: Mapped[int]
    message_id: Mapped[int]
    block_type: Mapped[str]
    in_history: Mapped[bool]
    created_at: Mapped[datetime]
    source_file_id: Mapped[int | None]
    tool_block_id: Mapped[int | None]
    size_bytes: Mapped[int | None]
    tool_call_digest: Mapped[str | None]
    is_error: Mapped[bool | None]
    input_tokens: Mapped[int | None]
    output_tokens: Mapped[int | None]
    cache_creation_input_tokens: Mapped[int | None]
    cache_read_input_tokens: Mapped[int | None]
    peak_single_call_input_tokens: Mapped[int | None]
    estimated_cost_usd: Mapped[float | None]
    filename: Mapped[str | None]
    mimetype: Mapped[str | None]
    tool_call_id: Mapped[str | None]
    tool_name: Mapped[str | None]
    model: Mapped[str | None]
    version: Mapped[str | None]
    text: Mapped[str | None]
    tool_input: Mapped[Any]
    tool_output: Mapped[str | None]
    content: Mapped[dict[str, Any] | None]


class TextBlock(Block):
    """What the agent wrote: ``text``."""

    __mapper_args__ = {"polymorphic_identity": "text"}


class UserTextBlock(Block):
    """What the user wrote, or what was read from the upload ``source_file_id``: ``text``."""

    __mapper_args__ = {"polymorphic_identity": "user_text"}


class FileBlock(Block):
    """A file made by the tool call ``tool_block_id``: ``content filename mimetype size_bytes``."""

    __mapper_args__ = {"polymorphic_identity": "file"}


class UserFileBlock(Block):
    """A file that the user sent: ``content filename mimetype size_bytes``."""

    __mapper_args__ = {"polymorphic_identity": "user_file"}


class ToolCall(Block):
    """A tool call: ``tool_call_id tool_name tool_input tool_output is_error``."""

    __mapper_args__ = {"polymorphic_identity": "tool_use"}


class Usage(Block):
    """What an exchange cost: ``model version``, the token counts and ``estimated_cost_usd``."""

    __mapper_args__ = {"polymorphic_identity": "usage"}


class KeyValue(Base):
    """A value of the key-value primitives; ``id`` tells which was set first."""

    __table__ = tables.key_values

    namespace_digest: Mapped[str]
    key_digest: Mapped[str]
    id: Mapped[int]
    namespace: Mapped[str]
    key: Mapped[str]
    value: Mapped[dict[str, Any]]


class ListItem(Base):
    """An item of the list primitives; ``id`` is its place in the list."""

    __table__ = tables.list_items

    id: Mapped[int]
    namespace_digest: Mapped[str]
    key_digest: Mapped[str]
    namespace: Mapped[str]
    key: Mapped[str]
    value: Mapped[dict[str, Any]]


class Heartbeat(Base):
    """When an agent last heard from Slack."""

    __table__ = tables.heartbeats

    agent_digest: Mapped[str]
    last_ping_pong_time: Mapped[float]
    agent_name: Mapped[str]


class OAuthToken(Base):
    """A user's OAuth tokens for one server; times are seconds since 1970."""

    __table__ = tables.oauth_tokens

    owner_digest: Mapped[str]
    expires_at: Mapped[int | None]
    created_at: Mapped[int]
    updated_at: Mapped[int]
    user_id: Mapped[str]
    server_id: Mapped[str]
    access_token: Mapped[str]
    refresh_token_enc: Mapped[str | None]
    token_type: Mapped[str]
    scopes: Mapped[str]


class OAuthClient(Base):
    """A client registered with an authorization server; times are seconds since 1970."""

    __table__ = tables.oauth_clients

    owner_digest: Mapped[str]
    created_at: Mapped[int]
    updated_at: Mapped[int]
    server_id: Mapped[str]
    redirect_uri: Mapped[str]
    client_id: Mapped[str]
    client_secret: Mapped[str | None]
    metadata_json: Mapped[str]
    authorization_server: Mapped[str]
