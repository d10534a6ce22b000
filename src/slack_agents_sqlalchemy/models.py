"""Declarative models: the one definition of the schema.

The statements of the provider are built from these models, and the revisions of ``alembic/`` create
their tables. Queries of your own can use them too:
``select(Usage.model, func.sum(Usage.estimated_cost_usd)).group_by(Usage.model)``.

A text that is a key is found by its digest (see ``identifiers.digest``): the digest is indexed,
and the text is stored in another column. Large columns come last: a database that skips a row then
need not read them.
"""

import reprlib
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, get_args

from sqlalchemy import (
    BigInteger,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    event,
)
from sqlalchemy.engine import Connection
from sqlalchemy.orm import DeclarativeBase, Mapped, foreign, mapped_column, relationship, remote
from sqlalchemy.schema import SchemaItem

from slack_agents_sqlalchemy.dialects import adapter_for
from slack_agents_sqlalchemy.types import columns

TABLE_PREFIX = "slack_agents_"
VERSION_TABLE = f"{TABLE_PREFIX}alembic_version"

# What a column holds, and its type. Plain `int`, `str` and others keep SQLAlchemy's types, also in
# models of your own that are declared on `Base`.
Id = Annotated[int, columns.Id]
Integer = Annotated[int, BigInteger]
Float = Annotated[float, Double]
Digest = Annotated[str, columns.Digest]
Text = Annotated[str, columns.ExactText]
JSONValue = Annotated[Any, columns.ExactJSON]
JSONObject = Annotated[dict[str, Any], columns.ExactJSON]
Time = Annotated[datetime, columns.UTCDateTime]

# An AsyncSession cannot load on access. Drivers report that in their own ways, some with a warning
# at the end of the process. This is one clear error, and no file is read without a request.
_LAZY: Literal["raise_on_sql"] = "raise_on_sql"


class Base(DeclarativeBase):
    """Root of the models."""

    __table__: ClassVar[Table]

    metadata = MetaData(naming_convention={"pk": "pk_%(table_name)s"})
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        kind: get_args(kind)[1]
        for kind in (Id, Integer, Float, Digest, Text, JSONValue, JSONObject, Time)
    }

    _repr_columns: ClassVar[tuple[str, ...]] = ("id",)

    def __repr__(self) -> str:
        """Show the columns that identify the row: no secret, no long text, and no query."""
        loaded = vars(self)
        shown = (f"{name}={_repr(loaded[name])}" for name in self._repr_columns if name in loaded)
        return f"{type(self).__name__}({', '.join(shown)})"


metadata = Base.metadata


@event.listens_for(metadata, "before_create")
def _declare_for_dialect(metadata: MetaData, connection: Connection, **_: object) -> None:
    adapter_for(connection.dialect.name).set_table_options(metadata)


def _repr(value: object) -> str:
    return reprlib.repr(value) if isinstance(value, str) else repr(value)


class Conversation(Base):
    """A Slack thread that an agent takes part in; one row per (agent, channel, thread).

    Attributes:
        thread_digest: Digest of agent, channel and thread.
        agent_digest: Digest of the agent's name.
        channel_name: The newest name that is known; NULL where none was given. It is the channel's
            id where Slack does not give the name.
        thread_id: Slack's time stamp of the thread's first message.
        messages: The messages, oldest first.
    """

    __tablename__ = f"{TABLE_PREFIX}conversations"
    __table_args__ = (
        UniqueConstraint("thread_digest", name=f"uq_{TABLE_PREFIX}conversations"),
        Index(f"ix_{TABLE_PREFIX}conversations", "agent_digest", "id"),
    )
    _repr_columns = ("id", "agent_name", "channel_id", "channel_name", "thread_id")

    id: Mapped[Id] = mapped_column(primary_key=True, autoincrement=False)
    thread_digest: Mapped[Digest]
    agent_digest: Mapped[Digest]
    created_at: Mapped[Time]
    agent_name: Mapped[Text]
    channel_id: Mapped[Text]
    channel_name: Mapped[Text | None]
    thread_id: Mapped[Text]

    messages: Mapped[list["Message"]] = relationship(
        back_populates="conversation",
        order_by="Message.id",
        cascade="all, delete-orphan",
        passive_deletes=True,
        lazy=_LAZY,
    )


