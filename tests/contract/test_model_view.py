"""A whole thread, as the framework's `ConversationManager` passes it to the model again."""

from __future__ import annotations

from slack_agents.conversations import ConversationManager
from slack_agents.llm.base import Message
from slack_agents.storage.base import BaseStorageProvider

from tests.contract.samples import IMAGE, IMAGE_CONTENT, PDF_CONTENT, UPLOAD, USAGE, Id


async def write_thread(conversations: ConversationManager) -> Id:
    """Write three messages as the framework's agent writes them; return the conversation's id."""
    conversation_id = await conversations.get_or_create_conversation(
        "agent", "C1", "1700000000.000100", "general"
    )

    question = await conversations.create_message(conversation_id, "U1", "Ada", "ada")
    await conversations.append_text_block(question, "Sales per month?", is_user=True)
    await conversations.append_text_block(question, "I will ask the database.")
    await conversations.append_tool_block(
        question,
        tool_call_id="toolu_01",
        tool_name="sql",
        tool_input={"query": "SELEC 1"},
        tool_output="syntax error",
        is_error=True,
    )
    await conversations.append_text_block(question, "Once more.")
    for number in ("02", "03"):
        tool_id = await conversations.append_tool_block(
            question,
            tool_call_id=f"toolu_{number}",
            tool_name="sql",
            tool_input={"query": "SELECT 1", "part": number},
            tool_output="1",
            is_error=False,
        )
    await conversations.append_file_block(
        question,
        {"filename": "sales.csv", "data": "bW9udGg=", "mimeType": "text/csv"},
        is_user=False,
        filename="sales.csv",
        mimetype="text/csv",
        size_bytes=5,
        tool_block_id=tool_id,
    )
    await conversations.append_text_block(question, "Here they are.")
    await conversations.append_usage_block(question, **USAGE)

    upload = await conversations.create_message(conversation_id, "U2", "Bob", "bob")
    await conversations.append_text_block(upload, "Compare these.", is_user=True)
    await conversations.append_file_block(upload, IMAGE_CONTENT, is_user=True, **IMAGE)
    file_id = await conversations.append_file_block(upload, PDF_CONTENT, is_user=True, **UPLOAD)
    await conversations.append_text_block(
        upload, "[report.pdf] Sales fell.", is_user=True, source_file_id=file_id
    )
    await conversations.append_text_block(upload, "They agree.")
    await conversations.append_usage_block(upload, **USAGE | {"estimated_cost_usd": None})

    await conversations.create_message(conversation_id, "U1", "Ada", "ada")
    return conversation_id


async def test_the_model_sees_the_thread_again_as_it_was(
    storage: BaseStorageProvider,
) -> None:
    conversations = ConversationManager(storage)
    conversation_id = await write_thread(conversations)
    assert await conversations.get_messages(conversation_id) == [
        Message(role="user", content="Sales per month?"),
        Message(
            role="assistant",
            content=[
                {"type": "text", "text": "I will ask the database."},
                {
                    "type": "tool_use",
                    "id": "toolu_01",
                    "name": "sql",
                    "input": {"query": "SELEC 1"},
                },
            ],
        ),
        Message(
            role="user",
            content=[
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_01",
                    "content": "syntax error",
                    "is_error": True,
                }
            ],
        ),
        Message(
            role="assistant",
            content=[
                {"type": "text", "text": "Once more."},
                *(
                    {
                        "type": "tool_use",
                        "id": f"toolu_{number}",
                        "name": "sql",
                        "input": {"query": "SELECT 1", "part": number},
                    }
                    for number in ("02", "03")
                ),
            ],
        ),
        Message(
            role="user",
            content=[
                {"type": "tool_result", "tool_use_id": "toolu_02", "content": "1"},
                {"type": "tool_result", "tool_use_id": "toolu_03", "content": "1"},
            ],
        ),
        # The framework starts a new iteration only at a text that follows a tool call directly,
        # and it does not show the tool's file to the model.
        Message(role="assistant", content=[{"type": "text", "text": "Here they are."}]),
        Message(
            role="user",
            content=[
                {"type": "text", "text": "Compare these."},
                IMAGE_CONTENT,
                {"type": "text", "text": "[report.pdf] Sales fell."},
            ],
        ),
        Message(role="assistant", content=[{"type": "text", "text": "They agree."}]),
    ]


async def test_the_operator_sees_the_whole_thread(storage: BaseStorageProvider) -> None:
    conversations = ConversationManager(storage)
    conversation_id = await write_thread(conversations)
    first, second, third = await conversations.get_messages_with_blocks(conversation_id)
    assert [message["user_handle"] for message in (first, second, third)] == [
        "ada",
        "bob",
        "ada",
    ]
    assert [block["block_type"] for block in first["blocks"]] == [
        "user_text",
        "text",
        "tool_use",
        "text",
        "tool_use",
        "tool_use",
        "file",
        "text",
        "usage",
    ]
    assert [block["block_type"] for block in second["blocks"]] == [
        "user_text",
        "user_file",
        "user_file",
        "user_text",
        "text",
        "usage",
    ]
    assert second["blocks"][2]["content"] == PDF_CONTENT
    assert second["blocks"][3]["source_file_id"] == second["blocks"][2]["id"]
    assert third["blocks"] == []
