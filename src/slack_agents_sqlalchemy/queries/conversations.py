"""Statements of conversations and messages, and of finding conversations for an export."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import Executable, insert, literal, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import bindparam

from slack_agents_sqlalchemy.dialects import adapter_for
from slack_agents_sqlalchemy.identifiers import digest, next_id
from slack_agents_sqlalchemy.models import Conversation, Message
from slack_agents_sqlalchemy.queries import arguments
from slack_agents_sqlalchemy.queries.insert_select import insert_select

conversations, messages = Conversation.__table__, Message.__table__

type Parameters = dict[str, Any]

_CREATE_ATTEMPTS = 5

FIND = select(conversations.c.id, conversations.c.channel_name).where(
    conversations.c.thread_digest == bindparam("thread_digest")
)
CREATE = insert(conversations)
RENAME_CHANNEL = (
    update(conversations)
    .where(conversations.c.id == bindparam("found_id"))
    .values(channel_name=bindparam("new_name"))
)
CREATE_MESSAGE = insert_select(
    conversations.c.id,
    messages,
    copied={"conversation_id": conversations.c.id},
    given=("id", "user_handle_digest", "created_at", "user_id", "user_name", "user_handle"),
    source=conversations,
)


def thread(agent_name: str, channel_id: str, thread_id: str) -> Parameters:
    """Find the conversation of an agent in a thread."""
    return {
        "thread_digest": digest(
            arguments.text("agent_name", agent_name),
            arguments.text("channel_id", channel_id),
            arguments.text("thread_id", thread_id),
        )
    }


def conversation(
    agent_name: str, channel_id: str, thread_id: str, channel_name: str | None
) -> Parameters:
    """Make the row of a conversation, but for its id."""
    return {
        **thread(agent_name, channel_id, thread_id),
        "agent_digest": digest(agent_name),
        "created_at": datetime.now(UTC),
        "agent_name": agent_name,
        "channel_id": channel_id,
        "channel_name": arguments.optional_text("channel_name", channel_name),
        "thread_id": thread_id,
    }


def is_renamed(found: Sequence[Any], row: Parameters) -> bool:
    """Return whether the channel has another name now than in the (id, name) that was found.

    The framework passes the channel's id where Slack does not tell the name: that is no name. (A
    new conversation keeps it: an export of usage shows nothing else of the channel.)
    """
    name = row["channel_name"]
    return bool(name) and name not in (found[1], row["channel_id"])


def find_or_create(
    connection: Connection, row: Parameters, new_id: Callable[[Connection], int]
) -> int:
    """Return the id of the conversation in a thread, made if it is not there.

    Args:
        connection: Runs one statement where the conversation is there and its channel has kept
            its name, and one more otherwise; a few where others make it at the same moment.
        row: The row of :func:`conversation`; its channel name replaces another, unless it is
            empty or the channel's id.
        new_id: Returns an id for a new row.
    """
    for attempt in range(1, _CREATE_ATTEMPTS + 1):
        found = connection.execute(FIND, row).first()
        if found is not None:
            next_id.observe(found.id)
            if is_renamed(found, row):
                new = {"found_id": found.id, "new_name": row["channel_name"]}
                connection.execute(RENAME_CHANNEL, new)
            return int(found.id)
        conversation_id = new_id(connection)
        try:
            connection.execute(CREATE, {**row, "id": conversation_id})
        except DBAPIError as exc:
            known = adapter_for(connection.dialect.name)
            if attempt == _CREATE_ATTEMPTS or not known.is_duplicate_key(exc):
                raise
            connection.rollback()  # another was first: a new transaction sees its row
        else:
            return conversation_id
    raise AssertionError("the last attempt returns or raises")


def message(
    conversation_id: int | str, user_id: str, user_name: str, user_handle: str
) -> Parameters:
    """Make the row of a message, but for its id."""
    return {
        "parent_id": arguments.identifier("conversation", conversation_id),
        "user_handle_digest": digest(arguments.text("user_handle", user_handle)),
        "created_at": datetime.now(UTC),
        "user_id": arguments.text("user_id", user_id),
        "user_name": arguments.text("user_name", user_name),
        "user_handle": user_handle,
    }


def for_export(
    agent_name: str,
    handle: str | None,
    date_from: str | datetime | None,
    date_to: str | datetime | None,
) -> tuple[Executable, Parameters]:
    """Build the statement that finds an agent's conversations, by id.

    The filters that are given are met by one message together.
    """
    parameters: Parameters = {"agent_digest": digest(arguments.text("agent_name", agent_name))}
    if handle is not None:
        parameters["handle_digest"] = digest(arguments.text("handle", handle))
    if (earliest := arguments.moment("date_from", date_from)) is not None:
        parameters["earliest"] = earliest
    if (latest := arguments.moment("date_to", date_to)) is not None:
        parameters["latest"] = latest
    return _find_for_export(tuple(parameters)[1:]), parameters


_FILTERS = {
    "handle_digest": messages.c.user_handle_digest == bindparam("handle_digest"),
    "earliest": messages.c.created_at >= bindparam("earliest"),
    "latest": messages.c.created_at <= bindparam("latest"),
}


@cache
def _find_for_export(filters: tuple[str, ...]) -> Executable:
    statement = (
        select(
            conversations.c.id,
            conversations.c.agent_name,
            conversations.c.channel_id,
            conversations.c.channel_name,
            conversations.c.thread_id,
        )
        .where(conversations.c.agent_digest == bindparam("agent_digest"))
        .order_by(conversations.c.id)
    )
    if not filters:
        return statement
    conditions = [_FILTERS[name] for name in filters]
    if "handle_digest" in filters:  # read by its index: a person takes part in few conversations
        of_person = select(messages.c.conversation_id).where(*conditions)
        return statement.where(conversations.c.id.in_(of_person))
    # Not EXISTS: PostgreSQL turns that into a join, and reads every message of every agent.
    match = (
        select(literal(1))
        .where(messages.c.conversation_id == conversations.c.id, *conditions)
        .limit(1)
        .scalar_subquery()
    )
    return statement.where(match.is_not(None))