class Message(Base):
    """One exchange in a conversation: what a user wrote and all that the agent did about it.

    Attributes:
        user_handle_digest: Digest of the user's handle.
        user_id: Slack's id of the user.
        user_name: The user's name, as Slack shows it.
        user_handle: The user's handle; exports and reports select by it.
        conversation: The conversation of the message.
        blocks: The parts of the message, oldest first.
    """

    __tablename__ = f"{TABLE_PREFIX}messages"
    __table_args__ = (
        UniqueConstraint("conversation_id", "id", name=f"uq_{TABLE_PREFIX}messages"),
        Index(f"ix_{TABLE_PREFIX}messages_handle", "user_handle_digest", "conversation_id"),
        Index(f"ix_{TABLE_PREFIX}messages_time", "conversation_id", "created_at"),
    )
    _repr_columns = ("id", "conversation_id", "user_id", "user_handle", "created_at")

    id: Mapped[Id] = mapped_column(primary_key=True, autoincrement=False)
    conversation_id: Mapped[Id] = mapped_column(
        ForeignKey(Conversation.id, ondelete="CASCADE", name=f"fk_{TABLE_PREFIX}messages")
    )
    user_handle_digest: Mapped[Digest]
    created_at: Mapped[Time]
    user_id: Mapped[Text]
    user_name: Mapped[Text]
    user_handle: Mapped[Text]

    conversation: Mapped[Conversation] = relationship(back_populates="messages", lazy=_LAZY)
    blocks: Mapped[list["Block"]] = relationship(
        order_by="Block.id",
        cascade="all, delete-orphan",
        passive_deletes=True,
        lazy=_LAZY,
    )


_BLOCK = ("id", "conversation_id", "message_id", "created_at")  # what is shown of each block


class Block(Base):
    """A part of a message.

    Blocks of all kinds are one table, so that a history is one range scan. Each subclass selects
    one kind, and says which columns it has; the others are NULL.

    Attributes:
        block_type: The kind, which selects the subclass.
        in_history: Whether the model sees the block again.
        conversation: The conversation of the block.
        message: The message of the block.
    """

    __tablename__ = f"{TABLE_PREFIX}blocks"
    __table_args__ = (
        # One index serves the history of a conversation and this foreign key.
        ForeignKeyConstraint(
            ["conversation_id", "message_id"],
            [Message.conversation_id, Message.id],
            ondelete="CASCADE",
            name=f"fk_{TABLE_PREFIX}blocks",
        ),
        Index(f"ix_{TABLE_PREFIX}blocks_message", "conversation_id", "message_id"),
        Index(
            f"ix_{TABLE_PREFIX}blocks_tool",
            "tool_call_digest",
            "id",
            # Most blocks are no tool calls; a database without partial indexes keeps them too.
            info={"where": "tool_call_digest IS NOT NULL"},
        ),
    )
    __mapper_args__ = {"polymorphic_on": "block_type", "polymorphic_abstract": True}
    _repr_columns: ClassVar[tuple[str, ...]] = _BLOCK

    id: Mapped[Id] = mapped_column(primary_key=True, autoincrement=False)
    conversation_id: Mapped[Id]
    message_id: Mapped[Id]
    block_type: Mapped[str] = mapped_column(String(16))
    in_history: Mapped[bool]
    created_at: Mapped[Time]
    source_file_id: Mapped[Id | None]
    tool_block_id: Mapped[Id | None]
    size_bytes: Mapped[Integer | None]
    tool_call_digest: Mapped[Digest | None]
    is_error: Mapped[bool | None]
    input_tokens: Mapped[Integer | None]
    output_tokens: Mapped[Integer | None]
    cache_creation_input_tokens: Mapped[Integer | None]
    cache_read_input_tokens: Mapped[Integer | None]
    peak_single_call_input_tokens: Mapped[Integer | None]
    estimated_cost_usd: Mapped[Float | None]
    filename: Mapped[Text | None]
    mimetype: Mapped[Text | None]
    tool_call_id: Mapped[Text | None]
    tool_name: Mapped[Text | None]
    model: Mapped[Text | None]
    version: Mapped[Text | None]
    text: Mapped[Text | None]
    tool_input: Mapped[JSONValue | None]
    tool_output: Mapped[Text | None]
    content: Mapped[JSONObject | None]

    # By the primary key alone: a message that the session holds already is found without a query.
    message: Mapped[Message] = relationship(
        primaryjoin=lambda: foreign(Block.message_id) == Message.id,
        viewonly=True,
        lazy=_LAZY,
    )
    conversation: Mapped[Conversation] = relationship(
        primaryjoin=lambda: foreign(Block.conversation_id) == Conversation.id,
        viewonly=True,
        lazy=_LAZY,
    )


