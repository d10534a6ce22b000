"""What is written is read unchanged: text, JSON and keys, by every argument that carries one."""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from slack_agents.storage.base import BaseStorageProvider

from tests.contract.hostile import (
    BIG_INTEGERS,
    CHARACTERS,
    CONTENTS,
    DELETES,
    JSON_OBJECTS,
    KEYS,
    LONG_KEYS,
    LOOKALIKES,
    NAMES,
    NUMBERS,
    TEXTS,
    WORST_CHARACTERS,
    Carry,
    Get,
    Put,
    nested,
)
from tests.contract.samples import IMAGE, TOOL_CALL, UPLOAD, Id

CARRIERS = CONTENTS | NAMES


@pytest.mark.parametrize("carry", CARRIERS.values(), ids=CARRIERS.keys())
async def test_hostile_text_is_read_as_it_was_written(
    storage: BaseStorageProvider, carry: Carry
) -> None:
    corrupted = {text: out for text in TEXTS if (out := await carry(storage, text)) != text}
    assert corrupted == {}


@pytest.mark.parametrize("carry", NAMES.values(), ids=NAMES.keys())
async def test_a_name_of_a_thousand_characters_is_read_as_it_was_written(
    storage: BaseStorageProvider, carry: Carry
) -> None:
    corrupted = [name[:2] for name in LONG_KEYS if await carry(storage, name) != name]
    assert corrupted == []


