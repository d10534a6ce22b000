"""Messages and their blocks: what the model sees again, and what an operator sees."""

from __future__ import annotations

import json
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from slack_agents.storage.base import BaseStorageProvider

from tests.contract.samples import (
    IMAGE,
    IMAGE_CONTENT,
    PDF,
    PDF_CONTENT,
    TOOL_CALL,
    UPLOAD,
    USAGE,
    Id,
)


async def blocks_for_the_model(storage: BaseStorageProvider, conversation_id: Id) -> list[Any]:
    """Return the blocks of the conversation's only message, as the model will see them."""
    [(_, blocks)] = await storage.get_message_blocks(conversation_id)
    return blocks


async def blocks_for_export(storage: BaseStorageProvider, conversation_id: Id) -> list[Any]:
    """Return the blocks of the conversation's only message, as an operator will see them."""
    [message] = await storage.get_messages_with_blocks(conversation_id)
    blocks: list[Any] = message["blocks"]
    return blocks


async def test_a_conversation_without_messages_has_none(
    storage: BaseStorageProvider, conversation_id: Id
) -> None:
    assert await storage.get_message_blocks(conversation_id) == []
    assert await storage.get_messages_with_blocks(conversation_id) == []


async def test_a_message_without_blocks_has_an_empty_list(
    storage: BaseStorageProvider, conversation_id: Id, message_id: Id
) -> None:
    assert await storage.get_message_blocks(conversation_id) == [(message_id, [])]
    [message] = await storage.get_messages_with_blocks(conversation_id)
    assert message["blocks"] == []


async def test_a_message_tells_who_wrote_it_and_when(
    storage: BaseStorageProvider, conversation_id: Id
) -> None:
    before = datetime.now(UTC)
    message_id = await storage.create_message(conversation_id, "U1", "Ada Lovelace", "ada")
    after = datetime.now(UTC)
    [message] = await storage.get_messages_with_blocks(conversation_id)
    created_at = message.pop("created_at")
    assert message == {
        "id": message_id,
        "user_id": "U1",
        "user_name": "Ada Lovelace",
        "user_handle": "ada",
        "blocks": [],
    }
    # A server on another machine may keep another time.
    allowance = timedelta(seconds=2)
    assert before - allowance <= created_at <= after + allowance


async def test_times_are_aware_utc_with_microseconds(
    storage: BaseStorageProvider, conversation_id: Id
) -> None:
    for _ in range(5):
        message_id = await storage.create_message(conversation_id, "U1", "Ada", "ada")
        await storage.append_text_block(message_id, "Hello", is_user=True)
        await storage.append_file_block(message_id, PDF_CONTENT, is_user=True, **UPLOAD)
        await storage.append_tool_block(message_id, **TOOL_CALL)
        await storage.append_usage_block(message_id, **USAGE)
    messages = await storage.get_messages_with_blocks(conversation_id)
    of_blocks = [block["created_at"] for message in messages for block in message["blocks"]]
    of_messages = [message["created_at"] for message in messages]
    for times in (of_messages, of_blocks):
        assert all(type(time) is datetime for time in times)
        assert all(time.utcoffset() == timedelta(0) for time in times)
        assert any(time.microsecond % 1000 for time in times)
        assert times == sorted(times)


async def test_messages_are_in_order_of_creation(
    storage: BaseStorageProvider, conversation_id: Id
) -> None:
    ids = [await storage.create_message(conversation_id, "U1", "Ada", "ada") for _ in range(50)]
    assert len(set(ids)) == 50
    assert [id_ for id_, _ in await storage.get_message_blocks(conversation_id)] == ids
    assert [
        message["id"] for message in await storage.get_messages_with_blocks(conversation_id)
    ] == ids


async def test_conversations_do_not_see_each_others_messages(
    storage: BaseStorageProvider, conversation_id: Id, message_id: Id
) -> None:
    other = await storage.get_or_create_conversation("agent", "C1", "2.0")
    other_message = await storage.create_message(other, "U2", "Bob", "bob")
    await storage.append_text_block(message_id, "here")
    await storage.append_text_block(other_message, "there")
    text = {"block_type": "text"}
    assert await storage.get_message_blocks(conversation_id) == [
        (message_id, [text | {"content": {"text": "here"}}])
    ]
    assert await storage.get_message_blocks(other) == [
        (other_message, [text | {"content": {"text": "there"}}])
    ]
    [message] = await storage.get_messages_with_blocks(other)
    assert message["id"] == other_message
    assert [block["content"] for block in message["blocks"]] == [{"text": "there"}]


