"""The first schema.

Revision ID: 0001
Revises: none
"""

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

MYSQL = ("mysql", "mariadb")
TABLE_OPTIONS = {
    f"{dialect}_{option}": value
    for dialect in MYSQL
    for option, value in (
        ("engine", "InnoDB"),
        ("charset", "utf8mb4"),
        ("collate", "utf8mb4_bin"),
        ("row_format", "DYNAMIC"),
    )
}

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
# Standard SQL, which every database understands; the variants are what the models say.
FLOAT = sa.DOUBLE_PRECISION().with_variant(sa.Double(), "postgresql", "sqlite", *MYSQL)
DIGEST = sa.String(40).with_variant(
    mysql.VARCHAR(40, charset="ascii", collation="ascii_bin"), *MYSQL
)


class LargestText(sa.types.TypeDecorator):
    """The largest type of those that hold any character."""

    impl = sa.UnicodeText
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine:  # noqa: D102
        # What has a LONGTEXT has it because its TEXT ends early.
        return getattr(dialect, "ischema_names", {}).get("longtext", sa.UnicodeText)()


TEXT = LargestText().with_variant(
    mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), *MYSQL
)
TIME = (
    sa.BigInteger()
    .with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")
    .with_variant(mysql.DATETIME(fsp=6), *MYSQL)
    .with_variant(sa.DateTime(), "sqlite")
)


