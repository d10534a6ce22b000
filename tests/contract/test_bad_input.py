"""Bad input gets a clear error, and nothing is stored."""

from __future__ import annotations

import dataclasses
import decimal
import enum
import math
import uuid
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
from slack_agents.storage.base import BaseStorageProvider

from tests.contract.samples import PDF_CONTENT, TOOL_CALL, UPLOAD, USAGE, Id

type CallWithId = Callable[[BaseStorageProvider, Any, Any], Awaitable[Any]]

#: Every argument that is an id: the call, given a good message id and the id in question.
ID_ARGUMENTS: dict[str, CallWithId] = {
    "create_message": lambda storage, _, id_: storage.create_message(id_, "U1", "Ada", "ada"),
    "get_message_blocks": lambda storage, _, id_: storage.get_message_blocks(id_),
    "get_messages_with_blocks": lambda storage, _, id_: storage.get_messages_with_blocks(id_),
    "append_text_block": lambda storage, _, id_: storage.append_text_block(id_, "x"),
    "append_text_block source_file_id": lambda storage, message_id, id_: storage.append_text_block(
        message_id, "x", source_file_id=id_
    ),
    "append_file_block": lambda storage, _, id_: storage.append_file_block(
        id_, PDF_CONTENT, is_user=True, **UPLOAD
    ),
    "append_file_block tool_block_id": lambda storage, message_id, id_: storage.append_file_block(
        message_id, PDF_CONTENT, is_user=False, **UPLOAD, tool_block_id=id_
    ),
    "append_tool_block": lambda storage, _, id_: storage.append_tool_block(id_, **TOOL_CALL),
    "append_usage_block": lambda storage, _, id_: storage.append_usage_block(id_, **USAGE),
}
OPTIONAL_IDS = {"append_text_block source_file_id", "append_file_block tool_block_id"}

NO_IDS = [
    "",
    "12x",
    "x",
    " 1",
    "1 ",
    "1\n",
    "+1",
    "1.0",
    "1e3",
    "1_000",
    "0x10",
    "007",
    "--1",
    "-",
    "\u0663",
    "\uff11",
    "1\0",
    "\ud800",
    "None",
    1.0,
    1.5,
    math.nan,
    True,
    False,
    b"1",
    [1],
    (1,),
    {"id": 1},
    decimal.Decimal(1),
]
UNKNOWN_IDS = [1, 2**31 - 1, 2**40, 2**63 - 1, "1", "4611686018427387904"]
IMPOSSIBLE_IDS = [0, -1, 2**63, 2**64, 10**100, "0", "-1", "9223372036854775808", "9" * 5000]


async def everything(storage: BaseStorageProvider, conversation_id: Id) -> Any:
    """Return all that could have been stored by mistake."""
    return (
        await storage.get_messages_with_blocks(conversation_id),
        await storage.get_conversations_for_export("agent"),
        await storage.get_tool_call(TOOL_CALL["tool_call_id"]),
    )


@pytest.mark.parametrize("call", ID_ARGUMENTS.values(), ids=ID_ARGUMENTS.keys())
async def test_an_id_that_is_no_integer_is_a_value_error_and_nothing_is_stored(
    storage: BaseStorageProvider, conversation_id: Id, message_id: Id, call: CallWithId
) -> None:
    before = await everything(storage, conversation_id)
    for no_id in NO_IDS:
        with pytest.raises(ValueError, match=r"\w"):
            await call(storage, message_id, no_id)
    assert await everything(storage, conversation_id) == before


@pytest.mark.parametrize("name", sorted(ID_ARGUMENTS.keys() - OPTIONAL_IDS))
async def test_none_is_a_value_error_where_an_id_must_be(
    storage: BaseStorageProvider, conversation_id: Id, message_id: Id, name: str
) -> None:
    before = await everything(storage, conversation_id)
    with pytest.raises(ValueError, match=r"\w"):
        await ID_ARGUMENTS[name](storage, message_id, None)
    assert await everything(storage, conversation_id) == before


@pytest.mark.parametrize("call", ID_ARGUMENTS.values(), ids=ID_ARGUMENTS.keys())
async def test_an_unknown_id_is_a_lookup_error_and_nothing_is_stored(
    storage: BaseStorageProvider, conversation_id: Id, message_id: Id, call: CallWithId
) -> None:
    before = await everything(storage, conversation_id)
    for unknown in UNKNOWN_IDS:
        with pytest.raises(LookupError, match=r"\w"):
            await call(storage, message_id, unknown)
    assert await everything(storage, conversation_id) == before