async def test_the_model_sees_blocks_of_every_kind_but_usage_in_order_of_insertion(
    storage: BaseStorageProvider, conversation_id: Id, message_id: Id
) -> None:
    await storage.append_text_block(message_id, "What is this?", is_user=True)
    await storage.append_file_block(message_id, IMAGE_CONTENT, is_user=True, **IMAGE)
    await storage.append_text_block(message_id, "Let me look.")
    await storage.append_usage_block(message_id, **USAGE)
    await storage.append_tool_block(message_id, **TOOL_CALL)
    await storage.append_file_block(message_id, PDF_CONTENT, is_user=False, **UPLOAD)
    await storage.append_text_block(message_id, "A chart.")
    assert await storage.get_message_blocks(conversation_id) == [
        (
            message_id,
            [
                {"block_type": "user_text", "content": {"text": "What is this?"}},
                {"block_type": "user_file", "content": IMAGE_CONTENT},
                {"block_type": "text", "content": {"text": "Let me look."}},
                {"block_type": "tool_use", "content": TOOL_CALL},
                {"block_type": "file", "content": PDF_CONTENT},
                {"block_type": "text", "content": {"text": "A chart."}},
            ],
        )
    ]


async def test_many_blocks_stay_in_order_of_insertion_within_their_message(
    storage: BaseStorageProvider, conversation_id: Id
) -> None:
    first = await storage.create_message(conversation_id, "U1", "Ada", "ada")
    second = await storage.create_message(conversation_id, "U1", "Ada", "ada")
    for n in range(60):
        await storage.append_text_block(second if n % 3 else first, str(n))
    seen = {
        message_id: [int(block["content"]["text"]) for block in blocks]
        for message_id, blocks in await storage.get_message_blocks(conversation_id)
    }
    assert list(seen) == [first, second]
    assert seen[first] == [n for n in range(60) if n % 3 == 0]
    assert seen[second] == [n for n in range(60) if n % 3]
    exported = await storage.get_messages_with_blocks(conversation_id)
    assert {
        message["id"]: [int(block["content"]["text"]) for block in message["blocks"]]
        for message in exported
    } == seen


@pytest.mark.parametrize(
    "content",
    [
        PDF_CONTENT,
        {"type": "document", "source": {"type": "base64", "data": PDF}},
        {"type": "Image", "data": PDF},
        {"type": ["image"], "data": PDF},
        {"content": {"type": "image"}},
        {},
    ],
    ids=[
        "raw bytes",
        "document",
        "type in another case",
        "type in a list",
        "type deeper",
        "empty",
    ],
)
async def test_the_model_does_not_see_uploads_that_are_no_image(
    storage: BaseStorageProvider,
    conversation_id: Id,
    message_id: Id,
    content: dict[str, Any],
) -> None:
    file_id = await storage.append_file_block(message_id, content, is_user=True, **UPLOAD)
    await storage.append_text_block(message_id, "extracted", is_user=True, source_file_id=file_id)
    assert await blocks_for_the_model(storage, conversation_id) == [
        {"block_type": "user_text", "content": {"text": "extracted"}}
    ]
    exported = await blocks_for_export(storage, conversation_id)
    assert [block["content"] for block in exported] == [content, {"text": "extracted"}]


async def test_a_message_of_only_an_upload_is_there_without_blocks(
    storage: BaseStorageProvider, conversation_id: Id, message_id: Id
) -> None:
    await storage.append_file_block(message_id, PDF_CONTENT, is_user=True, **UPLOAD)
    await storage.append_usage_block(message_id, **USAGE)
    assert await storage.get_message_blocks(conversation_id) == [(message_id, [])]


async def test_the_content_of_an_image_decides_and_not_its_mime_type(
    storage: BaseStorageProvider, conversation_id: Id, message_id: Id
) -> None:
    await storage.append_file_block(message_id, IMAGE_CONTENT, is_user=True, **UPLOAD)
    await storage.append_file_block(message_id, PDF_CONTENT, is_user=True, **IMAGE)
    assert await blocks_for_the_model(storage, conversation_id) == [
        {"block_type": "user_file", "content": IMAGE_CONTENT}
    ]


