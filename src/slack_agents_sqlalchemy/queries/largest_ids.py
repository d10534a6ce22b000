"""The largest ids of the tables, from which a process continues."""

from sqlalchemy import func, select, union_all

from slack_agents_sqlalchemy import tables
from slack_agents_sqlalchemy.identifiers import MAX_CLOCK_ID

LARGEST_IDS = union_all(
    *(
        select(func.max(table.c.id)).where(table.c.id <= MAX_CLOCK_ID)
        for table in (
            tables.conversations,
            tables.messages,
            tables.blocks,
            tables.key_values,
            tables.list_items,
        )
    )
)
"""The largest id of each table that the clock of ids follows; each is one index look-up."""