def upgrade() -> None:
    # MySQL and MariaDB cannot roll DDL back: the next run continues an interrupted one.
    create_table(
        "slack_agents_conversations",
        sa.Column("id", ID, autoincrement=False),
        sa.Column("thread_digest", DIGEST, nullable=False),
        sa.Column("agent_digest", DIGEST, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("agent_name", TEXT, nullable=False),
        sa.Column("channel_id", TEXT, nullable=False),
        sa.Column("channel_name", TEXT, nullable=True),
        sa.Column("thread_id", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_slack_agents_conversations"),
        sa.UniqueConstraint("thread_digest", name="uq_slack_agents_conversations"),
    )
    create_index(
        "ix_slack_agents_conversations",
        "slack_agents_conversations",
        ["agent_digest", "id"],
    )
    create_table(
        "slack_agents_messages",
        sa.Column("id", ID, autoincrement=False),
        sa.Column("conversation_id", ID, nullable=False),
        sa.Column("user_handle_digest", DIGEST, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("user_id", TEXT, nullable=False),
        sa.Column("user_name", TEXT, nullable=False),
        sa.Column("user_handle", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_slack_agents_messages"),
        sa.UniqueConstraint("conversation_id", "id", name="uq_slack_agents_messages"),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["slack_agents_conversations.id"],
            name="fk_slack_agents_messages",
            ondelete="CASCADE",
        ),
    )
    create_index(
        "ix_slack_agents_messages_handle",
        "slack_agents_messages",
        ["user_handle_digest", "conversation_id"],
    )
    create_index(
        "ix_slack_agents_messages_time",
        "slack_agents_messages",
        ["conversation_id", "created_at"],
    )
    create_table(
        "slack_agents_blocks",
        sa.Column("id", ID, autoincrement=False),
        sa.Column("conversation_id", ID, nullable=False),
        sa.Column("message_id", ID, nullable=False),
        sa.Column("block_type", sa.String(16), nullable=False),
        sa.Column("in_history", sa.Boolean(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("source_file_id", ID, nullable=True),
        sa.Column("tool_block_id", ID, nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("tool_call_digest", DIGEST, nullable=True),
        sa.Column("is_error", sa.Boolean(), nullable=True),
        sa.Column("input_tokens", sa.BigInteger(), nullable=True),
        sa.Column("output_tokens", sa.BigInteger(), nullable=True),
        sa.Column("cache_creation_input_tokens", sa.BigInteger(), nullable=True),
        sa.Column("cache_read_input_tokens", sa.BigInteger(), nullable=True),
        sa.Column("peak_single_call_input_tokens", sa.BigInteger(), nullable=True),
        sa.Column("estimated_cost_usd", FLOAT, nullable=True),
        sa.Column("filename", TEXT, nullable=True),
        sa.Column("mimetype", TEXT, nullable=True),
        sa.Column("tool_call_id", TEXT, nullable=True),
        sa.Column("tool_name", TEXT, nullable=True),
        sa.Column("model", TEXT, nullable=True),
        sa.Column("version", TEXT, nullable=True),
        sa.Column("text", TEXT, nullable=True),
        sa.Column("tool_input", TEXT, nullable=True),
        sa.Column("tool_output", TEXT, nullable=True),
        sa.Column("content", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_slack_agents_blocks"),
        sa.ForeignKeyConstraint(
            ["conversation_id", "message_id"],
            ["slack_agents_messages.conversation_id", "slack_agents_messages.id"],
            name="fk_slack_agents_blocks",
            ondelete="CASCADE",
        ),
    )
    create_index(
        "ix_slack_agents_blocks_message",
        "slack_agents_blocks",
        ["conversation_id", "message_id"],
    )
    create_index(
        "ix_slack_agents_blocks_tool",
        "slack_agents_blocks",
        ["tool_call_digest", "id"],
        postgresql_where=sa.text("tool_call_digest IS NOT NULL"),
        sqlite_where=sa.text("tool_call_digest IS NOT NULL"),
    )
    create_table(
        "slack_agents_key_values",
        sa.Column("namespace_digest", DIGEST, nullable=False),
        sa.Column("key_digest", DIGEST, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("namespace", TEXT, nullable=False),
        sa.Column("key", TEXT, nullable=False),
        sa.Column("value", TEXT, nullable=False),
        sa.PrimaryKeyConstraint(
            "namespace_digest", "key_digest", name="pk_slack_agents_key_values"
        ),
    )
    create_index("ix_slack_agents_key_values", "slack_agents_key_values", ["id"])
    create_table(
        "slack_agents_list_items",
        sa.Column("id", ID, autoincrement=False),
        sa.Column("namespace_digest", DIGEST, nullable=False),
        sa.Column("key_digest", DIGEST, nullable=False),
        sa.Column("namespace", TEXT, nullable=False),
        sa.Column("key", TEXT, nullable=False),
        sa.Column("value", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_slack_agents_list_items"),
    )
    create_index(
        "ix_slack_agents_list_items",
        "slack_agents_list_items",
        ["namespace_digest", "key_digest", "id"],
    )
    create_table(
        "slack_agents_heartbeats",
        sa.Column("agent_digest", DIGEST, nullable=False),
        sa.Column("last_ping_pong_time", FLOAT, nullable=False),
        sa.Column("agent_name", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("agent_digest", name="pk_slack_agents_heartbeats"),
    )
    create_table(
        "slack_agents_oauth_tokens",
        sa.Column("owner_digest", DIGEST, nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("user_id", TEXT, nullable=False),
        sa.Column("server_id", TEXT, nullable=False),
        sa.Column("access_token", TEXT, nullable=False),
        sa.Column("refresh_token_enc", TEXT, nullable=True),
        sa.Column("token_type", TEXT, nullable=False),
        sa.Column("scopes", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("owner_digest", name="pk_slack_agents_oauth_tokens"),
    )
    create_table(
        "slack_agents_oauth_clients",
        sa.Column("owner_digest", DIGEST, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("server_id", TEXT, nullable=False),
        sa.Column("redirect_uri", TEXT, nullable=False),
        sa.Column("client_id", TEXT, nullable=False),
        sa.Column("client_secret", TEXT, nullable=True),
        sa.Column("metadata_json", TEXT, nullable=False),
        sa.Column("authorization_server", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("owner_digest", name="pk_slack_agents_oauth_clients"),
    )


def create_table(name: str, *elements: sa.schema.SchemaItem) -> None:
    if op.get_context().as_sql or not sa.inspect(op.get_bind()).has_table(name):
        op.create_table(name, *elements, **TABLE_OPTIONS)


def create_index(name: str, table: str, columns: list[str], **options: object) -> None:
    # MySQL has no CREATE INDEX IF NOT EXISTS, and other databases have none for tables either.
    if op.get_context().as_sql or name not in indexes(table):
        op.create_index(name, table, columns, **options)


def indexes(table: str) -> set[str | None]:
    return {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(table)}


def downgrade() -> None:
    for name in (
        "oauth_clients",
        "oauth_tokens",
        "heartbeats",
        "list_items",
        "key_values",
        "blocks",
        "messages",
        "conversations",
    ):
        op.drop_table(f"slack_agents_{name}")
