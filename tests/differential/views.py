"""What an agent and its operator can see of a storage, as plain data without ids and times."""

from __future__ import annotations

import csv
import itertools
from dataclasses import asdict
from pathlib import Path
from typing import Any

from slack_agents.cli.export_usage_csv import export_usage_csv
from slack_agents.conversations import ConversationManager
from slack_agents.storage.base import BaseStorageProvider

from tests.differential.programs import (
    AGENTS,
    KEYS,
    SERVERS,
    TOOL_CALLS,
    USERS,
    Program,
    World,
)

type View = dict[str, Any]

HANDLES = [handle for _, _, handle in USERS]
LONG_AGO, FAR_AHEAD = "2000-01-01T00:00:00+00:00", "2100-01-01T00:00:00+00:00"

_scopes = itertools.count(1)


class Manager(ConversationManager):
    """The framework's manager, exporting from a database in memory too.

    Such a database refuses an export because it would always be empty: the rows must be right.
    """

    @property
    def supports_export(self) -> bool:
        """Always."""
        return True


async def seen_after(program: Program, *storages: BaseStorageProvider, folder: Path) -> list[View]:
    """Run the program on each storage and return what is then seen there."""
    scope = str(next(_scopes))
    views = []
    for storage in storages:
        world = World(storage, scope)
        answers = [await call.on(world) for call in program]
        views.append({"answers": answers, **await _seen(world, folder)})
    return views


async def _seen(world: World, folder: Path) -> View:
    storage, manager = world.storage, Manager(world.storage)
    agents = [world.named(agent) for agent in AGENTS]
    keys, lists = KEYS, world.named("lists")
    return {
        "model sees": [
            [(message.role, message.content) for message in await manager.get_messages(known)]
            for known in world.conversations
        ],
        "transcripts": [
            [_message(world, message) for message in await manager.get_messages_with_blocks(known)]
            for known in world.conversations
        ],
        "exports": [await _exports(world, manager, agent) for agent in agents],
        "usage": [await _usage(world, manager, agent, folder / "usage.csv") for agent in agents],
        "tool calls": [await manager.get_tool_call(world.named(call)) for call in TOOL_CALLS],
        "heartbeats": [await storage.get_heartbeat(agent) for agent in agents],
        "tokens": [
            _row(await storage.get_oauth_token(world.named(user), server))
            for user, _, _ in USERS
            for server in SERVERS
        ],
        "clients": [
            _row(await storage.get_oauth_client(world.named(server), redirect))
            for server in SERVERS
            for redirect in SERVERS
        ],
        "values": [await storage.get(world.named("values"), key) for key in keys],
        "lists": [_items(world, await storage.get_list(lists, key)) for key in keys],
        "queries": [
            _items(world, await storage.query(lists, filters))
            for filters in ({}, {"kind": "x"}, {"kind": "X"}, {"kind": "absent"})
        ],
    }


def _message(world: World, message: dict[str, Any]) -> dict[str, Any]:
    blocks = message["blocks"]
    times = [block["created_at"] for block in blocks]
    assert times == sorted(times), "the blocks of a message are not in the order of their times"
    return {
        **message,
        "id": _place(world.messages, message["id"]),
        "created_at": None,
        "blocks": [_block(world, block) for block in blocks],
    }


def _block(world: World, block: dict[str, Any]) -> dict[str, Any]:
    made = {"file": world.files, "user_file": world.files, "tool_use": world.tool_blocks}
    places = made.get(block["block_type"])  # no call returns the id of any other block
    seen = {**block, "id": places and _place(places, block["id"]), "created_at": None}
    if seen.get("source_file_id") is not None:
        seen["source_file_id"] = _place(world.files, seen["source_file_id"])
    return seen


async def _exports(world: World, manager: Manager, agent: str) -> dict[str, Any]:
    since = await _time_of_the_message_in_the_middle(world, manager)
    filters: list[dict[str, Any]] = [
        {},
        {"date_from": LONG_AGO, "date_to": FAR_AHEAD},
        {"date_from": FAR_AHEAD},
        {"date_to": LONG_AGO},
        {"date_from": since},
        {"date_to": since},
        *({"handle": handle} for handle in HANDLES),
        *({"handle": handle, "date_from": since} for handle in HANDLES),
    ]
    return {
        str({**chosen, **{name: "then" for name in chosen if chosen[name] == since}}): [
            {**row, "id": _place(world.conversations, row["id"])}
            for row in await manager.get_conversations_for_export(agent, **chosen)
        ]
        for chosen in filters
    }


async def _time_of_the_message_in_the_middle(world: World, manager: Manager) -> str:
    times = {
        _place(world.messages, message["id"]): message["created_at"]
        for conversation in world.conversations
        for message in await manager.get_messages_with_blocks(conversation)
    }
    time = times[len(times) // 2]
    return time if isinstance(time, str) else time.isoformat()


async def _usage(world: World, manager: Manager, agent: str, file: Path) -> list[dict[str, Any]]:
    if not await export_usage_csv(manager, agent, str(file)):
        return []
    with file.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    for row in rows:
        row["conversation_id"] = _place(world.conversations, row["conversation_id"])
        for column in ("date", "started_at", "last_message_at"):
            del row[column]
    return rows


def _items(world: World, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**item, "id": _place(world.items, item["id"])} for item in items]


def _place(made: list[int | str], identifier: int | str) -> int:
    return [str(one) for one in made].index(str(identifier))


def _row(row: Any) -> dict[str, Any] | None:
    return None if row is None else asdict(row)
