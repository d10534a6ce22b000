"""Which conversations an export finds, by agent, handle and dates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from slack_agents.storage.base import BaseStorageProvider

from tests.contract.samples import Id

MICROSECOND = timedelta(microseconds=1)


async def created_at(storage: BaseStorageProvider, conversation_id: Id) -> list[datetime]:
    """Return when the messages of the conversation were created."""
    messages = await storage.get_messages_with_blocks(conversation_id)
    return [message["created_at"] for message in messages]


async def found(storage: BaseStorageProvider, **filters: Any) -> list[Id]:
    """Return the ids of the agent's conversations that meet the filters."""
    conversations = await storage.get_conversations_for_export("agent", **filters)
    return [conversation["id"] for conversation in conversations]


async def test_an_export_finds_the_agents_conversations_by_id(
    storage: BaseStorageProvider,
) -> None:
    second = await storage.get_or_create_conversation("agent", "C9", "9.0", "general")
    await storage.get_or_create_conversation("other", "C9", "9.0", "general")
    third = await storage.get_or_create_conversation("agent", "C1", "1.0")
    conversations = await storage.get_conversations_for_export("agent")
    expected: list[dict[str, Any]] = [
        {
            "id": second,
            "agent_name": "agent",
            "channel_id": "C9",
            "channel_name": "general",
            "thread_id": "9.0",
        },
        {
            "id": third,
            "agent_name": "agent",
            "channel_id": "C1",
            "channel_name": None,
            "thread_id": "1.0",
        },
    ]
    assert conversations == sorted(expected, key=lambda conversation: conversation["id"])
    assert [type(conversation["id"]) for conversation in conversations] == [type(second)] * 2


async def test_an_agent_without_conversations_has_nothing_to_export(
    storage: BaseStorageProvider, message_id: Id
) -> None:
    assert await storage.get_conversations_for_export("other") == []


async def test_a_conversation_without_messages_is_found_only_without_filters(
    storage: BaseStorageProvider, conversation_id: Id
) -> None:
    assert await found(storage) == [conversation_id]
    assert await found(storage, handle="ada") == []
    assert await found(storage, handle="") == []
    assert await found(storage, date_from="2000-01-01") == []
    assert await found(storage, date_to="2999-01-01") == []


async def test_the_handle_finds_conversations_where_that_user_wrote(
    storage: BaseStorageProvider, conversation_id: Id
) -> None:
    other = await storage.get_or_create_conversation("agent", "C1", "2.0")
    for target, handle in [(conversation_id, "ada"), (other, "bob"), (other, "ada")]:
        await storage.create_message(target, "U1", "Someone", handle)
    assert await found(storage, handle="ada") == sorted([conversation_id, other])
    assert await found(storage, handle="bob") == [other]
    assert await found(storage, handle="ad") == []
    assert await found(storage, handle="ADA") == []
    assert await found(storage, handle="ada ") == []
    assert await found(storage, handle="%") == []


async def test_an_empty_handle_is_a_handle(
    storage: BaseStorageProvider, conversation_id: Id
) -> None:
    await storage.create_message(conversation_id, "U1", "Ada", "ada")
    assert await found(storage, handle="") == []
    await storage.create_message(conversation_id, "U2", "Nobody", "")
    assert await found(storage, handle="") == [conversation_id]


async def test_a_conversation_with_several_fitting_messages_is_found_once(
    storage: BaseStorageProvider, conversation_id: Id
) -> None:
    for _ in range(3):
        await storage.create_message(conversation_id, "U1", "Ada", "ada")
    assert await found(storage, handle="ada") == [conversation_id]
    assert await found(storage, date_from="2000-01-01") == [conversation_id]


async def test_both_dates_include_their_very_microsecond(
    storage: BaseStorageProvider, conversation_id: Id, message_id: Id
) -> None:
    [at] = await created_at(storage, conversation_id)
    assert await found(storage, date_from=at) == [conversation_id]
    assert await found(storage, date_to=at) == [conversation_id]
    assert await found(storage, date_from=at, date_to=at) == [conversation_id]
    assert await found(storage, date_from=at + MICROSECOND) == []
    assert await found(storage, date_to=at - MICROSECOND) == []
    assert await found(storage, date_from=at - MICROSECOND, date_to=at + MICROSECOND) == [
        conversation_id
    ]


