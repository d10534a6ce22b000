"""Acknowledged writes compared with the stored rows."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

from slack_agents.storage.base import BaseStorageProvider

from tests.support.soak.writer import Note

type Write = tuple[str, int]
"""Who wrote, and the how manieth it was."""


@dataclass
class Tally:
    """Counts of one run.

    Attributes:
        calls: That were made, or values that were stored.
        lost: Acknowledged writes that are not stored.
        duplicated: Writes that are stored twice, or two conversations for one thread.
        corrupted: Reads with another id, name, value or order than was written, and histories that
            a reader saw and that were not the beginning of what it saw later.
        leaked: Connections that were not checked in, and transactions that stayed open.
        hung: Calls that did not end.
        errors: That reached a caller.
        stored_despite_error: Writes that are stored although their call raised an error.
        longest: Seconds of the call that took longest.
    """

    calls: int = 0
    lost: int = 0
    duplicated: int = 0
    corrupted: int = 0
    leaked: int = 0
    hung: int = 0
    errors: int = 0
    stored_despite_error: int = 0
    longest: float = 0.0

    @property
    def anomalies(self) -> dict[str, int]:
        """The counts that must be zero whatever happens."""
        names = ("lost", "duplicated", "corrupted", "leaked", "hung")
        return {name: getattr(self, name) for name in names}

    def __add__(self, other: Tally) -> Tally:
        total = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        return Tally(**total | {"longest": max(self.longest, other.longest)})


async def tally(notes: Mapping[str, Sequence[Note]], storage: BaseStorageProvider) -> Tally:
    """Compare what processes said with what a storage holds.

    Args:
        notes: What each process got as answers, by its name.
        storage: Open, on what they wrote to.
    """
    said = [note for of_process in notes.values() for note in of_process]
    counts = Tally(
        calls=sum("seconds" in note for note in said),
        corrupted=sum("corrupted" in note for note in said),
        leaked=sum(note.get("leaked", 0) for note in said),
        hung=sum(note.get("error") == "Hung" for note in said),
        errors=sum("error" in note for note in said),
        longest=max((note.get("seconds", 0) for note in said), default=0),
    )
    _compare(counts, _of_kind(said, "append"), await _items(notes, storage))
    _compare(counts, _of_kind(said, "block"), await _blocks(storage))
    await _compare_conversations(counts, _of_kind(said, "conversation"), storage)
    await _compare_hot_key(counts, _of_kind(said, "hot"), storage)
    return counts


def _of_kind(notes: Iterable[Note], kind: str) -> list[Note]:
    return [note for note in notes if note["kind"] == kind and "seconds" in note]


async def _items(
    names: Iterable[str], storage: BaseStorageProvider
) -> list[list[tuple[Write, str]]]:
    lists = [await storage.get_list("list", name) for name in names]
    return [[((item["writer"], item["n"]), str(item["id"])) for item in items] for items in lists]


async def _blocks(storage: BaseStorageProvider) -> list[list[tuple[Write, str]]]:
    conversations = []
    for row in await storage.get_conversations_for_export("agent"):
        if row["channel_id"] == "C1":
            texts = [
                (json.loads(block["content"]["text"]), str(block["id"]))
                for message in await storage.get_messages_with_blocks(row["id"])
                for block in message["blocks"]
            ]
            conversations.append([((text["writer"], text["n"]), row_id) for text, row_id in texts])
    return conversations


def _compare(
    counts: Tally, said: Sequence[Note], stored: Sequence[Sequence[tuple[Write, str]]]
) -> None:
    times = Counter(write for rows in stored for write, _ in rows)
    ids = {write: row_id for rows in stored for write, row_id in rows}
    counts.duplicated += sum(count - 1 for count in times.values())
    gave_up = set()
    for note in said:
        write = (note["writer"], note["n"])
        is_there = write in times
        if "answered" in note:
            counts.lost += not is_there
            counts.corrupted += is_there and note.get("id", ids[write]) != ids[write]
        elif "error" in note:
            counts.stored_despite_error += is_there
        if "answered" not in note:
            gave_up.add(write)
    for rows in stored:
        by_writer = defaultdict(list)
        for write, _ in rows:
            if write not in gave_up:  # such a one may arrive late
                by_writer[write[0]].append(write[1])
        counts.corrupted += sum(
            later < earlier for order in by_writer.values() for earlier, later in pairwise(order)
        )


async def _compare_conversations(
    counts: Tally, said: Sequence[Note], storage: BaseStorageProvider
) -> None:
    returned: defaultdict[str, set[str]] = defaultdict(set)
    named = set()
    for note in said:
        if "answered" in note:
            returned[note["thread"]].add(note["id"])
            if note["channel_name"]:
                named.add(note["thread"])
    rows = await storage.get_conversations_for_export("agent")
    opened = [row for row in rows if row["channel_id"] == "C2"]
    stored = {row["thread_id"]: str(row["id"]) for row in opened}
    counts.duplicated += len(opened) - len(stored)
    counts.duplicated += sum(len(ids) - 1 for ids in returned.values())
    counts.lost += sum(thread not in stored for thread in returned)
    counts.corrupted += sum(
        thread in stored and stored[thread] not in ids for thread, ids in returned.items()
    )
    counts.corrupted += sum(
        row["thread_id"] in named and row["channel_name"] != "general" for row in opened
    )


async def _compare_hot_key(
    counts: Tally, said: Sequence[Note], storage: BaseStorageProvider
) -> None:
    """The last write wins: it is the last of one of the writers, or one whose answer was lost."""
    hot = await storage.get("keys", "hot")
    answered = [note for note in said if "answered" in note]
    last = {note["writer"]: note["n"] for note in answered}
    if answered:
        counts.lost += hot is None or hot["n"] < last.get(hot["writer"], -1)