@pytest.mark.parametrize("call", ID_ARGUMENTS.values(), ids=ID_ARGUMENTS.keys())
async def test_an_id_that_nothing_can_have_is_refused_and_nothing_is_stored(
    storage: BaseStorageProvider, conversation_id: Id, message_id: Id, call: CallWithId
) -> None:
    before = await everything(storage, conversation_id)
    for impossible in IMPOSSIBLE_IDS:
        with pytest.raises((LookupError, ValueError), match=r"\w"):
            await call(storage, message_id, impossible)
    assert await everything(storage, conversation_id) == before


@pytest.mark.parametrize("call", ID_ARGUMENTS.values(), ids=ID_ARGUMENTS.keys())
async def test_an_id_beside_a_real_one_is_a_lookup_error(
    storage: BaseStorageProvider, conversation_id: Id, message_id: Id, call: CallWithId
) -> None:
    file_id = await storage.append_file_block(message_id, {}, is_user=True, **UPLOAD)
    before = await everything(storage, conversation_id)
    highest = max(int(conversation_id), int(message_id), int(file_id))
    for unknown in (highest + 1, str(highest + 1)):
        with pytest.raises(LookupError, match=r"\w"):
            await call(storage, message_id, unknown)
    assert await everything(storage, conversation_id) == before


async def test_an_id_of_another_kind_is_a_lookup_error(
    storage: BaseStorageProvider, conversation_id: Id, message_id: Id
) -> None:
    # Ids may be alike across kinds, as from sequences: then there is nothing to tell apart.
    if conversation_id == message_id:
        return
    before = await everything(storage, conversation_id)
    with pytest.raises(LookupError, match=r"\w"):
        await storage.append_text_block(conversation_id, "x")
    with pytest.raises(LookupError, match=r"\w"):
        await storage.create_message(message_id, "U1", "Ada", "ada")
    with pytest.raises(LookupError, match=r"\w"):
        await storage.append_text_block(message_id, "x", source_file_id=message_id)
    assert await everything(storage, conversation_id) == before


@dataclasses.dataclass
class Point:
    """An object that some JSON libraries write without being asked."""

    x: int


class Color(enum.Enum):
    """An enumeration that some JSON libraries write by its value."""

    RED = "red"


def cyclic_object() -> dict[str, Any]:
    """Return an object that contains itself."""
    value: dict[str, Any] = {}
    value["self"] = {"deeper": [value]}
    return value


def cyclic_list() -> dict[str, Any]:
    """Return an object with a list that contains itself."""
    items: list[Any] = []
    items.append(items)
    return {"items": items}


NO_JSON: dict[str, Any] = {
    "NaN": {"a": math.nan},
    "infinity": {"a": math.inf},
    "minus infinity": {"a": [-math.inf]},
    "an integer of more digits than Python writes": {"a": 10**5_000},
    "bytes": {"a": b"x"},
    "bytearray": {"a": bytearray(b"x")},
    "memoryview": {"a": memoryview(b"x")},
    "set": {"a": {1}},
    "datetime": {"a": datetime(2026, 1, 1, tzinfo=UTC)},
    "date": {"a": date(2026, 1, 1)},
    "UUID": {"a": uuid.UUID(int=1)},
    "Decimal": {"a": decimal.Decimal("1.5")},
    "complex": {"a": 1j},
    "dataclass": {"a": Point(1)},
    "enumeration": {"a": Color.RED},
    "function": {"a": len},
    "object": {"a": object()},
    "generator": {"a": (n for n in range(3))},
    "integer key": {1: "a"},
    "boolean key": {True: "a"},
    "null key": {None: "a"},
    "float key": {1.5: "a"},
    "tuple key": {("a",): "a"},
    "bytes key": {b"a": "a"},
    "integer key, deeper": {"a": [{"b": {1: "c"}}]},
    "object that contains itself": cyclic_object(),
    "list that contains itself": cyclic_list(),
}
NO_OBJECTS: dict[str, Any] = {
    "None": None,
    "text": "x",
    "JSON text": "{}",
    "bytes": b"{}",
    "integer": 1,
    "float": 1.5,
    "true": True,
    "list": [],
    "list of pairs": [("a", 1)],
    "tuple": (),
    "set": {"a"},
    "dataclass": Point(1),
}

type CallWithObject = Callable[[BaseStorageProvider, Id, Any], Awaitable[Any]]

