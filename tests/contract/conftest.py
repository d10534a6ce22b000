"""A conversation and a message to append to."""

from __future__ import annotations

import pytest
from slack_agents.storage.base import BaseStorageProvider


@pytest.fixture
async def conversation_id(storage: BaseStorageProvider) -> int | str:
    """The id of a conversation without messages."""
    return await storage.get_or_create_conversation("agent", "C1", "1700000000.000100", "general")


@pytest.fixture
async def message_id(storage: BaseStorageProvider, conversation_id: int | str) -> int | str:
    """The id of a message without blocks, the conversation's first."""
    return await storage.create_message(conversation_id, "U1", "Ada Lovelace", "ada")