async def test_an_export_shows_a_text_with_its_source(
    storage: BaseStorageProvider, conversation_id: Id, message_id: Id
) -> None:
    file_id = await storage.append_file_block(message_id, PDF_CONTENT, is_user=True, **UPLOAD)
    await storage.append_text_block(message_id, "from it", is_user=True, source_file_id=file_id)
    await storage.append_text_block(message_id, "from nothing", is_user=True)
    await storage.append_text_block(message_id, "answer")
    file, *texts = await blocks_for_export(storage, conversation_id)
    assert file["id"] == file_id
    assert type(file["id"]) is type(file_id)
    keys = {"id", "block_type", "content", "created_at", "source_file_id"}
    assert all(set(text) == keys for text in texts)
    shown = [(text["block_type"], text["content"], text["source_file_id"]) for text in texts]
    assert shown == [
        ("user_text", {"text": "from it"}, file_id),
        ("user_text", {"text": "from nothing"}, None),
        ("text", {"text": "answer"}, None),
    ]


async def test_an_export_shows_an_upload_with_its_name_and_size(
    storage: BaseStorageProvider, conversation_id: Id, message_id: Id
) -> None:
    content = {"data": PDF}
    file_id = await storage.append_file_block(
        message_id,
        content,
        is_user=True,
        filename="report.pdf",
        mimetype="application/pdf",
        size_bytes=2**40,
    )
    [block] = await blocks_for_export(storage, conversation_id)
    del block["created_at"]
    assert block == {
        "id": file_id,
        "block_type": "user_file",
        "content": content,
        "filename": "report.pdf",
        "size_bytes": 2**40,
    }


async def test_an_export_shows_an_empty_name_and_size_of_a_file(
    storage: BaseStorageProvider, conversation_id: Id, message_id: Id
) -> None:
    await storage.append_file_block(
        message_id, {"data": ""}, is_user=True, filename="", mimetype="", size_bytes=0
    )
    [block] = await blocks_for_export(storage, conversation_id)
    assert block["filename"] == ""
    assert block["size_bytes"] == 0


async def test_an_export_fills_in_the_name_and_mime_type_of_a_tools_file(
    storage: BaseStorageProvider, conversation_id: Id, message_id: Id
) -> None:
    tool_id = await storage.append_tool_block(message_id, **TOOL_CALL)
    named = {"data": "x", "filename": "mine.bin", "mimeType": "mine/type"}
    for content in ({"data": "x"}, {"data": "x", "filename": "mine.bin"}, named):
        await storage.append_file_block(
            message_id,
            content,
            is_user=False,
            filename="result.csv",
            mimetype="text/csv",
            size_bytes=1,
            tool_block_id=tool_id,
        )
    _, *files = await blocks_for_export(storage, conversation_id)
    assert [file["content"] for file in files] == [
        {"data": "x", "filename": "result.csv", "mimeType": "text/csv"},
        {"data": "x", "filename": "mine.bin", "mimeType": "text/csv"},
        named,
    ]
    assert [file["filename"] for file in files] == ["result.csv"] * 3
    keys = {"id", "block_type", "content", "created_at", "filename", "size_bytes"}
    assert all(set(file) == keys for file in files)


async def test_the_model_sees_a_tools_file_as_it_was_stored(
    storage: BaseStorageProvider, conversation_id: Id, message_id: Id
) -> None:
    await storage.append_file_block(message_id, {"data": "x"}, is_user=False, **UPLOAD)
    assert await blocks_for_the_model(storage, conversation_id) == [
        {"block_type": "file", "content": {"data": "x"}}
    ]


async def test_an_export_does_not_fill_in_the_content_of_an_upload(
    storage: BaseStorageProvider, conversation_id: Id, message_id: Id
) -> None:
    await storage.append_file_block(message_id, {"data": "x"}, is_user=True, **UPLOAD)
    [block] = await blocks_for_export(storage, conversation_id)
    assert block["content"] == {"data": "x"}


@pytest.mark.parametrize("is_error", [True, False])
async def test_an_export_shows_a_tool_call(
    storage: BaseStorageProvider, conversation_id: Id, message_id: Id, is_error: bool
) -> None:
    call = TOOL_CALL | {"is_error": is_error}
    tool_id = await storage.append_tool_block(message_id, **call)
    [block] = await blocks_for_export(storage, conversation_id)
    del block["created_at"]
    assert block == {"id": tool_id, "block_type": "tool_use", "content": call}
    assert block["content"]["is_error"] is is_error


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"estimated_cost_usd": None},
        {"estimated_cost_usd": 0.0},
        {"estimated_cost_usd": 0.1 + 0.2},
        {"estimated_cost_usd": 1e-9},
        {"input_tokens": 2**40, "peak_single_call_input_tokens": 2**31},
        {"input_tokens": 0, "output_tokens": 0},
        {"model": "", "version": ""},
    ],
    ids=[
        "plain",
        "no cost",
        "free",
        "sum",
        "tiny cost",
        "beyond 32 bits",
        "zero",
        "empty names",
    ],
)
async def test_an_export_shows_the_very_usage_that_was_stored(
    storage: BaseStorageProvider,
    conversation_id: Id,
    message_id: Id,
    changes: dict[str, Any],
) -> None:
    usage = USAGE | changes
    await storage.append_usage_block(message_id, **usage)
    [block] = await blocks_for_export(storage, conversation_id)
    assert set(block) == {"id", "block_type", "content", "created_at"}
    assert block["block_type"] == "usage"
    assert block["content"] == usage
    assert {name: type(value) for name, value in block["content"].items()} == {
        name: type(value) for name, value in usage.items()
    }


