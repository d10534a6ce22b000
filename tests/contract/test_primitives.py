"""The six primitives: values, lists and queries over both."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from slack_agents.storage.base import BaseStorageProvider

from tests.contract.hostile import nested


async def test_a_value_that_was_set_is_read_back(storage: BaseStorageProvider) -> None:
    await storage.set("plugin", "key", {"a": 1, "b": ["x", None, True]})
    assert await storage.get("plugin", "key") == {"a": 1, "b": ["x", None, True]}


async def test_a_value_that_was_never_set_is_none(storage: BaseStorageProvider) -> None:
    assert await storage.get("plugin", "key") is None


async def test_an_empty_object_is_a_value(storage: BaseStorageProvider) -> None:
    await storage.set("plugin", "key", {})
    assert await storage.get("plugin", "key") == {}


async def test_the_last_write_replaces_the_whole_value(
    storage: BaseStorageProvider,
) -> None:
    await storage.set("plugin", "key", {"a": 1, "b": 2})
    await storage.set("plugin", "key", {"a": 3})
    assert await storage.get("plugin", "key") == {"a": 3}


async def test_setting_the_same_value_again_changes_nothing(
    storage: BaseStorageProvider,
) -> None:
    await storage.set("plugin", "key", {"a": 1})
    await storage.set("plugin", "key", {"a": 1})
    assert await storage.get("plugin", "key") == {"a": 1}
    assert await storage.query("plugin", {}) == [{"a": 1}]


async def test_namespaces_and_keys_are_apart(storage: BaseStorageProvider) -> None:
    await storage.set("one", "key", {"n": 1})
    await storage.set("two", "key", {"n": 2})
    await storage.set("one", "other", {"n": 3})
    await storage.delete("one", "other")
    assert await storage.get("one", "key") == {"n": 1}
    assert await storage.get("two", "key") == {"n": 2}
    assert await storage.get("one", "other") is None


async def test_a_deleted_value_is_absent(storage: BaseStorageProvider) -> None:
    await storage.set("plugin", "key", {"a": 1})
    await storage.delete("plugin", "key")
    assert await storage.get("plugin", "key") is None
    assert await storage.query("plugin", {}) == []


async def test_deleting_an_absent_value_is_no_error(
    storage: BaseStorageProvider,
) -> None:
    await storage.delete("plugin", "key")
    assert await storage.get("plugin", "key") is None


async def test_deleting_a_value_leaves_the_list_under_its_key(
    storage: BaseStorageProvider,
) -> None:
    item_id = await storage.append("plugin", "key", {"n": 1})
    await storage.set("plugin", "key", {"a": 1})
    await storage.delete("plugin", "key")
    assert await storage.get_list("plugin", "key") == [{"n": 1, "id": item_id}]


async def test_a_list_and_a_value_under_one_key_do_not_see_each_other(
    storage: BaseStorageProvider,
) -> None:
    item_id = await storage.append("plugin", "key", {"n": 1})
    assert await storage.get("plugin", "key") is None
    await storage.set("plugin", "key", {"a": 1})
    assert await storage.get("plugin", "key") == {"a": 1}
    assert await storage.get_list("plugin", "key") == [{"n": 1, "id": item_id}]


async def test_append_returns_the_id_of_the_item_as_text(
    storage: BaseStorageProvider,
) -> None:
    item_ids = [await storage.append("plugin", "key", {"n": n}) for n in range(3)]
    assert all(type(item_id) is str for item_id in item_ids)
    assert [item["id"] for item in await storage.get_list("plugin", "key")] == item_ids
    assert len(set(item_ids)) == 3


async def test_a_list_is_in_order_of_insertion(storage: BaseStorageProvider) -> None:
    for n in range(100):
        await storage.append("plugin", f"key-{n % 2}", {"n": n})
    assert [item["n"] for item in await storage.get_list("plugin", "key-0")] == [*range(0, 100, 2)]
    assert [item["n"] for item in await storage.get_list("plugin", "key-1")] == [*range(1, 100, 2)]


async def test_a_list_without_items_is_empty(storage: BaseStorageProvider) -> None:
    await storage.append("plugin", "other", {"n": 1})
    await storage.append("other", "key", {"n": 1})
    assert await storage.get_list("plugin", "key") == []


async def test_equal_items_are_kept_apart(storage: BaseStorageProvider) -> None:
    await storage.append("plugin", "key", {"n": 1})
    await storage.append("plugin", "key", {"n": 1})
    items = await storage.get_list("plugin", "key")
    assert [item["n"] for item in items] == [1, 1]
    assert items[0]["id"] != items[1]["id"]


async def test_the_id_of_an_item_replaces_a_field_of_that_name(
    storage: BaseStorageProvider,
) -> None:
    item_id = await storage.append("plugin", "key", {"id": "mine", "n": 1})
    assert await storage.get_list("plugin", "key") == [{"id": item_id, "n": 1}]
    assert await storage.query("plugin", {"id": "mine"}) == []


async def test_arguments_are_not_changed(storage: BaseStorageProvider) -> None:
    value = {"a": {"b": [1]}}
    await storage.append("plugin", "key", value)
    await storage.set("plugin", "key", value)
    await storage.query("plugin", value)
    assert value == {"a": {"b": [1]}}


async def test_changing_a_result_does_not_change_what_is_stored(
    storage: BaseStorageProvider,
) -> None:
    value = {"a": [1]}
    await storage.set("plugin", "key", value)
    value["a"].append(2)
    stored = await storage.get("plugin", "key")
    assert stored == {"a": [1]}
    stored["a"].append(3)
    assert await storage.get("plugin", "key") == {"a": [1]}


async def test_a_query_without_filters_finds_everything_in_the_namespace(
    storage: BaseStorageProvider,
) -> None:
    await storage.set("other", "key", {"kind": "value"})
    await storage.append("other", "key", {"kind": "item"})
    assert await storage.query("plugin", {}) == []
    await storage.set("plugin", "key", {"kind": "value"})
    item_id = await storage.append("plugin", "key", {"kind": "item"})
    assert await storage.query("plugin", {}) == [
        {"kind": "item", "id": item_id},
        {"kind": "value"},
    ]


async def test_a_query_gives_items_by_insertion_then_values_oldest_first(
    storage: BaseStorageProvider,
) -> None:
    for n, key in enumerate(["z", "a", "m", "a", "z"]):
        await storage.set("plugin", f"{key}{n}", {"value": n})
        await storage.append("plugin", key, {"item": n})
    found = await storage.query("plugin", {})
    assert [item.get("item") for item in found[:5]] == [0, 1, 2, 3, 4]
    assert found[5:] == [{"value": n} for n in range(5)]


async def test_a_value_set_again_after_its_deletion_is_the_newest(
    storage: BaseStorageProvider,
) -> None:
    for key in ("a", "b"):
        await storage.set("plugin", key, {"key": key})
    await storage.delete("plugin", "a")
    await storage.set("plugin", "a", {"key": "a"})
    assert await storage.query("plugin", {}) == [{"key": "b"}, {"key": "a"}]


async def test_every_filter_of_a_query_must_hold(storage: BaseStorageProvider) -> None:
    for name, size in [("x", 1), ("x", 2), ("y", 1)]:
        await storage.set("plugin", f"{name}{size}", {"name": name, "size": size})
    assert await storage.query("plugin", {"name": "x"}) == [
        {"name": "x", "size": 1},
        {"name": "x", "size": 2},
    ]
    assert await storage.query("plugin", {"size": 1, "name": "x"}) == [{"name": "x", "size": 1}]
    assert await storage.query("plugin", {"name": "y", "size": 2}) == []


async def test_a_query_can_ask_for_an_item_by_its_id(
    storage: BaseStorageProvider,
) -> None:
    first = await storage.append("plugin", "key", {"n": 1})
    second = await storage.append("plugin", "key", {"n": 2})
    await storage.set("plugin", "key", {"id": first, "n": 3})
    assert await storage.query("plugin", {"id": second}) == [{"n": 2, "id": second}]
    assert await storage.query("plugin", {"id": first}) == [
        {"n": 1, "id": first},
        {"n": 3, "id": first},
    ]
    assert await storage.query("plugin", {"id": first, "n": 3}) == [{"id": first, "n": 3}]
    assert await storage.query("plugin", {"id": int(first)}) == []
    assert await storage.query("other", {"id": first}) == []


async def test_the_null_filter_on_id_holds_for_values_without_one(
    storage: BaseStorageProvider,
) -> None:
    await storage.append("plugin", "key", {"n": 1})
    await storage.set("plugin", "key", {"n": 2})
    assert await storage.query("plugin", {"id": None}) == [{"n": 2}]


HOLDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "the same text": ({"f": "x"}, {"f": "x"}),
    "empty text": ({"f": ""}, {"f": ""}),
    "an integer and the same float": ({"f": 1}, {"f": 1.0}),
    "a float and the same integer": ({"f": 1.0}, {"f": 1}),
    "an integer and the same float inside a list": (
        {"f": [1, {"g": 2.0}]},
        {"f": [1.0, {"g": 2}]},
    ),
    "an integer beyond 64 bits": ({"f": 2**80}, {"f": 2**80}),
    "an integer no double can hold": ({"f": 2**53 + 1}, {"f": 2**53 + 1}),
    "an exponent and its digits": ({"f": 1e16}, {"f": 10**16}),
    "zero and minus zero": ({"f": 0.0}, {"f": -0.0}),
    "true": ({"f": True}, {"f": True}),
    "false": ({"f": False}, {"f": False}),
    "null": ({"f": None}, {"f": None}),
    "null and an absent field": ({"g": 1}, {"f": None}),
    "objects with keys in another order": (
        {"f": {"a": 1, "b": 2}},
        {"f": {"b": 2, "a": 1}},
    ),
    "keys in another order inside a list": (
        {"f": [{"a": 1, "b": 2}]},
        {"f": [{"b": 2, "a": 1}]},
    ),
    "an empty object": ({"f": {}}, {"f": {}}),
    "an empty list": ({"f": []}, {"f": []}),
    "a list in the same order": ({"f": [1, "2", None]}, {"f": [1, "2", None]}),
    "a list and the same tuple": ({"f": [1, 2]}, {"f": (1, 2)}),
    "the empty field name": ({"": "x"}, {"": "x"}),
    "a field name with a dot": ({"a.b": "x"}, {"a.b": "x"}),
    "a field name with a quote": ({'a"b\\': "x"}, {'a"b\\': "x"}),
    "a field name like a path": ({"$.f[0]": "x"}, {"$.f[0]": "x"}),
    "a field name with NUL": ({"a\0b": "x"}, {"a\0b": "x"}),
    "text with quotes and slashes": ({"f": "\"a\"\\/'b'"}, {"f": "\"a\"\\/'b'"}),
    "text with wildcards": ({"f": "100%_[x]*?"}, {"f": "100%_[x]*?"}),
    "text with control characters": ({"f": "\x00\x01\b\t\n\x1f\x7f\x80"},) * 2,
    "text with line separators": ({"f": "\u2028\u2029\x85"}, {"f": "\u2028\u2029\x85"}),
    "text with a lone surrogate": ({"f": "\ud800x"}, {"f": "\ud800x"}),
    "text with emoji": ({"f": "👩‍🔬 é"}, {"f": "👩‍🔬 é"}),
    "text like an escape": ({"f": "\\u00e9"}, {"f": "\\u00e9"}),
    "letters beside an integer beyond 64 bits": ({"n": 2**80, "f": "é"}, {"f": "é"}),
    "letters beside a lone surrogate": ({"n": "\ud800", "f": "é/😀"}, {"f": "é/😀"}),
    "letters above deep JSON": ({"n": nested(300), "f": "é"}, {"f": "é"}),
    "text and then any of it again": ({"f": "x", "g": {"f": "y"}}, {"f": "x"}),
    "several letters in the field name": ({"ключ é": "x"}, {"ключ é": "x"}),
    "long text": ({"f": "é" * 50_000}, {"f": "é" * 50_000}),
}

DOES_NOT_HOLD: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "another text": ({"f": "x"}, {"f": "y"}),
    "a part of the text": ({"f": "xyz"}, {"f": "y"}),
    "a wildcard": ({"f": "xyz"}, {"f": "x%"}),
    "a one-character wildcard": ({"f": "xyz"}, {"f": "x_z"}),
    "text in another case": ({"f": "x"}, {"f": "X"}),
    "text with a trailing space": ({"f": "x"}, {"f": "x "}),
    "text with an accent": ({"f": "a"}, {"f": "á"}),
    "composed and decomposed text": ({"f": "\u00e1"}, {"f": "a\u0301"}),
    "another emoji": ({"f": "😀"}, {"f": "😁"}),
    "text up to its NUL": ({"f": "x\0y"}, {"f": "x"}),
    "an escape and its character": ({"f": "\\u00e9"}, {"f": "é"}),
    "a number and its text": ({"f": 1}, {"f": "1"}),
    "text and its number": ({"f": "1"}, {"f": 1}),
    "true and one": ({"f": True}, {"f": 1}),
    "one and true": ({"f": 1}, {"f": True}),
    "one and true as floats": ({"f": 1.0}, {"f": True}),
    "false and zero": ({"f": False}, {"f": 0}),
    "true and one inside a list": ({"f": [True]}, {"f": [1]}),
    "true and one inside an object": ({"f": {"g": True}}, {"f": {"g": 1}}),
    "neighbours beyond 53 bits": ({"f": 2**53 + 1}, {"f": 2**53}),
    "neighbours beyond 64 bits": ({"f": 2**80}, {"f": 2**80 + 1}),
    "an integer and a float beside it": ({"f": 2**53 + 1}, {"f": float(2**53)}),
    "null and false": ({"f": False}, {"f": None}),
    "null and zero": ({"f": 0}, {"f": None}),
    "null and empty text": ({"f": ""}, {"f": None}),
    "null and the text null": ({"f": "null"}, {"f": None}),
    "null and a null inside": ({"f": {"f": None}}, {"f": None}),
    "an absent field": ({"g": "x"}, {"f": "x"}),
    "a field that is deeper": ({"g": {"f": "x"}}, {"f": "x"}),
    "a field deeper, then absent": ({"g": {"f": "x"}, "h": "x"}, {"f": "x"}),
    "an object that holds more": ({"f": {"a": 1, "b": 2}}, {"f": {"a": 1}}),
    "an object that holds less": ({"f": {"a": 1}}, {"f": {"a": 1, "b": 2}}),
    "an object with a null more": ({"f": {"a": 1, "b": None}}, {"f": {"a": 1}}),
    "a list in another order": ({"f": [1, 2]}, {"f": [2, 1]}),
    "a list that holds it": ({"f": ["x"]}, {"f": "x"}),
    "an empty list and an empty object": ({"f": []}, {"f": {}}),
    "a field name in another case": ({"F": "x"}, {"f": "x"}),
    "a path": ({"f": {"g": "x"}}, {"f.g": "x"}),
    "a path in SQL": ({"f": {"g": "x"}}, {"$.f.g": "x"}),
}


@pytest.mark.parametrize(("stored", "filters"), HOLDS.values(), ids=HOLDS.keys())
async def test_a_filter_holds_for(
    storage: BaseStorageProvider, stored: dict[str, Any], filters: dict[str, Any]
) -> None:
    item_id = await storage.append("plugin", "key", stored)
    await storage.set("plugin", "key", stored)
    assert await storage.query("plugin", filters) == [stored | {"id": item_id}, stored]


@pytest.mark.parametrize(("stored", "filters"), DOES_NOT_HOLD.values(), ids=DOES_NOT_HOLD.keys())
async def test_a_filter_does_not_hold_for(
    storage: BaseStorageProvider, stored: dict[str, Any], filters: dict[str, Any]
) -> None:
    await storage.append("plugin", "key", stored)
    await storage.set("plugin", "key", stored)
    assert await storage.query("plugin", filters) == []


async def test_a_value_is_stored_as_it_was_when_the_call_was_made(
    storage: BaseStorageProvider,
) -> None:
    value, item = {"state": "one"}, {"state": "one"}
    calls = [
        asyncio.create_task(storage.set("plugin", "key", value)),
        asyncio.create_task(storage.append("plugin", "list", item)),
    ]
    await asyncio.sleep(0)
    value["state"] = item["state"] = "two"
    await asyncio.gather(*calls)
    assert await storage.get("plugin", "key") == {"state": "one"}
    assert [item["state"] for item in await storage.get_list("plugin", "list")] == ["one"]
