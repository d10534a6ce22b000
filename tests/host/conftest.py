"""A database in which the demo's threads were replayed, and what was stored of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from slack_agents.conversations import ConversationManager

from slack_agents_sqlalchemy import Provider
from slack_agents_sqlalchemy.demo.replay import replay
from slack_agents_sqlalchemy.demo.script import Thread
from slack_agents_sqlalchemy.demo.threads import AGENT_NAME, THREADS
from tests.support.servers import Server

BARE_CHANNEL = "C0BARE00001"


@dataclass(frozen=True)
class StoredThread:
    """A thread of the demo, and what the provider returns of it."""

    thread: Thread
    id: int | str
    thread_id: str
    messages: list[dict[str, Any]]

    @property
    def said_at(self) -> list[datetime]:
        """The times of its messages."""
        return [message["created_at"] for message in self.messages]


@dataclass(frozen=True)
class Stored:
    """The database, the demo's threads in it, oldest first, and a bare conversation after them."""

    url: str
    started: datetime
    threads: list[StoredThread]
    bare_id: int | str
    finished: datetime


@pytest.fixture(scope="session")
def stored(
    backend: str, server: Server | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stored]:
    """A database in which the demo's threads were replayed once; to be read only."""
    url = (
        server.create_database()
        if server
        else f"sqlite:///{tmp_path_factory.mktemp('stored') / 'stored.db'}"
    )
    yield asyncio.run(_store(url))
    if server:
        server.drop_database(url)


async def _store(url: str) -> Stored:
    provider = Provider(url=url)
    await provider.initialize()
    try:
        started = datetime.now(UTC)
        await _tell_of_another_agent(provider)
        threads = [
            await _store_thread(provider, thread, f"1763820000.00000{number}")
            for number, thread in enumerate(THREADS)
        ]
        bare_id = await _tell_barely(provider)
        return Stored(url, started, threads, bare_id, datetime.now(UTC))
    finally:
        await provider.close()


async def _store_thread(provider: Provider, thread: Thread, thread_id: str) -> StoredThread:
    replayed = await replay(ConversationManager(provider), thread, thread_id)
    messages = await provider.get_messages_with_blocks(replayed.conversation_id)
    return StoredThread(thread, replayed.conversation_id, thread_id, messages)


async def _tell_of_another_agent(provider: Provider) -> None:
    conversation = await provider.get_or_create_conversation(
        "another-agent", THREADS[0].channel.id, "1.000000", "elsewhere"
    )
    message = await provider.create_message(conversation, "U1", "Somebody", "Amélie Durand")
    await provider.append_text_block(message, "not said to hello-storage", is_user=True)


async def _tell_barely(provider: Provider) -> int | str:
    """Store what the framework stores without a channel's name, a usage, a price."""
    conversation = await provider.get_or_create_conversation(AGENT_NAME, BARE_CHANNEL, "1.5")
    await provider.create_message(conversation, "U0BARE00001", "bare", "bare")
    message = await provider.create_message(conversation, "U0BARE00001", "bare", "bare")
    await provider.append_usage_block(
        message,
        model="a-model-without-a-price",
        version="2.0",
        input_tokens=7,
        output_tokens=5,
        cache_creation_input_tokens=3,
        cache_read_input_tokens=2,
        peak_single_call_input_tokens=12,
        estimated_cost_usd=None,
    )
    return conversation