OBJECT_ARGUMENTS: dict[str, CallWithObject] = {
    "set": lambda storage, _, value: storage.set("plugin", "key", value),
    "append": lambda storage, _, value: storage.append("plugin", "key", value),
    "append_file_block upload": lambda storage, id_, value: storage.append_file_block(
        id_, value, is_user=True, **UPLOAD
    ),
    "append_file_block of a tool": lambda storage, id_, value: storage.append_file_block(
        id_, value, is_user=False, **UPLOAD
    ),
    "append_tool_block": lambda storage, id_, value: storage.append_tool_block(
        id_, **TOOL_CALL | {"tool_input": value}
    ),
}


@pytest.mark.parametrize("call", OBJECT_ARGUMENTS.values(), ids=OBJECT_ARGUMENTS.keys())
async def test_what_json_cannot_hold_is_a_value_error_and_nothing_is_stored(
    storage: BaseStorageProvider, conversation_id: Id, message_id: Id, call: CallWithObject
) -> None:
    before = await everything(storage, conversation_id)
    for name, value in NO_JSON.items():
        with pytest.raises(ValueError, match=r"\w"):
            await call(storage, message_id, value)
        assert await storage.query("plugin", {}) == [], name
    assert await everything(storage, conversation_id) == before


TAKE_ANY_JSON = {"append_tool_block"}


@pytest.mark.parametrize("call", sorted(OBJECT_ARGUMENTS.keys() - TAKE_ANY_JSON))
async def test_what_is_no_json_object_is_a_type_error_and_nothing_is_stored(
    storage: BaseStorageProvider, conversation_id: Id, message_id: Id, call: str
) -> None:
    before = await everything(storage, conversation_id)
    for name, value in NO_OBJECTS.items():
        with pytest.raises(TypeError, match=r"\w"):
            await OBJECT_ARGUMENTS[call](storage, message_id, value)
        assert await storage.query("plugin", {}) == [], name
    assert await everything(storage, conversation_id) == before


NO_JSON_VALUES: dict[str, Any] = {
    "NaN": math.nan,
    "infinity": -math.inf,
    "bytes": b"{}",
    "set": {"a"},
    "dataclass": Point(1),
    "decimal": decimal.Decimal(1),
    "list with bytes": [b"a"],
    "list that contains itself": cyclic_list(),
}


@pytest.mark.parametrize("value", NO_JSON_VALUES.values(), ids=NO_JSON_VALUES.keys())
async def test_the_input_of_a_tool_that_json_cannot_hold_is_a_value_error(
    storage: BaseStorageProvider, conversation_id: Id, message_id: Id, value: Any
) -> None:
    before = await everything(storage, conversation_id)
    with pytest.raises(ValueError, match=r"\w"):
        await storage.append_tool_block(message_id, **TOOL_CALL | {"tool_input": value})
    assert await everything(storage, conversation_id) == before


@pytest.mark.parametrize("bad", [{"a": math.nan}, "text"], ids=["NaN", "no object"])
async def test_a_refused_value_leaves_the_old_one(storage: BaseStorageProvider, bad: Any) -> None:
    await storage.set("plugin", "key", {"a": 1})
    item_id = await storage.append("plugin", "key", {"a": 1})
    with pytest.raises((TypeError, ValueError), match=r"\w"):
        await storage.set("plugin", "key", bad)
    with pytest.raises((TypeError, ValueError), match=r"\w"):
        await storage.append("plugin", "key", bad)
    assert await storage.get("plugin", "key") == {"a": 1}
    assert await storage.get_list("plugin", "key") == [{"a": 1, "id": item_id}]


async def test_kinds_of_dict_are_json_objects(storage: BaseStorageProvider) -> None:
    await storage.set("plugin", "ordered", OrderedDict(b=1, a=OrderedDict(d=1, c=2)))
    await storage.set("plugin", "default", defaultdict(list, a=[1]))
    assert repr(await storage.get("plugin", "ordered")) == repr({"b": 1, "a": {"d": 1, "c": 2}})
    assert await storage.get("plugin", "default") == {"a": [1]}


async def test_the_storage_works_as_before_after_errors(
    storage: BaseStorageProvider, conversation_id: Id, message_id: Id
) -> None:
    """More errors than any pool has connections."""
    for _ in range(25):
        with pytest.raises(LookupError):
            await storage.append_text_block(1, "x")
        with pytest.raises(LookupError):
            await storage.create_message(1, "U1", "Ada", "ada")
        with pytest.raises(ValueError, match=r"\w"):
            await storage.set("plugin", "key", {"a": math.nan})
    await storage.append_text_block(message_id, "x")
    assert await storage.get_message_blocks(conversation_id) == [
        (message_id, [{"block_type": "text", "content": {"text": "x"}}])
    ]
