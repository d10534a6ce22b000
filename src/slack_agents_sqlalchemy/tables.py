"""The tables: every index that a call needs and none that no call needs.

Keys made of text are found by their digest (see :func:`identifiers.digest`): a digest column is
what is indexed and unique, the text beside it is what was handed in.

Large columns come last: a row that is not wanted is passed over without reading them. The
declarative models upon these tables are in :mod:`slack_agents_sqlalchemy.models`; here is nothing
of the ORM, whose import would double what the models' own takes, and a health check needs neither.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
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
from sqlalchemy.types import TypeEngine

from slack_agents_sqlalchemy.dialects import adapter_for
from slack_agents_sqlalchemy.types.columns import Digest, ExactJSON, ExactText, Id, UTCDateTime

TABLE_PREFIX = "slack_agents_"
VERSION_TABLE = f"{TABLE_PREFIX}alembic_version"

metadata = MetaData(naming_convention={"pk": "pk_%(table_name)s"})


@event.listens_for(metadata, "before_create")
def _declare_for_dialect(metadata: MetaData, connection: Connection, **_: object) -> None:
    adapter_for(connection.dialect.name).set_table_options(metadata)


type _Type = TypeEngine[Any] | type[TypeEngine[Any]]


def _key(name: str, column_type: _Type = Id) -> Column[Any]:
    return Column(name, column_type, primary_key=True, autoincrement=False)


def _required(name: str, column_type: _Type, *constraints: ForeignKey) -> Column[Any]:
    return Column(name, column_type, *constraints, nullable=False)


conversations = Table(
    f"{TABLE_PREFIX}conversations",
    metadata,
    _key("id"),
    _required("thread_digest", Digest),
    _required("agent_digest", Digest),
    _required("created_at", UTCDateTime),
    _required("agent_name", ExactText),
    _required("channel_id", ExactText),
    Column("channel_name", ExactText),
    _required("thread_id", ExactText),
    UniqueConstraint("thread_digest", name=f"uq_{TABLE_PREFIX}conversations"),
    Index(f"ix_{TABLE_PREFIX}conversations", "agent_digest", "id"),
)

messages = Table(
    f"{TABLE_PREFIX}messages",
    metadata,
    _key("id"),
    _required(
        "conversation_id",
        Id,
        ForeignKey(conversations.c.id, ondelete="CASCADE", name=f"fk_{TABLE_PREFIX}messages"),
    ),
    _required("user_handle_digest", Digest),
    _required("created_at", UTCDateTime),
    _required("user_id", ExactText),
    _required("user_name", ExactText),
    _required("user_handle", ExactText),
    UniqueConstraint("conversation_id", "id", name=f"uq_{TABLE_PREFIX}messages"),
    Index(f"ix_{TABLE_PREFIX}messages_handle", "user_handle_digest", "conversation_id"),
    Index(f"ix_{TABLE_PREFIX}messages_time", "conversation_id", "created_at"),
)

# All kinds of blocks are one table, so that a history is one range scan.
blocks = Table(
    f"{TABLE_PREFIX}blocks",
    metadata,
    _key("id"),
    _required("conversation_id", Id),
    _required("message_id", Id),
    _required("block_type", String(16)),
    _required("in_history", Boolean),  # does the model see it again?
    _required("created_at", UTCDateTime),
    Column("source_file_id", Id),
    Column("tool_block_id", Id),
    Column("size_bytes", BigInteger),
    Column("tool_call_digest", Digest),
    Column("is_error", Boolean),
    Column("input_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("cache_creation_input_tokens", BigInteger),
    Column("cache_read_input_tokens", BigInteger),
    Column("peak_single_call_input_tokens", BigInteger),
    Column("estimated_cost_usd", Double),
    Column("filename", ExactText),
    Column("mimetype", ExactText),
    Column("tool_call_id", ExactText),
    Column("tool_name", ExactText),
    Column("model", ExactText),
    Column("version", ExactText),
    Column("text", ExactText),
    Column("tool_input", ExactJSON),
    Column("tool_output", ExactText),
    Column("content", ExactJSON),
    # The same index serves the history of a conversation and this foreign key.
    ForeignKeyConstraint(
        ["conversation_id", "message_id"],
        [messages.c.conversation_id, messages.c.id],
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

# The key-value primitives; ``id`` tells which value was set first.
key_values = Table(
    f"{TABLE_PREFIX}key_values",
    metadata,
    _key("namespace_digest", Digest),
    _key("key_digest", Digest),
    _required("id", Id),
    _required("namespace", ExactText),
    _required("key", ExactText),
    _required("value", ExactJSON),
    Index(f"ix_{TABLE_PREFIX}key_values", "id"),  # a process asks for the largest when it starts
)

# The list primitives; ``id`` is an item's place in its list.
list_items = Table(
    f"{TABLE_PREFIX}list_items",
    metadata,
    _key("id"),
    _required("namespace_digest", Digest),
    _required("key_digest", Digest),
    _required("namespace", ExactText),
    _required("key", ExactText),
    _required("value", ExactJSON),
    Index(f"ix_{TABLE_PREFIX}list_items", "namespace_digest", "key_digest", "id"),
)

heartbeats = Table(
    f"{TABLE_PREFIX}heartbeats",
    metadata,
    _key("agent_digest", Digest),
    _required("last_ping_pong_time", Double),  # seconds since 1970
    _required("agent_name", ExactText),
)

# Times of OAuth tokens and clients are seconds since 1970.
oauth_tokens = Table(
    f"{TABLE_PREFIX}oauth_tokens",
    metadata,
    _key("owner_digest", Digest),
    Column("expires_at", BigInteger),
    _required("created_at", BigInteger),
    _required("updated_at", BigInteger),
    _required("user_id", ExactText),
    _required("server_id", ExactText),
    _required("access_token", ExactText),
    Column("refresh_token_enc", ExactText),
    _required("token_type", ExactText),
    _required("scopes", ExactText),
)

oauth_clients = Table(
    f"{TABLE_PREFIX}oauth_clients",
    metadata,
    _key("owner_digest", Digest),
    _required("created_at", BigInteger),
    _required("updated_at", BigInteger),
    _required("server_id", ExactText),
    _required("redirect_uri", ExactText),
    _required("client_id", ExactText),
    Column("client_secret", ExactText),
    _required("metadata_json", ExactText),
    _required("authorization_server", ExactText),
)
