"""The tables: declarative models, every index that a call needs and none that no call needs.

Keys made of text are found by their digest (see :func:`identifiers.digest`): a digest column is
what is indexed and unique, the text beside it is what was handed in.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    MetaData,
    String,
    UniqueConstraint,
    event,
)
from sqlalchemy.engine import Connection
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from slack_agents_sqlalchemy.column_types import Digest, ExactJSON, ExactText, Id, UTCDateTime
from slack_agents_sqlalchemy.dialects import backend

TABLE_PREFIX = "slack_agents_"
VERSION_TABLE = f"{TABLE_PREFIX}alembic_version"


class Base(DeclarativeBase):
    """Root of the models; every constraint is named."""

    metadata = MetaData(naming_convention={"pk": "pk_%(table_name)s"})


@event.listens_for(Base.metadata, "before_create")
def _declare_for_dialect(metadata: MetaData, connection: Connection, **_: object) -> None:
    backend(connection.dialect.name).declare(metadata)


class Conversation(Base):
    """A Slack thread that an agent takes part in; one row per (agent, channel, thread)."""

    __tablename__ = f"{TABLE_PREFIX}conversations"
    __table_args__ = (
        UniqueConstraint("thread_digest", name=f"uq_{__tablename__}"),
        Index(f"ix_{__tablename__}", "agent_digest", "id"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    thread_digest: Mapped[str] = mapped_column(Digest)
    agent_digest: Mapped[str] = mapped_column(Digest)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    agent_name: Mapped[str] = mapped_column(ExactText)
    channel_id: Mapped[str] = mapped_column(ExactText)
    channel_name: Mapped[str | None] = mapped_column(ExactText)
    thread_id: Mapped[str] = mapped_column(ExactText)


class Message(Base):
    """One exchange in a conversation: what a user wrote and all that the agent did about it."""

    __tablename__ = f"{TABLE_PREFIX}messages"
    __table_args__ = (UniqueConstraint("conversation_id", "id", name=f"uq_{__tablename__}"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    conversation_id: Mapped[int] = mapped_column(
        Id, ForeignKey(Conversation.id, ondelete="CASCADE", name=f"fk_{__tablename__}")
    )
    user_handle_digest: Mapped[str] = mapped_column(Digest)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    user_id: Mapped[str] = mapped_column(ExactText)
    user_name: Mapped[str] = mapped_column(ExactText)
    user_handle: Mapped[str] = mapped_column(ExactText)


class Block(Base):
    """A part of a message; all kinds are one table, so that a history is one range scan.

    The subclasses say which columns a kind uses. Large columns come last: a row that is not
    wanted is passed over without reading them.
    """

    __tablename__ = f"{TABLE_PREFIX}blocks"
    __table_args__ = (
        # The same index serves the history of a conversation and this foreign key.
        ForeignKeyConstraint(
            ["conversation_id", "message_id"],
            [Message.conversation_id, Message.id],
            ondelete="CASCADE",
            name=f"fk_{__tablename__}",
        ),
        Index(f"ix_{__tablename__}_message", "conversation_id", "message_id"),
        Index(
            f"ix_{__tablename__}_tool",
            "tool_call_digest",
            "id",
            # Most blocks are no tool calls; a database without partial indexes keeps them too.
            info={"where": "tool_call_digest IS NOT NULL"},
        ),
    )
    __mapper_args__ = {"polymorphic_on": "block_type", "polymorphic_abstract": True}

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    conversation_id: Mapped[int] = mapped_column(Id)
    message_id: Mapped[int] = mapped_column(Id)
    block_type: Mapped[str] = mapped_column(String(16))
    in_history: Mapped[bool] = mapped_column(Boolean)  # does the model see it again?
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)

    source_file_id: Mapped[int | None] = mapped_column(Id)
    tool_block_id: Mapped[int | None] = mapped_column(Id)
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    tool_call_digest: Mapped[str | None] = mapped_column(Digest)
    is_error: Mapped[bool | None] = mapped_column(Boolean)
    input_tokens: Mapped[int | None] = mapped_column(BigInteger)
    output_tokens: Mapped[int | None] = mapped_column(BigInteger)
    cache_creation_input_tokens: Mapped[int | None] = mapped_column(BigInteger)
    cache_read_input_tokens: Mapped[int | None] = mapped_column(BigInteger)
    peak_single_call_input_tokens: Mapped[int | None] = mapped_column(BigInteger)
    estimated_cost_usd: Mapped[float | None] = mapped_column(Double)

    filename: Mapped[str | None] = mapped_column(ExactText)
    mimetype: Mapped[str | None] = mapped_column(ExactText)
    tool_call_id: Mapped[str | None] = mapped_column(ExactText)
    tool_name: Mapped[str | None] = mapped_column(ExactText)
    model: Mapped[str | None] = mapped_column(ExactText)
    version: Mapped[str | None] = mapped_column(ExactText)
    text: Mapped[str | None] = mapped_column(ExactText)
    tool_input: Mapped[dict[str, Any] | None] = mapped_column(ExactJSON)
    tool_output: Mapped[str | None] = mapped_column(ExactText)
    content: Mapped[dict[str, Any] | None] = mapped_column(ExactJSON)


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

    __tablename__ = f"{TABLE_PREFIX}key_values"

    namespace_digest: Mapped[str] = mapped_column(Digest, primary_key=True)
    key_digest: Mapped[str] = mapped_column(Digest, primary_key=True)
    id: Mapped[int] = mapped_column(Id)
    namespace: Mapped[str] = mapped_column(ExactText)
    key: Mapped[str] = mapped_column(ExactText)
    value: Mapped[dict[str, Any]] = mapped_column(ExactJSON)


class ListItem(Base):
    """An item of the list primitives; ``id`` is its place in the list."""

    __tablename__ = f"{TABLE_PREFIX}list_items"
    __table_args__ = (Index(f"ix_{__tablename__}", "namespace_digest", "key_digest", "id"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    namespace_digest: Mapped[str] = mapped_column(Digest)
    key_digest: Mapped[str] = mapped_column(Digest)
    namespace: Mapped[str] = mapped_column(ExactText)
    key: Mapped[str] = mapped_column(ExactText)
    value: Mapped[dict[str, Any]] = mapped_column(ExactJSON)


class Heartbeat(Base):
    """When an agent last heard from Slack."""

    __tablename__ = f"{TABLE_PREFIX}heartbeats"

    agent_digest: Mapped[str] = mapped_column(Digest, primary_key=True)
    last_ping_pong_time: Mapped[float] = mapped_column(Double)  # seconds since 1970
    agent_name: Mapped[str] = mapped_column(ExactText)


class OAuthToken(Base):
    """A user's OAuth tokens for one server; times are seconds since 1970."""

    __tablename__ = f"{TABLE_PREFIX}oauth_tokens"

    owner_digest: Mapped[str] = mapped_column(Digest, primary_key=True)
    expires_at: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[int] = mapped_column(BigInteger)
    user_id: Mapped[str] = mapped_column(ExactText)
    server_id: Mapped[str] = mapped_column(ExactText)
    access_token: Mapped[str] = mapped_column(ExactText)
    refresh_token_enc: Mapped[str | None] = mapped_column(ExactText)
    token_type: Mapped[str] = mapped_column(ExactText)
    scopes: Mapped[str] = mapped_column(ExactText)


class OAuthClient(Base):
    """A client registered with an authorization server; times are seconds since 1970."""

    __tablename__ = f"{TABLE_PREFIX}oauth_clients"

    owner_digest: Mapped[str] = mapped_column(Digest, primary_key=True)
    created_at: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[int] = mapped_column(BigInteger)
    server_id: Mapped[str] = mapped_column(ExactText)
    redirect_uri: Mapped[str] = mapped_column(ExactText)
    client_id: Mapped[str] = mapped_column(ExactText)
    client_secret: Mapped[str | None] = mapped_column(ExactText)
    metadata_json: Mapped[str] = mapped_column(ExactText)
    authorization_server: Mapped[str] = mapped_column(ExactText)