class TextBlock(Block):
    """A text of the agent.

    Attributes:
        text: The text.
    """

    __mapper_args__ = {"polymorphic_identity": "text"}


class UserTextBlock(Block):
    """A text of the user, or the text of one of the user's files.

    Attributes:
        text: The text.
        source_file_id: Id of the file's block; NULL for what the user wrote.
        source_file: The file's block, or None.
    """

    __mapper_args__ = {"polymorphic_identity": "user_text"}

    source_file: Mapped["UserFileBlock | None"] = relationship(
        primaryjoin=lambda: foreign(Block.source_file_id) == remote(UserFileBlock.id),
        viewonly=True,
        lazy=_LAZY,
    )


class FileBlock(Block):
    """A file made by a tool.

    Attributes:
        content: The content block of the file, as it was appended.
        filename: The file's name.
        mimetype: The file's MIME type.
        size_bytes: The file's size in bytes.
        tool_block_id: Id of the tool call's block; NULL where it was not given.
        tool_call: The tool call that made the file, or None.
    """

    __mapper_args__ = {"polymorphic_identity": "file"}
    _repr_columns = (*_BLOCK, "filename", "mimetype", "size_bytes")

    tool_call: Mapped["ToolCall | None"] = relationship(
        primaryjoin=lambda: foreign(Block.tool_block_id) == remote(ToolCall.id),
        viewonly=True,
        lazy=_LAZY,
    )


class UserFileBlock(Block):
    """A file that the user sent.

    Attributes:
        content: The content block of the file, as it was appended.
        filename: The file's name.
        mimetype: The file's MIME type.
        size_bytes: The file's size in bytes.
    """

    __mapper_args__ = {"polymorphic_identity": "user_file"}
    _repr_columns = (*_BLOCK, "filename", "mimetype", "size_bytes")


class ToolCall(Block):
    """A tool call and its result.

    Attributes:
        tool_call_id: The id that the model gave to the call.
        tool_call_digest: Digest of ``tool_call_id``.
        tool_name: The tool's name.
        tool_input: The JSON value that the model wrote; JSON's ``null`` is None, and not NULL.
        tool_output: The text that the tool returned.
        is_error: Whether the tool failed.
    """

    __mapper_args__ = {"polymorphic_identity": "tool_use"}
    _repr_columns = (*_BLOCK, "tool_call_id", "tool_name", "is_error")


class Usage(Block):
    """The tokens and the cost of an exchange.

    Attributes:
        model: The model's name.
        version: The agent's version.
        input_tokens: Tokens that the model read.
        output_tokens: Tokens that the model wrote.
        cache_creation_input_tokens: Input tokens that were written to the cache.
        cache_read_input_tokens: Input tokens that were read from the cache.
        peak_single_call_input_tokens: Input tokens of the largest call.
        estimated_cost_usd: US dollars; NULL where the framework knows no price for the model.
    """

    __mapper_args__ = {"polymorphic_identity": "usage"}
    _repr_columns = (*_BLOCK, "model", "estimated_cost_usd")


class KeyValue(Base):
    """A value of the key-value primitives.

    Attributes:
        namespace_digest: Digest of the namespace.
        key_digest: Digest of the key.
        id: Rises in the order in which the keys were first set.
        value: The value that was set last.
    """

    __tablename__ = f"{TABLE_PREFIX}key_values"
    # A process asks for the largest id when it starts.
    __table_args__ = (Index(f"ix_{TABLE_PREFIX}key_values", "id"),)
    _repr_columns = ("namespace", "key")

    namespace_digest: Mapped[Digest] = mapped_column(primary_key=True)
    key_digest: Mapped[Digest] = mapped_column(primary_key=True)
    id: Mapped[Id]
    namespace: Mapped[Text]
    key: Mapped[Text]
    value: Mapped[JSONObject]


