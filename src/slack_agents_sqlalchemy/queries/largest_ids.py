"""The largest ids of the tables, from which a process continues."""

from sqlalchemy import func, select, union_all

from slack_agents_sqlalchemy.identifiers import MAX_CLOCK_ID
from slack_agents_sqlalchemy.models import Block, Conversation, KeyValue, ListItem, Message

LARGEST_IDS = union_all(
    *(
        select(func.max(model.id)).where(model.id <= MAX_CLOCK_ID)
        for model in (Conversation, Message, Block, KeyValue, ListItem)
    )
)
"""The largest id of each table that the clock of ids follows; each is one index look-up."""
