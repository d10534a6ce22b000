"""The other road: the base class's default domain methods on this package's primitives."""

from slack_agents.storage.base import BaseStorageProvider

from slack_agents_sqlalchemy import Provider


class PrimitivesOnly(Provider):
    """The provider that this package would be if it overrode no domain method.

    Same engine, pool and primitives; conversations, messages and blocks are JSON in lists.
    """

    supports_export = BaseStorageProvider.supports_export
    get_or_create_conversation = BaseStorageProvider.get_or_create_conversation
    has_conversation = BaseStorageProvider.has_conversation
    create_message = BaseStorageProvider.create_message
    get_message_blocks = BaseStorageProvider.get_message_blocks
    append_text_block = BaseStorageProvider.append_text_block
    append_file_block = BaseStorageProvider.append_file_block
    append_tool_block = BaseStorageProvider.append_tool_block
    append_usage_block = BaseStorageProvider.append_usage_block
    get_tool_call = BaseStorageProvider.get_tool_call
    upsert_heartbeat = BaseStorageProvider.upsert_heartbeat
    get_heartbeat = BaseStorageProvider.get_heartbeat
    get_conversations_for_export = BaseStorageProvider.get_conversations_for_export
    get_messages_with_blocks = BaseStorageProvider.get_messages_with_blocks
