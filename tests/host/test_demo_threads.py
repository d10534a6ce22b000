"""The demo's threads: valid files, correct numbers, and histories that a model's API accepts."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

import pymupdf
import pytest
from slack_agents.conversations import ConversationManager
from slack_agents.llm import anthropic
from slack_agents.tools import file_importer

from slack_agents_sqlalchemy import Provider
from slack_agents_sqlalchemy.demo.replay import estimated_cost, replay
from slack_agents_sqlalchemy.demo.script import Thread, Upload
from slack_agents_sqlalchemy.demo.threads import MODEL, THREADS

UPLOADS = {
    upload.file.mimetype: upload
    for thread in THREADS
    for turn in thread.turns
    for upload in turn.uploads
}


async def imported(upload: Upload) -> Mapping[str, object]:
    """Return the block that the framework's own importer returns for an upload."""
    importer = file_importer.Provider([".*"])
    handlers = {mime: tool["name"] for tool in importer.tools for mime in tool["mimes"]}
    file = upload.file
    arguments = {"file_bytes": file.data, "mimetype": file.mimetype, "filename": file.filename}
    whose: Any = None  # of no use to the importer
    return await importer.call_tool(handlers[file.mimetype], arguments, whose, whose)


def test_the_image_opens_and_shows_more_than_one_colour() -> None:
    image = pymupdf.Pixmap(UPLOADS["image/png"].file.data)
    assert (image.width, image.height) == (476, 248)
    assert image.color_count() == 5


async def test_the_pdf_opens_and_has_the_text_that_the_framework_extracts_from_it() -> None:
    upload = UPLOADS["application/pdf"]
    with pymupdf.open(stream=upload.file.data) as document:
        assert document.page_count == 1
        assert not document.is_repaired
    block = await imported(upload)
    assert block["type"] == "text"
    assert str(block["text"]).split() == str(upload.extracted).split()


def test_the_tools_table_has_a_line_for_each_week() -> None:
    (file,) = [file for thread in THREADS for call in thread.tool_calls() for file in call.files]
    header, *rows = csv.reader(io.StringIO(file.data.decode("utf-8-sig")))
    assert header == ["week", "Deutschland", "France", "Nederland", "Österreich"]
    assert [row[0] for row in rows] == ["40", "41", "42", "43", "44", "45", "46"]


def test_a_turn_costs_what_the_framework_estimates() -> None:
    model = anthropic.Provider(MODEL, "dummy", max_tokens=1, max_input_tokens=1)
    for usage in (turn.usage for thread in THREADS for turn in thread.turns):
        assert estimated_cost(usage) == model.estimate_cost(
            usage.input_tokens, usage.output_tokens, usage.cache_written, usage.cache_read
        )


@pytest.mark.parametrize("thread", THREADS, ids=lambda thread: thread.title)
async def test_a_history_answers_every_tool_call_before_anything_else_is_said(
    thread: Thread,
) -> None:
    provider = Provider(url="sqlite:///:memory:")
    await provider.initialize()
    conversations = ConversationManager(provider)
    replayed = await replay(conversations, thread, "1763820000.000001")
    messages = await conversations.get_messages(replayed.conversation_id)
    await provider.close()

    roles = [message.role for message in messages]
    assert roles == ["user", "assistant"] * (len(roles) // 2)
    asked: list[str] = []
    answered: list[str] = []
    for message in messages:
        blocks = [] if isinstance(message.content, str) else message.content
        answers = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        if message.role == "user":
            assert answers == asked
        asked = [block["id"] for block in blocks if block["type"] == "tool_use"]
        answered += answers
    assert answered == list(replayed.tool_calls)
