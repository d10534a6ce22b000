"""Queries of conversations, and the search for those to export."""

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

type Row = Sequence[Any]
type Parameters = dict[str, Any]

_CREATE_ATTEMPTS = 5

FIND = select(Conversation.id, Conversation.channel_name).where(
    Conversation.thread_digest == bindparam("thread_digest")
)
_CREATE = insert(Conversation)
_RENAME_CHANNEL = (
    update(Conversation)
    .where(Conversation.id == bindparam("found_id"))
    .values(channel_name=bindparam("new_name"))
)


def thread(agent_name: str, channel_id: str, thread_id: str) -> Parameters:
    """Return the parameters that select the conversation of an agent in a thread."""
    return {
        "thread_digest": digest(agent_name=agent_name, channel_id=channel_id, thread_id=thread_id)
    }


def conversation(
    agent_name: str, channel_id: str, thread_id: str, channel_name: str | None
) -> Parameters:
    """Return the row of a conversation, without its id."""
    return {
        **thread(agent_name, channel_id, thread_id),
        "agent_digest": digest(agent_name=agent_name),
        "created_at": datetime.now(UTC),
        "agent_name": agent_name,
        "channel_id": channel_id,
        "channel_name": arguments.optional_text("channel_name", channel_name),
        "thread_id": thread_id,
    }


def to_current_id(rows: Sequence[Row], row: Parameters) -> int | None:
    """Return the id in a row of ``FIND``, or None where the conversation is to be written.

    Args:
        rows: What ``FIND`` found.
        row: The row of :func:`conversation`.
    """
    for conversation_id, channel_name in rows:
        if not _is_renamed(channel_name, row):
            return int(conversation_id)
    return None


def _is_renamed(stored_name: str | None, row: Parameters) -> bool:
    """Return whether the channel has another name now.

    The framework passes the channel's id where Slack does not tell the name: that is no name. (A
    new conversation keeps it: an export of usage shows nothing else of the channel.)
    """
    name = row["channel_name"]
    return bool(name) and name not in (stored_name, row["channel_id"])


def find_or_create(
    connection: Connection, row: Parameters, new_id: Callable[[Connection], int]
) -> int:
    """Return the id of the conversation in a thread, which is created if it does not exist.

    Args:
        connection: Runs one statement where the conversation exists and its channel has the same
            name, and one more otherwise; some more where others create it at the same time.
        row: The row of :func:`conversation`; its channel name replaces another, unless it is
            empty or the channel's id.
        new_id: Returns an id for a new row.
    """
    for attempt in range(1, _CREATE_ATTEMPTS + 1):
        found = connection.execute(FIND, row).first()
        if found is not None:
            next_id.observe(found.id)
            if _is_renamed(found.channel_name, row):
                new = {"found_id": found.id, "new_name": row["channel_name"]}
                connection.execute(_RENAME_CHANNEL, new)
            return int(found.id)
        conversation_id = new_id(connection)
        try:
            connection.execute(_CREATE, {**row, "id": conversation_id})
        except DBAPIError as exc:
            adapter = adapter_for(connection.dialect.name)
            if attempt == _CREATE_ATTEMPTS or not adapter.is_duplicate_key(exc):
                raise
            connection.rollback()  # another caller created it: a new transaction sees the row
        else:
            return conversation_id
    raise AssertionError("the last attempt returns or raises")


def search(
    agent_name: str,
    handle: str | None,
    date_from: str | datetime | None,
    date_to: str | datetime | None,
) -> tuple[Executable, Parameters]:
    """Return the statement that selects an agent's conversations by id, and its parameters.

    One message must match all filters that are given.
    """
    parameters: Parameters = {"agent_digest": digest(agent_name=agent_name)}
    if handle is not None:
        parameters["handle_digest"] = digest(handle=handle)
    if (earliest := arguments.moment("date_from", date_from)) is not None:
        parameters["earliest"] = earliest
    if (latest := arguments.moment("date_to", date_to)) is not None:
        parameters["latest"] = latest
    return _search(tuple(parameters)[1:]), parameters


_FILTERS = {
    "handle_digest": Message.user_handle_digest == bindparam("handle_digest"),
    "earliest": Message.created_at >= bindparam("earliest"),
    "latest": Message.created_at <= bindparam("latest"),
}


@cache
def _search(filters: tuple[str, ...]) -> Executable:
    statement = (
        select(
            Conversation.id,
            Conversation.agent_name,
            Conversation.channel_id,
            Conversation.channel_name,
            Conversation.thread_id,
        )
        .where(Conversation.agent_digest == bindparam("agent_digest"))
        .order_by(Conversation.id)
    )
    if not filters:
        return statement
    conditions = [_FILTERS[name] for name in filters]
    if "handle_digest" in filters:  # read by its index: a person takes part in few conversations
        of_person = select(Message.conversation_id).where(*conditions)
        return statement.where(Conversation.id.in_(of_person))
    # Not EXISTS: PostgreSQL turns that into a join, and reads every message of every agent.
    match = (
        select(literal(1))
        .where(Message.conversation_id == Conversation.id, *conditions)
        .limit(1)
        .scalar_subquery()
    )
    return statement.where(match.is_not(None))


def to_exported(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the conversations of :func:`search` as an export lists them."""
    return [
        {
            "id": conversation_id,
            "agent_name": agent_name,
            "channel_id": channel_id,
            "channel_name": channel_name,
            "thread_id": thread_id,
        }
        for conversation_id, agent_name, channel_id, channel_name, thread_id in rows
    ]
