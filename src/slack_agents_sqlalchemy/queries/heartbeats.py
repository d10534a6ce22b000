"""Queries of heartbeats."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import select
from sqlalchemy.sql import bindparam

from slack_agents_sqlalchemy.dialects import DialectAdapter, Upsert
from slack_agents_sqlalchemy.identifiers import digest
from slack_agents_sqlalchemy.models import Heartbeat
from slack_agents_sqlalchemy.queries import arguments

type Parameters = dict[str, Any]

# Built on the table: a statement on the class configures all mappers when it is compiled, which
# takes some 20 ms of a health check.
_heartbeats = Heartbeat.__table__

GET = select(_heartbeats.c.last_ping_pong_time).where(
    _heartbeats.c.agent_digest == bindparam("agent_digest")
)


def agent(agent_name: str) -> Parameters:
    """Return the parameters that select an agent's heartbeat."""
    return {"agent_digest": digest(agent_name=agent_name)}


def to_heartbeat(rows: Sequence[Sequence[Any]]) -> dict[str, Any] | None:
    """Return the heartbeat of a row of ``GET``, or None."""
    if not rows:
        return None
    [(last_ping_pong_time,)] = rows
    return {"last_ping_pong_time": last_ping_pong_time}


@cache
def upsert(adapter: DialectAdapter) -> Upsert:
    """Return the operation that stores a heartbeat."""
    return adapter.upsert(_heartbeats, ("last_ping_pong_time",))


def heartbeat(agent_name: str, last_ping_pong_time: float) -> Parameters:
    """Return the row of a heartbeat."""
    return {
        "agent_digest": digest(agent_name=agent_name),
        "agent_name": agent_name,
        "last_ping_pong_time": arguments.number("last_ping_pong_time", last_ping_pong_time),
    }