@pytest.mark.parametrize("carry", CONTENTS.values(), ids=CONTENTS.keys())
@pytest.mark.parametrize("unit", ["0123456789abcde\n", "ünï😀 ", "NUL \0 "], ids=ascii)
async def test_three_megabytes_of_text_are_read_as_they_were_written(
    storage: BaseStorageProvider, carry: Carry, unit: str
) -> None:
    text = unit * (3_000_000 // len(unit.encode()))
    out = await carry(storage, text)
    # Not `assert out == text`: pytest would spend minutes on the difference.
    unchanged = out == text
    assert (len(out), unchanged) == (len(text), True)


@pytest.mark.parametrize("name", ["append_text_block", "append_file_block content"])
async def test_seventy_megabytes_are_read_as_they_were_written_or_the_servers_limit_is_named(
    storage: BaseStorageProvider, name: str
) -> None:
    text = "0123456789abcde\n" * (70_000_000 // 16)
    try:
        unchanged = await CONTENTS[name](storage, text) == text
    except (ValueError, ConnectionError) as refusal:
        unchanged = "larger than the server accepts" in str(refusal)
        assert await all_blocks(storage) == []
    assert unchanged
    assert await CONTENTS[name](storage, "small again") == "small again"


async def test_thirty_megabytes_are_read_as_they_were_written_or_the_servers_limit_is_named(
    storage: BaseStorageProvider, conversation_id: Id, message_id: Id
) -> None:
    data = base64.b64encode(bytes(range(250)) * 90_000).decode()
    image = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": data},
    }
    try:
        await storage.append_file_block(message_id, image, is_user=True, **IMAGE)
    except (ValueError, ConnectionError) as refusal:
        named = "larger than the server accepts" in str(refusal)
        assert named
        assert await all_blocks(storage) == []
        return
    [(_, [for_model])] = await storage.get_message_blocks(conversation_id)
    [exported] = await all_blocks(storage)
    unchanged = for_model["content"] == image, exported["content"] == image
    assert unchanged == (True, True)


async def all_blocks(storage: BaseStorageProvider) -> list[dict[str, Any]]:
    """Return the blocks of all messages of the one agent."""
    return [
        block
        for conversation in await storage.get_conversations_for_export("agent")
        for message in await storage.get_messages_with_blocks(conversation["id"])
        for block in message["blocks"]
    ]


@pytest.mark.parametrize(("put", "get"), KEYS.values(), ids=KEYS.keys())
async def test_keys_that_look_alike_are_different_keys(
    storage: BaseStorageProvider, put: Put, get: Get
) -> None:
    for number, key in enumerate(LOOKALIKES):
        assert await get(storage, key) is None, f"{key!a} was there already"
        await put(storage, key, number)
    mixed_up = {
        key: found
        for number, key in enumerate(LOOKALIKES)
        if (found := await get(storage, key)) != number
    }
    assert mixed_up == {}


@pytest.mark.parametrize(("put", "get"), KEYS.values(), ids=KEYS.keys())
async def test_keys_of_a_thousand_characters_are_different_keys(
    storage: BaseStorageProvider, put: Put, get: Get
) -> None:
    for number, key in enumerate(LONG_KEYS):
        assert await get(storage, key) is None, f"{key[:2]!a}… was there already"
        await put(storage, key, number)
    assert [await get(storage, key) for key in LONG_KEYS] == list(range(len(LONG_KEYS)))


@pytest.mark.parametrize(("put", "get"), KEYS.values(), ids=KEYS.keys())
@pytest.mark.parametrize("letter", ["k", "😀"], ids=ascii)
async def test_a_key_of_any_length_is_exact_or_refused(
    storage: BaseStorageProvider, put: Put, get: Get, letter: str
) -> None:
    one, two = letter * 20_000 + "1", letter * 20_000 + "2"
    try:
        await put(storage, one, 1)
    except ValueError:
        return
    assert await get(storage, two) is None
    await put(storage, two, 2)
    assert await get(storage, one) == 1
    assert await get(storage, two) == 2


@pytest.mark.parametrize("name", DELETES)
async def test_a_deletion_takes_the_very_key_only(storage: BaseStorageProvider, name: str) -> None:
    put, get = KEYS[name]
    delete = DELETES[name]
    keys = LOOKALIKES + LONG_KEYS
    for number, key in enumerate(keys):
        await put(storage, key, number)
    for number, key in enumerate(keys):
        await delete(storage, key)
        assert await get(storage, key) is None
        if number + 1 < len(keys):
            assert await get(storage, keys[number + 1]) == number + 1
            assert await get(storage, keys[-1]) == len(keys) - 1


def listed(value: Any) -> Any:
    """Return the value with lists in the place of tuples, as JSON has it."""
    if isinstance(value, dict):
        return {key: listed(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [listed(inner) for inner in value]
    return value


async def assert_every_call_keeps(storage: BaseStorageProvider, value: dict[str, Any]) -> None:
    """Store the object by every call that takes one, and compare types, signs and order too."""
    expected = repr(listed(value))
    await storage.set("plugin", "key", value)
    assert repr(await storage.get("plugin", "key")) == expected
    assert repr((await storage.query("plugin", {}))[-1]) == expected

    await storage.append("items", "key", value)
    item = (await storage.get_list("items", "key"))[-1]
    del item["id"]
    without_id = {key: inner for key, inner in value.items() if key != "id"}
    assert repr(item) == repr(listed(without_id))

    conversation_id = await storage.get_or_create_conversation("agent", "C1", "1.0")
    message_id = await storage.create_message(conversation_id, "U1", "Ada", "ada")
    await storage.append_tool_block(message_id, **TOOL_CALL | {"tool_input": value})
    await storage.append_file_block(message_id, value, is_user=False, **UPLOAD)
    await storage.append_file_block(message_id, value, is_user=True, **UPLOAD)
    _, (tool, file, *_) = (await storage.get_message_blocks(conversation_id))[-1]
    assert repr(tool["content"]["tool_input"]) == expected
    assert repr(file["content"]) == expected
    message = (await storage.get_messages_with_blocks(conversation_id))[-1]
    tool, _, upload = message["blocks"]
    assert repr(tool["content"]["tool_input"]) == expected
    assert repr(upload["content"]) == expected


@pytest.mark.parametrize("value", JSON_OBJECTS.values(), ids=JSON_OBJECTS.keys())
async def test_a_json_object_is_read_as_it_was_written(
    storage: BaseStorageProvider, value: dict[str, Any]
) -> None:
    await assert_every_call_keeps(storage, value)


@pytest.mark.parametrize("depth", [50, 254, 255, 400])
async def test_deep_json_is_read_as_it_was_written(
    storage: BaseStorageProvider, depth: int
) -> None:
    await assert_every_call_keeps(storage, nested(depth))


@pytest.mark.parametrize("depth", [400, 500, 700, 900, 1100])
async def test_json_that_was_accepted_can_be_read_by_every_call(
    storage: BaseStorageProvider, conversation_id: Id, message_id: Id, depth: int
) -> None:
    value = nested(depth)
    try:
        await storage.set("plugin", "key", value)
        await storage.append_tool_block(message_id, **TOOL_CALL | {"tool_input": value})
    except ValueError:
        return
    assert await storage.get("plugin", "key") == value
    assert await storage.query("plugin", {"top": value["top"]}) == [value]
    call = await storage.get_tool_call(TOOL_CALL["tool_call_id"])
    assert call is not None
    assert json.loads(call["input_json"]) == value
    [(_, [block])] = await storage.get_message_blocks(conversation_id)
    assert block["content"]["tool_input"] == value


async def test_json_deeper_than_can_be_read_back_is_a_value_error(
    storage: BaseStorageProvider,
) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        await storage.set("plugin", "key", nested(100_000))
    assert await storage.get("plugin", "key") is None


async def test_a_tuple_is_read_as_a_list(storage: BaseStorageProvider) -> None:
    await assert_every_call_keeps(storage, {"a": (1, (2.0, "3"), [(None,)], {"b": ()})})


async def test_one_container_in_two_places_is_no_cycle(storage: BaseStorageProvider) -> None:
    shared = [1, {"a": []}]
    await assert_every_call_keeps(storage, {"a": shared, "b": {"c": shared, "d": [shared]}})


async def test_two_texts_that_mark_each_other_stay_apart(
    storage: BaseStorageProvider, conversation_id: Id, message_id: Id
) -> None:
    """A text that is stored in another form must not be taken for that form."""
    texts = ["a\0b", '"a\\u0000b"', '\ufdd0"a\\u0000b"', '\ufdd0\ufdd0"a"', "\ufdd0", " {}", "{}"]
    for text in texts:
        await storage.append_text_block(message_id, text)
    [(_, blocks)] = await storage.get_message_blocks(conversation_id)
    assert [block["content"]["text"] for block in blocks] == texts


ANY_CHARACTER = (
    st.sampled_from(WORST_CHARACTERS)
    | st.sampled_from(CHARACTERS)
    | st.characters(exclude_categories=())
)
# Not `st.text`, which takes all three for one set: nearly no text would have a surrogate.
ANY_TEXT = st.lists(ANY_CHARACTER | st.sampled_from(LOOKALIKES), max_size=30).map("".join)


def json_values(integers: st.SearchStrategy[int], text: st.SearchStrategy[str]) -> Any:
    """Draw JSON of these integers and texts."""
    floats = st.floats(allow_nan=False, allow_infinity=False)
    others = st.none() | st.booleans() | st.sampled_from(NUMBERS)
    return st.recursive(
        integers | floats | others | text,
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(text, inner, max_size=5),
        max_leaves=20,
    )


# Apart, because one surrogate, big integer or deep nest may have all of a value kept another way.
ORDINARY_TEXT = st.text(max_size=30)
ORDINARY_JSON = json_values(st.integers(-(2**63), 2**63 - 1), ORDINARY_TEXT)
HOSTILE_JSON = json_values(
    st.integers() | st.integers(min_value=2**60) | st.sampled_from(BIG_INTEGERS), ANY_TEXT
)
JSON_VALUES = ORDINARY_JSON | HOSTILE_JSON
ANY_OBJECT = st.dictionaries(ORDINARY_TEXT, ORDINARY_JSON, max_size=5) | st.dictionaries(
    ANY_TEXT, HOSTILE_JSON, max_size=5
)
FEW_EXAMPLES = settings(
    max_examples=15,
    deadline=None,
    database=None,
    # The storage is shared by the examples; each overwrites what the one before has left.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
# Each makes a hundred calls. The failure names the call, so that minutes of shrinking tell no more.
FEWER_EXAMPLES = settings(FEW_EXAMPLES, max_examples=5, phases=[Phase.explicit, Phase.generate])


@FEWER_EXAMPLES
@given(texts=st.fixed_dictionaries(dict.fromkeys(CARRIERS, ANY_TEXT)))
async def test_any_text_is_read_as_it_was_written(
    storage: BaseStorageProvider, texts: dict[str, str]
) -> None:
    corrupted = {
        name: (text, out)
        for name, text in texts.items()
        if (out := await CARRIERS[name](storage, text)) != text
    }
    assert corrupted == {}


@settings(FEW_EXAMPLES, max_examples=10)
@given(value=ANY_OBJECT, depth=st.just(0) | st.integers(0, 450))
@example(value={"z": NUMBERS, "a": {"b": 1, "": 2, "a": -0.0}}, depth=0)
@example(value={"z": BIG_INTEGERS, "a": {"b": 1, "": 2, "a": -0.0}}, depth=496)
async def test_any_json_object_is_read_as_it_was_written(
    storage: BaseStorageProvider, value: dict[str, Any], depth: int
) -> None:
    await assert_every_call_keeps(storage, value | nested(depth, value))


@st.composite
def keys_of_one_difference(draw: st.DrawFn) -> tuple[str, str]:
    """Draw two keys of 1 to 5,000 characters that differ in one position."""
    unit = "".join(draw(st.lists(ANY_CHARACTER, min_size=1, max_size=20)))
    length = draw(st.integers(1, 5_000))
    key = (unit * length)[:length]
    position = draw(st.integers(0, length - 1))
    there = draw(ANY_CHARACTER.filter(lambda character: character != key[position]))
    return key, key[:position] + there + key[position + 1 :]


@pytest.fixture
def numbers() -> defaultdict[str, list[int]]:
    """The numbers that were put under each key, by all examples of a test."""
    return defaultdict(list)


@FEWER_EXAMPLES
@given(keys=keys_of_one_difference())
@example(keys=("\ud83d", "\ude00"))
@example(keys=("k" * 4_999 + "K", "k" * 5_000))
async def test_keys_that_differ_in_one_position_are_different_keys(
    storage: BaseStorageProvider, numbers: defaultdict[str, list[int]], keys: tuple[str, str]
) -> None:
    for key in keys:
        numbers[key].append(1 + sum(map(len, numbers.values())))
        for put, _ in KEYS.values():
            await put(storage, key, numbers[key][-1])

    async def mixed_up() -> dict[str, Any]:
        return {
            name: found
            for name, (_, get) in KEYS.items()
            for key in keys
            if not is_last_of(found := await get(storage, key), numbers[key])
        }

    assert await mixed_up() == {}
    one, other = keys
    for name, delete in DELETES.items():
        _, get = KEYS[name]
        await delete(storage, one)
        found = await get(storage, one), await get(storage, other)
        assert found == (None, numbers[other][-1]), name


def is_last_of(found: Any, numbers: list[int]) -> bool:
    """Tell whether what was found under a key is its last number, or a list of its numbers."""
    listed = found if isinstance(found, list) else [found]
    return listed[-1] == numbers[-1] and set(listed) <= set(numbers)


@FEW_EXAMPLES
@given(value=JSON_VALUES, other=JSON_VALUES)
async def test_a_query_finds_any_value_by_itself_and_by_no_other(
    storage: BaseStorageProvider, value: Any, other: Any
) -> None:
    await storage.set("plugin", "key", {"f": value})
    assert repr(await storage.query("plugin", {"f": value})) == repr([{"f": value}])
    assert bool(await storage.query("plugin", {"f": other})) is equal_as_json(value, other)


def equal_as_json(left: Any, right: Any) -> bool:
    """Tell whether two values are one JSON value, written anew from the contract."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(
            equal_as_json(left[key], right[key]) for key in left
        )
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(equal_as_json, left, right))
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)