NOTATIONS = {
    "aware datetime": lambda at: at,
    "naive datetime in UTC": lambda at: at.replace(tzinfo=None),
    "datetime of another zone": lambda at: at.astimezone(timezone(timedelta(hours=-9.5))),
    "ISO text with offset": lambda at: at.isoformat(),
    "ISO text with Z": lambda at: at.replace(tzinfo=None).isoformat() + "Z",
    "ISO text without offset": lambda at: at.replace(tzinfo=None).isoformat(),
    "ISO text with a space": lambda at: at.isoformat(sep=" "),
    "ISO text of another zone": lambda at: at.astimezone(timezone(timedelta(hours=5))).isoformat(),
    "basic ISO text": lambda at: at.strftime("%Y%m%dT%H%M%S.%fZ"),
}


@pytest.mark.parametrize("notation", NOTATIONS.values(), ids=NOTATIONS.keys())
async def test_a_date_means_the_same_moment_in_every_notation(
    storage: BaseStorageProvider, conversation_id: Id, message_id: Id, notation: Any
) -> None:
    [at] = await created_at(storage, conversation_id)
    assert await found(storage, date_from=notation(at)) == [conversation_id]
    assert await found(storage, date_to=notation(at)) == [conversation_id]
    assert await found(storage, date_from=notation(at + MICROSECOND)) == []
    assert await found(storage, date_to=notation(at - MICROSECOND)) == []


async def test_a_day_is_its_midnight_in_utc(
    storage: BaseStorageProvider, conversation_id: Id, message_id: Id
) -> None:
    [at] = await created_at(storage, conversation_id)
    day = at.date()
    assert await found(storage, date_from=day.isoformat()) == [conversation_id]
    assert await found(storage, date_to=(day + timedelta(days=1)).isoformat()) == [conversation_id]
    assert await found(storage, date_from=(day + timedelta(days=1)).isoformat()) == []
    if at > datetime.combine(day, datetime.min.time(), UTC):
        assert await found(storage, date_to=day.isoformat()) == []


async def test_dates_at_the_ends_of_the_calendar_are_dates(
    storage: BaseStorageProvider, conversation_id: Id, message_id: Id
) -> None:
    assert await found(storage, date_from=datetime.min.replace(tzinfo=UTC)) == [conversation_id]
    assert await found(storage, date_to=datetime.max.replace(tzinfo=UTC)) == [conversation_id]
    assert await found(storage, date_from="0001-01-01", date_to="9999-12-31") == [conversation_id]
    assert await found(storage, date_from="0001-01-01T00:00:00+14:00") == [conversation_id]
    assert await found(storage, date_to="9999-12-31T23:59:59-12:00") == [conversation_id]
    assert await found(storage, date_to="0001-01-01T00:00:00+14:00") == []
    assert await found(storage, date_from="9999-12-31T23:59:59-12:00") == []


async def test_one_message_must_meet_every_filter(
    storage: BaseStorageProvider, conversation_id: Id
) -> None:
    await storage.create_message(conversation_id, "U1", "Ada", "ada")
    await storage.create_message(conversation_id, "U2", "Bob", "bob")
    by_ada, by_bob = await created_at(storage, conversation_id)
    assert by_ada < by_bob
    assert await found(storage, handle="ada", date_from=by_bob) == []
    assert await found(storage, handle="bob", date_to=by_ada) == []
    assert await found(storage, handle="bob", date_from=by_bob) == [conversation_id]
    assert await found(storage, handle="ada", date_from=by_ada, date_to=by_ada) == [conversation_id]


async def test_dates_between_two_messages_find_neither(
    storage: BaseStorageProvider, conversation_id: Id
) -> None:
    first = await storage.create_message(conversation_id, "U1", "Ada", "ada")
    [at] = await created_at(storage, conversation_id)
    assert await found(storage, date_from=at + MICROSECOND) == []
    second = await storage.create_message(conversation_id, "U1", "Ada", "ada")
    assert first != second
    _, later = await created_at(storage, conversation_id)
    assert later > at + MICROSECOND
    assert await found(storage, date_from=at + MICROSECOND, date_to=later - MICROSECOND) == []


@pytest.mark.parametrize("name", ["date_from", "date_to"])
@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "2026-02-30", "1700000000.5 s"])
async def test_text_that_is_no_date_is_a_value_error(
    storage: BaseStorageProvider, name: str, text: str
) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        await storage.get_conversations_for_export("agent", **{name: text})