async def test_an_export_shows_every_block_under_its_own_id(
    storage: BaseStorageProvider, conversation_id: Id, message_id: Id
) -> None:
    await storage.append_text_block(message_id, "one")
    file_id = await storage.append_file_block(message_id, {}, is_user=False, **UPLOAD)
    tool_id = await storage.append_tool_block(message_id, **TOOL_CALL)
    await storage.append_usage_block(message_id, **USAGE)
    blocks = await blocks_for_export(storage, conversation_id)
    assert [block["block_type"] for block in blocks] == [
        "text",
        "file",
        "tool_use",
        "usage",
    ]
    assert [block["id"] for block in blocks[1:3]] == [file_id, tool_id]
    assert len({block["id"] for block in blocks}) == 4


async def test_appending_text_and_usage_returns_nothing(
    storage: BaseStorageProvider, message_id: Id
) -> None:
    calls: list[Awaitable[object]] = [
        storage.append_text_block(message_id, "x"),
        storage.append_usage_block(message_id, **USAGE),
    ]
    assert [await call for call in calls] == [None, None]


async def test_content_is_stored_as_it_was_when_it_was_appended(
    storage: BaseStorageProvider, conversation_id: Id, message_id: Id
) -> None:
    content: dict[str, Any] = {"data": "x", "pages": [1]}
    await storage.append_file_block(message_id, content, is_user=False, **UPLOAD)
    content["pages"].append(2)
    assert (await blocks_for_the_model(storage, conversation_id))[0]["content"] == {
        "data": "x",
        "pages": [1],
    }


async def test_ids_are_taken_as_decimal_text_by_every_call(
    storage: BaseStorageProvider, conversation_id: Id
) -> None:
    as_text = str(conversation_id)
    message_id = await storage.create_message(as_text, "U1", "Ada", "ada")
    of_message = str(message_id)
    file_id = await storage.append_file_block(of_message, {"data": "x"}, is_user=True, **UPLOAD)
    tool_id = await storage.append_tool_block(of_message, **TOOL_CALL)
    await storage.append_text_block(of_message, "text", source_file_id=str(file_id))
    await storage.append_file_block(
        of_message, {"data": "y"}, is_user=False, **UPLOAD, tool_block_id=str(tool_id)
    )
    await storage.append_usage_block(of_message, **USAGE)
    messages = await storage.get_messages_with_blocks(as_text)
    assert messages == await storage.get_messages_with_blocks(int(conversation_id))
    [message] = messages
    assert message["id"] == message_id
    assert [block["block_type"] for block in message["blocks"]] == [
        "user_file",
        "tool_use",
        "text",
        "file",
        "usage",
    ]
    assert message["blocks"][2]["source_file_id"] == message["blocks"][0]["id"] == file_id
    assert await storage.get_message_blocks(as_text) == await storage.get_message_blocks(
        int(conversation_id)
    )


async def test_ids_are_taken_as_integers_by_every_call(
    storage: BaseStorageProvider, conversation_id: Id
) -> None:
    message_id = await storage.create_message(int(conversation_id), "U1", "Ada", "ada")
    of_message = int(message_id)
    file_id = await storage.append_file_block(of_message, {"data": "x"}, is_user=True, **UPLOAD)
    tool_id = await storage.append_tool_block(of_message, **TOOL_CALL)
    await storage.append_text_block(of_message, "text", source_file_id=int(file_id))
    await storage.append_file_block(
        of_message, {"data": "y"}, is_user=False, **UPLOAD, tool_block_id=int(tool_id)
    )
    await storage.append_usage_block(of_message, **USAGE)
    assert len(await blocks_for_export(storage, int(conversation_id))) == 5
    assert len(await blocks_for_the_model(storage, int(conversation_id))) == 3