class ListItem(Base):
    """An item of the list primitives.

    Attributes:
        id: Rises in the order of the list.
        namespace_digest: Digest of the namespace.
        key_digest: Digest of the key.
        value: The item.
    """

    __tablename__ = f"{TABLE_PREFIX}list_items"
    __table_args__ = (
        Index(f"ix_{TABLE_PREFIX}list_items", "namespace_digest", "key_digest", "id"),
    )
    _repr_columns = ("id", "namespace", "key")

    id: Mapped[Id] = mapped_column(primary_key=True, autoincrement=False)
    namespace_digest: Mapped[Digest]
    key_digest: Mapped[Digest]
    namespace: Mapped[Text]
    key: Mapped[Text]
    value: Mapped[JSONObject]


class Heartbeat(Base):
    """The time at which an agent last heard from Slack.

    Attributes:
        agent_digest: Digest of the agent's name.
        last_ping_pong_time: Seconds since 1970.
    """

    __tablename__ = f"{TABLE_PREFIX}heartbeats"
    _repr_columns = ("agent_name", "last_ping_pong_time")

    agent_digest: Mapped[Digest] = mapped_column(primary_key=True)
    last_ping_pong_time: Mapped[Float]
    agent_name: Mapped[Text]


class OAuthToken(Base):
    """A user's OAuth tokens for one server: **secrets**, in the form that the framework gave them.

    Attributes:
        owner_digest: Digest of user and server.
        expires_at: Seconds since 1970; NULL where the token does not expire.
        created_at: Seconds since 1970, of the first tokens of this user for this server.
        updated_at: Seconds since 1970.
        refresh_token_enc: NULL where the server gave none.
        scopes: The scopes, separated by spaces.
    """

    __tablename__ = f"{TABLE_PREFIX}oauth_tokens"
    _repr_columns = ("user_id", "server_id")

    owner_digest: Mapped[Digest] = mapped_column(primary_key=True)
    expires_at: Mapped[Integer | None]
    created_at: Mapped[Integer]
    updated_at: Mapped[Integer]
    user_id: Mapped[Text]
    server_id: Mapped[Text]
    access_token: Mapped[Text]
    refresh_token_enc: Mapped[Text | None]
    token_type: Mapped[Text]
    scopes: Mapped[Text]


class OAuthClient(Base):
    """A client registered with an authorization server; ``client_secret`` is a **secret**.

    Attributes:
        owner_digest: Digest of server and redirect URI.
        created_at: Seconds since 1970, of the first registration.
        updated_at: Seconds since 1970.
        client_secret: NULL for a public client.
        metadata_json: The server's answer to the registration.
    """

    __tablename__ = f"{TABLE_PREFIX}oauth_clients"
    _repr_columns = ("server_id", "redirect_uri")

    owner_digest: Mapped[Digest] = mapped_column(primary_key=True)
    created_at: Mapped[Integer]
    updated_at: Mapped[Integer]
    server_id: Mapped[Text]
    redirect_uri: Mapped[Text]
    client_id: Mapped[Text]
    client_secret: Mapped[Text | None]
    metadata_json: Mapped[Text]
    authorization_server: Mapped[Text]


_OUR_TABLES = {*metadata.tables, VERSION_TABLE}


def include_object(
    _object: SchemaItem,
    name: str | None,
    type_: str,
    _reflected: bool,
    _compare_to: SchemaItem | None,
) -> bool:
    """Return whether an object is for your own migrations: all but the tables of this package.

    Pass it to ``context.configure(include_object=…)`` in your project's ``alembic/env.py``. Then
    ``alembic revision --autogenerate`` neither drops nor creates these tables, which
    ``slack-agents-db upgrade`` maintains.
    """
    return type_ != "table" or name not in _OUR_TABLES
