"""Declarative models of the tables, for queries of your own; the provider itself needs none.

As in ``select(Usage.model, func.sum(Usage.estimated_cost_usd)).group_by(Usage.model)``.
"""

import reprlib
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy.orm import DeclarativeBase, Mapped
from sqlalchemy.schema import SchemaItem

from slack_agents_sqlalchemy import tables

_OUR_TABLES = {*tables.metadata.tables, tables.VERSION_TABLE}
_BLOCK = ("id", "conversation_id", "message_id", "created_at")  # what is shown of each block


def include_object(
    _object: SchemaItem,
    name: str | None,
    type_: str,
    _reflected: bool,
    _compare_to: SchemaItem | None,
) -> bool:
    """Return whether an object is for your own migrations: all but the tables of this package.

    Pass it to ``context.configure(include_object=…)`` in your project's ``alembic/env.py``, so that
    ``alembic revision --autogenerate`` neither drops nor creates these tables, which
    ``slack-agents-db upgrade`` maintains.
    """
    return type_ != "table" or name not in _OUR_TABLES


class Base(DeclarativeBase):
    """Root of the models."""

    metadata = tables.metadata

    _shown: ClassVar[tuple[str, ...]] = ("id",)

    def __repr__(self) -> str:
        """Show the columns that tell which row it is: no secret, no long text, and no query."""
        loaded = vars(self)
        shown = (f"{name}={_repr(loaded[name])}" for name in self._shown if name in loaded)
        return f"{type(self).__name__}({', '.join(shown)})"


def _repr(value: object) -> str:
    return reprlib.repr(value) if isinstance(value, str) else repr(value)


class Conversation(Base):
    """A Slack thread that an agent takes part in; one row per (agent, channel, thread)."""

    __table__ = tables.conversations
    _shown = ("id", "agent_name", "channel_id", "channel_name", "thread_id")

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
    _shown = ("id", "conversation_id", "user_id", "user_handle", "created_at")

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
    _shown: ClassVar[tuple[str, ...]] = _BLOCK

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
    _shown = (*_BLOCK, "filename", "mimetype", "size_bytes")


class UserFileBlock(Block):
    """A file that the user sent: ``content filename mimetype size_bytes``."""

    __mapper_args__ = {"polymorphic_identity": "user_file"}
    _shown = (*_BLOCK, "filename", "mimetype", "size_bytes")


class ToolCall(Block):
    """A tool call: ``tool_call_id tool_name tool_input tool_output is_error``."""

    __mapper_args__ = {"polymorphic_identity": "tool_use"}
    _shown = (*_BLOCK, "tool_call_id", "tool_name", "is_error")


class Usage(Block):
    """What an exchange cost: ``model version``, the token counts and ``estimated_cost_usd``."""

    __mapper_args__ = {"polymorphic_identity": "usage"}
    _shown = (*_BLOCK, "model", "estimated_cost_usd")


class KeyValue(Base):
    """A value of the key-value primitives; ``id`` tells which was set first."""

    __table__ = tables.key_values
    _shown = ("namespace", "key")

    namespace_digest: Mapped[str]
    key_digest: Mapped[str]
    id: Mapped[int]
    namespace: Mapped[str]
    key: Mapped[str]
    value: Mapped[dict[str, Any]]


class ListItem(Base):
    """An item of the list primitives; ``id`` is its place in the list."""

    __table__ = tables.list_items
    _shown = ("id", "namespace", "key")

    id: Mapped[int]
    namespace_digest: Mapped[str]
    key_digest: Mapped[str]
    namespace: Mapped[str]
    key: Mapped[str]
    value: Mapped[dict[str, Any]]


class Heartbeat(Base):
    """When an agent last heard from Slack."""

    __table__ = tables.heartbeats
    _shown = ("agent_name", "last_ping_pong_time")

    agent_digest: Mapped[str]
    last_ping_pong_time: Mapped[float]
    agent_name: Mapped[str]


class OAuthToken(Base):
    """A user's OAuth tokens for one server; times are seconds since 1970."""

    __table__ = tables.oauth_tokens
    _shown = ("user_id", "server_id")

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
    _shown = ("server_id", "redirect_uri")

    owner_digest: Mapped[str]
    created_at: Mapped[int]
    updated_at: Mapped[int]
    server_id: Mapped[str]
    redirect_uri: Mapped[str]
    client_id: Mapped[str]
    client_secret: Mapped[str | None]
    metadata_json: Mapped[str]
    authorization_server: Mapped[str]
