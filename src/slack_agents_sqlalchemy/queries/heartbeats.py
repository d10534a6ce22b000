"""Statements of heartbeats."""

from functools import cache
from typing import Any

from sqlalchemy import select
from sqlalchemy.sql import bindparam

from slack_agents_sqlalchemy.dialects import DialectAdapter, Upsert
from slack_agents_sqlalchemy.identifiers import digest
from slack_agents_sqlalchemy.models import Heartbeat
from slack_agents_sqlalchemy.queries import arguments

heartbeats = Heartbeat.__table__

type Parameters = dict[str, Any]

GET = select(heartbeats.c.last_ping_pong_time).where(
    heartbeats.c.agent_digest == bindparam("agent_digest")
)


@cache
def put(adapter: DialectAdapter) -> Upsert:
    """Build the operation that stores a heartbeat."""
    return adapter.upsert(heartbeats, ("last_ping_pong_time",))


def agent(agent_name: str) -> Parameters:
    """Find the heartbeat of an agent."""
    return {"agent_digest": digest(arguments.text("agent_name", agent_name))}


def heartbeat(agent_name: str, last_ping_pong_time: float) -> Parameters:
    """Make the row of a heartbeat."""
    return {
        **agent(agent_name),
        "agent_name": agent_name,
        "last_ping_pong_time": arguments.number("last_ping_pong_time", last_ping_pong_time),
    }
