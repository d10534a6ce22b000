"""Store a thread through the framework's conversation manager, as a running agent does."""

import base64
import hashlib
from dataclasses import dataclass

from slack_agents.conversations import ConversationManager

from slack_agents_sqlalchemy.demo.script import Thread, ToolCall, Turn, Upload, Usage
from slack_agents_sqlalchemy.demo.threads import AGENT_NAME, AGENT_VERSION, MODEL

# US dollars for a million tokens of MODEL, as in the framework's own provider. A token that is read
# from the cache costs 10 % of an input token; a token that is written to it costs 125 %.
_INPUT_PRICE, _OUTPUT_PRICE = 3.0, 15.0


@dataclass(frozen=True, slots=True)
class ReplayedThread:
    """A stored thread: its conversation, its Slack timestamp, and its tool calls by their ids."""

    thread: Thread
    conversation_id: int | str
    thread_id: str
    tool_calls: dict[str, ToolCall]


async def replay(
    conversations: ConversationManager, thread: Thread, thread_id: str
) -> ReplayedThread:
    """Store a thread by the calls of the framework's ``_run_turn``, in the same order.

    Args:
        conversations: The manager, on any storage provider.
        thread: The thread.
        thread_id: The Slack timestamp of its first message. If it is stored already, the turns are
            added to its conversation again.
    """
    tool_calls: dict[str, ToolCall] = {}
    for turn in thread.turns:
        conversation_id = await conversations.get_or_create_conversation(
            AGENT_NAME, thread.channel.id, thread_id, channel_name=thread.channel.name
        )
        history = await conversations.get_messages(conversation_id)
        message_id = await conversations.create_message(
            conversation_id,
            user_id=turn.user.id,
            user_name=turn.user.name,
            user_handle=turn.user.name,
        )
        await conversations.append_text_block(message_id, turn.text, is_user=True)
        for upload in turn.uploads:
            await _append_upload(conversations, message_id, upload)
        for position, step in enumerate(turn.steps):
            if isinstance(step, ToolCall):
                call_id = _call_id(thread_id, len(history), position)
                tool_calls[call_id] = step
                await _append_tool_call(conversations, message_id, call_id, step)
            else:
                await conversations.append_text_block(message_id, step)
        await _append_usage(conversations, message_id, turn)
    return ReplayedThread(thread, conversation_id, thread_id, tool_calls)


async def _append_upload(
    conversations: ConversationManager, message_id: int | str, upload: Upload
) -> None:
    file = upload.file
    data = base64.b64encode(file.data).decode()
    content: dict[str, object]
    if upload.extracted is None:
        source = {"type": "base64", "media_type": file.mimetype, "data": data}
        content = {"type": "image", "source": source}
    else:
        content = {"data": data, "filename": file.filename, "mimeType": file.mimetype}
    file_id = await conversations.append_file_block(
        message_id,
        content,
        is_user=True,
        filename=file.filename,
        mimetype=file.mimetype,
        size_bytes=len(file.data),
    )
    if upload.extracted is not None:
        await conversations.append_text_block(
            message_id, upload.extracted, is_user=True, source_file_id=file_id
        )


async def _append_tool_call(
    conversations: ConversationManager,
    message_id: int | str,
    call_id: str,
    call: ToolCall,
) -> None:
    tool_block_id = await conversations.append_tool_block(
        message_id,
        tool_call_id=call_id,
        tool_name=call.name,
        tool_input=call.input,
        tool_output=call.output,
        is_error=call.is_error,
    )
    for file in call.files:
        await conversations.append_file_block(
            message_id,
            {
                "filename": file.filename,
                "data": base64.b64encode(file.data).decode(),
                "mimeType": file.mimetype,
            },
            is_user=False,
            filename=file.filename,
            mimetype=file.mimetype,
            size_bytes=len(file.data),
            tool_block_id=tool_block_id,
        )


async def _append_usage(
    conversations: ConversationManager, message_id: int | str, turn: Turn
) -> None:
    usage = turn.usage
    await conversations.append_usage_block(
        message_id,
        model=MODEL,
        version=AGENT_VERSION,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_creation_input_tokens=usage.cache_written,
        cache_read_input_tokens=usage.cache_read,
        peak_single_call_input_tokens=usage.peak,
        estimated_cost_usd=estimated_cost(usage),
    )


def estimated_cost(usage: Usage) -> float:
    """Return the cost of a turn's tokens, in US dollars."""
    return (
        usage.input_tokens * _INPUT_PRICE
        + usage.cache_written * _INPUT_PRICE * 1.25
        + usage.cache_read * _INPUT_PRICE * 0.1
        + usage.output_tokens * _OUTPUT_PRICE
    ) / 1_000_000


def _call_id(thread_id: str, history_length: int, position: int) -> str:
    """Return a tool call's id, in the model's format and unique for each call of each run."""
    call = f"{thread_id}/{history_length}/{position}".encode()
    return "toolu_01" + hashlib.sha256(call).hexdigest()[:22]
