"""Queries of messages. What is read of them is read with their blocks."""

from datetime import UTC, datetime
from typing import Any

from slack_agents_sqlalchemy.identifiers import digest
from slack_agents_sqlalchemy.models import Conversation, Message
from slack_agents_sqlalchemy.queries import arguments
from slack_agents_sqlalchemy.queries.insert_select import insert_select

type Parameters = dict[str, Any]

CREATE = insert_select(
    Message,
    parent=Conversation.id,
    source=Conversation,
    copied={"conversation_id": Conversation.id},
    given=("id", "user_handle_digest", "created_at", "user_id", "user_name", "user_handle"),
)


def message(
    conversation_id: int | str, user_id: str, user_name: str, user_handle: str
) -> Parameters:
    """Return the row of a message, without its id."""
    return {
        "parent_id": arguments.identifier("conversation", conversation_id),
        "user_handle_digest": digest(user_handle=user_handle),
        "created_at": datetime.now(UTC),
        "user_handle": user_handle,
        **arguments.texts(user_id=user_id, user_name=user_name),
    }