async def test_a_tool_call_is_found_by_its_id(storage: BaseStorageProvider, message_id: Id) -> None:
    await storage.append_tool_block(message_id, **TOOL_CALL)
    await storage.append_tool_block(message_id, **TOOL_CALL | {"tool_call_id": "toolu_02"})
    assert await storage.get_tool_call("toolu_01") == {
        "tool_name": "search",
        "input_json": '{\n  "query": "weather in Zürich",\n  "limit": 3\n}',
        "output_json": '{"results": ["sunny"]}',
        "is_error": False,
    }


async def test_a_tool_call_with_an_error_says_so(
    storage: BaseStorageProvider, message_id: Id
) -> None:
    await storage.append_tool_block(message_id, **TOOL_CALL | {"is_error": True})
    call = await storage.get_tool_call("toolu_01")
    assert call is not None
    assert call["is_error"] is True


async def test_an_unknown_tool_call_is_none(storage: BaseStorageProvider, message_id: Id) -> None:
    await storage.append_tool_block(message_id, **TOOL_CALL)
    assert await storage.get_tool_call("toolu_0") is None
    assert await storage.get_tool_call("TOOLU_01") is None
    assert await storage.get_tool_call("") is None


async def test_the_newest_of_several_tool_calls_with_one_id_is_found(
    storage: BaseStorageProvider, message_id: Id
) -> None:
    other = await storage.get_or_create_conversation("other", "C9", "9.0")
    other_message = await storage.create_message(other, "U2", "Bob", "bob")
    for n, target in enumerate([message_id, other_message, message_id]):
        await storage.append_tool_block(target, **TOOL_CALL | {"tool_output": str(n)})
        call = await storage.get_tool_call("toolu_01")
        assert call is not None
        assert call["output_json"] == str(n)


@pytest.mark.parametrize(
    "tool_input",
    [
        {},
        {"b": {"z": [], "a": {}}, "a": [1, {"x": None}, [True, False]]},
        {"text": "Ünïcödé 日本語 😀 \u2028 /"},
        {"text": 'quote " slash \\ newline \n tab \t'},
        {"n": [0, -1, 2**80, 0.5, -2.25]},
    ],
    ids=["empty", "nested", "letters", "escapes", "numbers"],
)
async def test_the_input_of_a_tool_call_is_readable_and_indented(
    storage: BaseStorageProvider, message_id: Id, tool_input: dict[str, Any]
) -> None:
    await storage.append_tool_block(message_id, **TOOL_CALL | {"tool_input": tool_input})
    call = await storage.get_tool_call("toolu_01")
    assert call is not None
    assert call["input_json"] == json.dumps(tool_input, indent=2, ensure_ascii=False)


TOOL_INPUTS: dict[str, Any] = {
    "null": None,
    "true": True,
    "false": False,
    "zero": 0,
    "number": -2.5,
    "big number": 2**80,
    "small number": 1e-300,
    "empty text": "",
    "text": "Ünïcödé 😀",
    "text that looks like JSON": '{"a": 1}',
    "text that no database holds": "\0 \ud800 \ufdd0",
    "empty list": [],
    "list": [None, 1, "x", {"b": 1, "a": [2**80]}],
    "list of lists": [[], [[]]],
}


@pytest.mark.parametrize("tool_input", TOOL_INPUTS.values(), ids=TOOL_INPUTS.keys())
async def test_the_input_of_a_tool_call_is_any_json_value_that_the_model_wrote(
    storage: BaseStorageProvider, conversation_id: Id, message_id: Id, tool_input: Any
) -> None:
    for _ in range(3):
        await storage.append_tool_block(message_id, **TOOL_CALL | {"tool_input": tool_input})
    for view in (blocks_for_the_model, blocks_for_export):
        got = [block["content"]["tool_input"] for block in await view(storage, conversation_id)]
        assert repr(got) == repr([tool_input] * 3)
    call = await storage.get_tool_call("toolu_01")
    assert call is not None
    assert call["input_json"] == json.dumps(tool_input, indent=2, ensure_ascii=False)


@pytest.mark.parametrize("output", ["", "no JSON", '{ "a":1,"a" : 2}', "null", "ü\n😀"])
async def test_the_output_of_a_tool_call_is_the_stored_text(
    storage: BaseStorageProvider, message_id: Id, output: str
) -> None:
    await storage.append_tool_block(message_id, **TOOL_CALL | {"tool_output": output})
    call = await storage.get_tool_call("toolu_01")
    assert call is not None
    assert call["output_json"] == output
