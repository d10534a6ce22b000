"""Conversations: one per agent, channel and thread, with the channel's newest name."""

from __future__ import annotations

import pytest
from slack_agents.storage.base import BaseStorageProvider

THREAD = ("agent", "C1", "1700000000.000100")


async def channel_names(storage: BaseStorageProvider) -> list[str | None]:
    """Return the channel names of the agent's conversations, as an export shows them."""
    conversations = await storage.get_conversations_for_export("agent")
    return [conversation["channel_name"] for conversation in conversations]


async def test_a_thread_has_one_conversation(storage: BaseStorageProvider) -> None:
    first = await storage.get_or_create_conversation(*THREAD, "general")
    second = await storage.get_or_create_conversation(*THREAD, "general")
    without_name = await storage.get_or_create_conversation(*THREAD)
    assert first == second == without_name
    assert type(first) is type(second) is type(without_name)
    assert len(await storage.get_conversations_for_export("agent")) == 1


async def test_agent_channel_and_thread_tell_conversations_apart(
    storage: BaseStorageProvider,
) -> None:
    threads = [
        ("agent", "C1", "1.0"),
        ("other", "C1", "1.0"),
        ("agent", "C2", "1.0"),
        ("agent", "C1", "2.0"),
        ("agent:C1", "1.0", ""),
        ("agent", "C1:1.0", ""),
        ("", "", ""),
    ]
    ids = [await storage.get_or_create_conversation(*thread) for thread in threads]
    assert len(set(ids)) == len(threads)
    assert [await storage.get_or_create_conversation(*thread) for thread in threads] == ids


async def test_has_conversation_tells_whether_there_is_one(
    storage: BaseStorageProvider,
) -> None:
    assert await storage.has_conversation(*THREAD) is False
    await storage.get_or_create_conversation(*THREAD)
    assert await storage.has_conversation(*THREAD) is True
    assert await storage.has_conversation("other", *THREAD[1:]) is False
    assert await storage.has_conversation(THREAD[0], "C2", THREAD[2]) is False
    assert await storage.has_conversation(*THREAD[:2], "2.0") is False


async def test_asking_whether_there_is_a_conversation_creates_none(
    storage: BaseStorageProvider,
) -> None:
    await storage.has_conversation(*THREAD)
    assert await storage.get_conversations_for_export("agent") == []


async def test_a_new_channel_name_replaces_the_stored_one(
    storage: BaseStorageProvider,
) -> None:
    await storage.get_or_create_conversation(*THREAD, "general")
    await storage.get_or_create_conversation(*THREAD, "random")
    assert await channel_names(storage) == ["random"]


async def test_a_name_differing_in_case_or_trailing_space_is_another_name(
    storage: BaseStorageProvider,
) -> None:
    for name in ("general", "General", "General ", "Général", "Ge\u0301ne\u0301ral"):
        await storage.get_or_create_conversation(*THREAD, name)
        assert await channel_names(storage) == [name]


@pytest.mark.parametrize("no_name", [None, "", THREAD[1]])
async def test_a_name_that_is_not_given_or_empty_or_the_channels_id_leaves_the_stored_one(
    storage: BaseStorageProvider, no_name: str | None
) -> None:
    await storage.get_or_create_conversation(*THREAD, "general")
    await storage.get_or_create_conversation(*THREAD, no_name)
    assert await channel_names(storage) == ["general"]


async def test_a_conversation_without_a_name_gets_one_when_it_is_known(
    storage: BaseStorageProvider,
) -> None:
    await storage.get_or_create_conversation(*THREAD)
    assert await channel_names(storage) == [None]
    await storage.get_or_create_conversation(*THREAD, "general")
    assert await channel_names(storage) == ["general"]


async def test_the_id_of_a_channel_is_its_name_until_the_name_is_known(
    storage: BaseStorageProvider,
) -> None:
    await storage.get_or_create_conversation(*THREAD, THREAD[1])
    await storage.get_or_create_conversation(*THREAD, THREAD[1])
    assert await channel_names(storage) == [THREAD[1]]
    await storage.get_or_create_conversation(*THREAD, "general")
    assert await channel_names(storage) == ["general"]


async def test_the_name_of_one_conversation_leaves_the_others_alone(
    storage: BaseStorageProvider,
) -> None:
    await storage.get_or_create_conversation("agent", "C1", "1.0", "general")
    await storage.get_or_create_conversation("agent", "C1", "2.0", "general")
    await storage.get_or_create_conversation("agent", "C1", "2.0", "random")
    assert await channel_names(storage) == ["general", "random"]
