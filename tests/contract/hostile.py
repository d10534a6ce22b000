"""Text and JSON that databases corrupt, and the calls that store and return text."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from slack_agents.storage.base import BaseStorageProvider

from tests.contract.samples import TOOL_CALL, UPLOAD, USAGE, oauth_client, oauth_token

TEXTS = [
    "",
    " ",
    "  both ends  ",
    "\n",
    "\r\n line ends \r",
    "\t",
    "\0",
    "NUL in\0side",
    "NUL at the end\0",
    "".join(map(chr, range(32))),
    "\x7f\x80\x85\x9f",
    "\ud800",
    "high \ud83d alone",
    "low \ude00 alone",
    "\ude00\ud83d in the wrong order",
    "\ud83d\ude00 in the right order",
    "\0 and \ud800 together",
    "😀",
    "👩‍🔬👨‍👩‍👧‍👦🇨🇭",
    "á composed",
    "a\u0301 decomposed",
    "\u2028\u2029",
    "\ufeffbyte order mark",
    "\ufffe\uffff\ufdd0 noncharacters",
    "\ufdd0noncharacter first",
    '\ufdd0"text"',
    "\ufdd0d83d and \ufdd0fdd0",
    "\U0010ffff",
    "\u202eright to left\u202c",
    "שלום مرحبا",
    "'; DROP TABLE slack_agents_messages; --",
    "back\\slash \\u0000 \\0 \\x00 \\",
    "\"quotes\" 'quotes' `quotes`",
    "100%_*?[a-z]",
    ":name %(name)s %s $1 ? {0} {name}",
    "null",
    "NULL",
    "true",
    "0",
    "007",
    "1.0",
    "1e3",
    "{}",
    '{"a": 1}',
    "[]",
    '"text"',
]

#: Keys that a collation, a trim, a number type or a normal form would take for one another.
LOOKALIKES = [
    "a",
    "A",
    "\u00e1",
    "a\u0301",
    "\u00c1",
    "a ",
    "a  ",
    " a",
    "a\t",
    "a\n",
    "a\0",
    "a\u00a0",
    "a\u200b",
    "a\u00ad",
    "\ufeffa",
    "\uff41",
    "\u0430",
    "\u00aa",
    "\u00e4",
    "ae",
    "\u00e6",
    "ss",
    "\u00df",
    "\u1e9e",
    "i",
    "I",
    "\u0130",
    "\u0131",
    "fi",
    "\ufb01",
    "\u212b",
    "\u00c5",
    "A\u030a",
    "😀",
    "😁",
    "\ud83d",
    "\ude00",
    "\ufffd",
    "?",
    "",
    " ",
    "\0",
    "0",
    "00",
    "0.0",
    "-0",
    "1",
    "01",
    "1.0",
    "1e0",
    "null",
    "NULL",
]

#: Keys of 1,000 characters, which differ at their ends only.
LONG_KEYS = [
    "k" * 1000,
    "k" * 999 + "K",
    "k" * 999,
    "é" * 1000,
    "é" * 999 + "e",
    "😀" * 1000,
    "😀" * 999 + "😁",
    "\U0010ffff" * 1000,
    ("/" + "x" * 9) * 100,
    "k" * 999 + "\0",
]

JSON_OBJECTS: dict[str, dict[str, Any]] = {
    "empty": {},
    "order of keys": {"b": 1, "a": {"z": 1, "y": 2, "10": 3, "9": 4}, "": 5},
    "keys that look alike": dict.fromkeys(LOOKALIKES, 1),
    "hostile texts": {"texts": TEXTS},
    "hostile keys": {text: text for text in TEXTS},
    "constants": {"a": None, "b": True, "c": False, "d": [None, True, False]},
    "numbers by type": {"a": [0, 0.0, -0.0, 1, 1.0, True, False]},
    "integers of 64 bits": {"a": [2**31, 2**32, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), 2**64 - 1]},
    "integers beyond 64 bits": {"a": [2**63, 2**64, -(2**63) - 1, 10**300, -(7**500)]},
    "floats": {"a": [0.1, 0.1 + 0.2, 1e16, 1e22, 1e23, 123456789012345680.0, 1 / 3, -1e-7]},
    "floats at the ends": {"a": [5e-324, 2.2250738585072014e-308, 1.7976931348623157e308]},
    "empty containers": {"a": [[], {}, [[]], [{}], {"": {}}]},
    "a long list": {"a": list(range(10_000))},
    "many keys": {f"key-{number}": number for number in range(2_000)},
    "text like an escape": {"a": "\\u0000 \\ud800 \\n", "\\u0061": 1},
}


#: What databases refuse, cut off or replace, and what marks it where it is stored otherwise.
WORST_CHARACTERS = "\0\ud83d\ude00\ufdd0"

#: The characters of all the above, for texts and keys that Hypothesis makes.
CHARACTERS = sorted(set("".join(TEXTS + LOOKALIKES)))

#: Numbers that JSON libraries corrupt by their sign, exponent or last digit.
NUMBERS = [-0.0, 1e16, 1e22, 5e-324, 2**53 + 1, 2**63 - 1, -(2**63)]

#: Integers that JSON libraries refuse, or read as floats.
BIG_INTEGERS = [2**64, -(2**63) - 1, 10**300]


def nested(depth: int, bottom: Any = "bottom") -> dict[str, Any]:
    """Return an object inside lists inside objects, this many levels deep."""
    value = bottom
    for level in range(depth):
        value = {"down": value} if level % 2 == depth % 2 else [value]
    return {"top": value}


type Carry = Callable[[BaseStorageProvider, str], Awaitable[Any]]


async def _only_message(storage: BaseStorageProvider, *thread: str) -> tuple[Any, Any]:
    conversation_id = await storage.get_or_create_conversation(*thread)
    message_id = await storage.create_message(conversation_id, "U1", "Ada", "ada")
    return conversation_id, message_id


_threads = iter(range(10**9))


async def _new_message(storage: BaseStorageProvider) -> tuple[Any, Any]:
    return await _only_message(storage, "agent", "C1", f"thread {next(_threads)}")


async def _value(storage: BaseStorageProvider, text: str) -> Any:
    await storage.set("plugin", "key", {"text": text})
    stored = await storage.get("plugin", "key")
    return stored and stored["text"]


async def _item(storage: BaseStorageProvider, text: str) -> Any:
    await storage.append("plugin", "key", {"text": text})
    return (await storage.get_list("plugin", "key"))[-1]["text"]


async def _channel_name(storage: BaseStorageProvider, text: str) -> Any:
    conversation_id = await storage.get_or_create_conversation("agent", "C1", text, text)
    conversations = await storage.get_conversations_for_export("agent")
    # An empty name is no name.
    return {
        conversation["id"]: conversation["channel_name"] or text for conversation in conversations
    }[conversation_id]


def _thread_field(name: str) -> Carry:
    async def carry(storage: BaseStorageProvider, text: str) -> Any:
        thread = {"agent_name": "agent", "channel_id": "C1", "thread_id": "1.0"} | {name: text}
        conversation_id = await storage.get_or_create_conversation(**thread)
        assert await storage.has_conversation(**thread), f"no conversation for {name} {text!a}"
        conversations = await storage.get_conversations_for_export(thread["agent_name"])
        return {conversation["id"]: conversation[name] for conversation in conversations}[
            conversation_id
        ]

    return carry


def _message_field(name: str) -> Carry:
    async def carry(storage: BaseStorageProvider, text: str) -> Any:
        conversation_id = await storage.get_or_create_conversation("agent", "C1", text)
        author = {"user_id": "U1", "user_name": "Ada", "user_handle": "ada"} | {name: text}
        await storage.create_message(conversation_id, **author)
        return (await storage.get_messages_with_blocks(conversation_id))[-1][name]

    return carry


async def _text(storage: BaseStorageProvider, text: str) -> Any:
    conversation_id, message_id = await _new_message(storage)
    await storage.append_text_block(message_id, text)
    [(_, [for_model])] = await storage.get_message_blocks(conversation_id)
    [message] = await storage.get_messages_with_blocks(conversation_id)
    [exported] = message["blocks"]
    assert for_model["content"] == exported["content"]
    return exported["content"]["text"]


async def _file_content(storage: BaseStorageProvider, text: str) -> Any:
    conversation_id, message_id = await _new_message(storage)
    await storage.append_file_block(message_id, {"data": text}, is_user=False, **UPLOAD)
    [(_, [for_model])] = await storage.get_message_blocks(conversation_id)
    [message] = await storage.get_messages_with_blocks(conversation_id)
    [exported] = message["blocks"]
    assert for_model["content"]["data"] == exported["content"]["data"]
    return exported["content"]["data"]


async def _filename(storage: BaseStorageProvider, text: str) -> Any:
    conversation_id, message_id = await _new_message(storage)
    await storage.append_file_block(message_id, {}, is_user=False, **UPLOAD | {"filename": text})
    [message] = await storage.get_messages_with_blocks(conversation_id)
    [block] = message["blocks"]
    assert block["content"]["filename"] == block["filename"]
    return block["filename"]


async def _mimetype(storage: BaseStorageProvider, text: str) -> Any:
    conversation_id, message_id = await _new_message(storage)
    await storage.append_file_block(message_id, {}, is_user=False, **UPLOAD | {"mimetype": text})
    [message] = await storage.get_messages_with_blocks(conversation_id)
    shown = message["blocks"][0]["content"]["mimeType"]
    # As the built-in PostgreSQL provider: no type is the type of any bytes.
    return text if not text and shown == "application/octet-stream" else shown


def _tool_field(name: str, wrap: Callable[[str], Any], unwrap: Callable[[Any], Any]) -> Carry:
    async def carry(storage: BaseStorageProvider, text: str) -> Any:
        conversation_id, message_id = await _new_message(storage)
        await storage.append_tool_block(message_id, **TOOL_CALL | {name: wrap(text)})
        [(_, [for_model])] = await storage.get_message_blocks(conversation_id)
        [message] = await storage.get_messages_with_blocks(conversation_id)
        [exported] = message["blocks"]
        assert for_model["content"] == exported["content"]
        return unwrap(exported["content"][name])

    return carry


def _tool_look_up(name: str) -> Carry:
    async def carry(storage: BaseStorageProvider, text: str) -> Any:
        _, message_id = await _new_message(storage)
        field = {"output_json": "tool_output"}.get(name, name)
        await storage.append_tool_block(message_id, **TOOL_CALL | {field: text})
        call = await storage.get_tool_call(TOOL_CALL["tool_call_id"])
        return call and call[name]

    return carry


def _usage_field(name: str) -> Carry:
    async def carry(storage: BaseStorageProvider, text: str) -> Any:
        conversation_id, message_id = await _new_message(storage)
        await storage.append_usage_block(message_id, **USAGE | {name: text})
        [message] = await storage.get_messages_with_blocks(conversation_id)
        return message["blocks"][0]["content"][name]

    return carry


def _token_field(name: str) -> Carry:
    async def carry(storage: BaseStorageProvider, text: str) -> Any:
        await storage.put_oauth_token("U1", "server", oauth_token(**{name: text}))
        return getattr(await storage.get_oauth_token("U1", "server"), name)

    return carry


def _client_field(name: str) -> Carry:
    async def carry(storage: BaseStorageProvider, text: str) -> Any:
        await storage.put_oauth_client("server", "uri", oauth_client(**{name: text}))
        return getattr(await storage.get_oauth_client("server", "uri"), name)

    return carry


#: Calls that store a text of any length and read it back.
CONTENTS: dict[str, Carry] = {
    "set": _value,
    "append": _item,
    "append_text_block": _text,
    "append_file_block content": _file_content,
    "append_tool_block tool_input": _tool_field(
        "tool_input", lambda text: {"text": text}, lambda tool_input: tool_input["text"]
    ),
    "append_tool_block tool_output": _tool_field("tool_output", str, str),
    "get_tool_call output_json": _tool_look_up("output_json"),
    "put_oauth_token access_token": _token_field("access_token"),
    "put_oauth_token refresh_token_enc": _token_field("refresh_token_enc"),
    "put_oauth_token scopes": _token_field("scopes"),
    "put_oauth_client client_secret": _client_field("client_secret"),
    "put_oauth_client metadata_json": _client_field("metadata_json"),
}

#: Calls that store a name and read it back.
NAMES: dict[str, Carry] = {
    "get_or_create_conversation agent_name": _thread_field("agent_name"),
    "get_or_create_conversation channel_id": _thread_field("channel_id"),
    "get_or_create_conversation thread_id": _thread_field("thread_id"),
    "get_or_create_conversation channel_name": _channel_name,
    "create_message user_id": _message_field("user_id"),
    "create_message user_name": _message_field("user_name"),
    "create_message user_handle": _message_field("user_handle"),
    "append_file_block filename": _filename,
    "append_file_block mimetype": _mimetype,
    "append_tool_block tool_call_id": _tool_field("tool_call_id", str, str),
    "append_tool_block tool_name": _tool_field("tool_name", str, str),
    "get_tool_call tool_name": _tool_look_up("tool_name"),
    "append_usage_block model": _usage_field("model"),
    "append_usage_block version": _usage_field("version"),
    "put_oauth_token token_type": _token_field("token_type"),
    "put_oauth_client client_id": _client_field("client_id"),
    "put_oauth_client authorization_server": _client_field("authorization_server"),
}


type Put = Callable[[BaseStorageProvider, str, int], Awaitable[None]]
type Get = Callable[[BaseStorageProvider, str], Awaitable[Any]]


async def _put_value(storage: BaseStorageProvider, key: str, number: int) -> None:
    await storage.set("plugin", key, {"n": number})


async def _get_value(storage: BaseStorageProvider, key: str) -> Any:
    stored = await storage.get("plugin", key)
    return stored and stored["n"]


async def _put_value_in_namespace(storage: BaseStorageProvider, key: str, number: int) -> None:
    await storage.set(key, "key", {"n": number})


async def _get_value_in_namespace(storage: BaseStorageProvider, key: str) -> Any:
    stored = await storage.get(key, "key")
    return stored and stored["n"]


async def _put_item(storage: BaseStorageProvider, key: str, number: int) -> None:
    await storage.append("plugin", key, {"n": number})


async def _get_item(storage: BaseStorageProvider, key: str) -> Any:
    return only([item["n"] for item in await storage.get_list("plugin", key)])


async def _put_item_in_namespace(storage: BaseStorageProvider, key: str, number: int) -> None:
    await storage.append(key, "key", {"n": number})


async def _get_item_in_namespace(storage: BaseStorageProvider, key: str) -> Any:
    return only([item["n"] for item in await storage.get_list(key, "key")])


async def _query_namespace(storage: BaseStorageProvider, key: str) -> Any:
    return only([found["n"] for found in await storage.query(key, {})])


async def _put_field(storage: BaseStorageProvider, key: str, number: int) -> None:
    await storage.append("plugin", "key", {"f": key, "n": number})


async def _query_field(storage: BaseStorageProvider, key: str) -> Any:
    return only([found["n"] for found in await storage.query("plugin", {"f": key})])


async def _put_field_name(storage: BaseStorageProvider, key: str, number: int) -> None:
    await storage.set("plugin", f"field {number}", {key: "found", "n " + key: number})


async def _query_field_name(storage: BaseStorageProvider, key: str) -> Any:
    return only([found["n " + key] for found in await storage.query("plugin", {key: "found"})])


def _conversation_of(name: str) -> tuple[Put, Get]:
    def thread_of(key: str) -> dict[str, str]:
        return {"agent_name": "agent", "channel_id": "C1", "thread_id": "1.0"} | {name: key}

    async def put(storage: BaseStorageProvider, key: str, number: int) -> None:
        conversation_id = await storage.get_or_create_conversation(**thread_of(key))
        await storage.create_message(conversation_id, str(number), "Ada", "ada")

    async def get(storage: BaseStorageProvider, key: str) -> Any:
        if not await storage.has_conversation(**thread_of(key)):
            return None
        conversation_id = await storage.get_or_create_conversation(**thread_of(key))
        messages = await storage.get_messages_with_blocks(conversation_id)
        return only([int(message["user_id"]) for message in messages])

    return put, get


async def _put_agent(storage: BaseStorageProvider, key: str, number: int) -> None:
    await storage.get_or_create_conversation(key, "exported", str(number))


async def _export_agent(storage: BaseStorageProvider, key: str) -> Any:
    conversations = await storage.get_conversations_for_export(key)
    # Other ways to use the key have threads of this agent in other channels.
    threads = [it["thread_id"] for it in conversations if it["channel_id"] == "exported"]
    return only(list(map(int, threads)))


async def _put_handle(storage: BaseStorageProvider, key: str, number: int) -> None:
    conversation_id = await storage.get_or_create_conversation("agent", "exported", str(number))
    await storage.create_message(conversation_id, "U1", "Ada", key)


async def _export_handle(storage: BaseStorageProvider, key: str) -> Any:
    conversations = await storage.get_conversations_for_export("agent", handle=key)
    return only([int(conversation["thread_id"]) for conversation in conversations])


async def _put_tool_call(storage: BaseStorageProvider, key: str, number: int) -> None:
    _, message_id = await _new_message(storage)
    call = TOOL_CALL | {"tool_call_id": key, "tool_output": str(number)}
    await storage.append_tool_block(message_id, **call)


async def _get_tool_call(storage: BaseStorageProvider, key: str) -> Any:
    call = await storage.get_tool_call(key)
    return call and int(call["output_json"])


async def _put_heartbeat(storage: BaseStorageProvider, key: str, number: int) -> None:
    await storage.upsert_heartbeat(key, float(number))


async def _get_heartbeat(storage: BaseStorageProvider, key: str) -> Any:
    heartbeat = await storage.get_heartbeat(key)
    return heartbeat and heartbeat["last_ping_pong_time"]


async def _put_token_of_user(storage: BaseStorageProvider, key: str, number: int) -> None:
    await storage.put_oauth_token(key, "server", oauth_token(expires_at=number))


async def _get_token_of_user(storage: BaseStorageProvider, key: str) -> Any:
    token = await storage.get_oauth_token(key, "server")
    return token and token.expires_at


async def _put_token_of_server(storage: BaseStorageProvider, key: str, number: int) -> None:
    await storage.put_oauth_token("U1", key, oauth_token(expires_at=number))


async def _get_token_of_server(storage: BaseStorageProvider, key: str) -> Any:
    token = await storage.get_oauth_token("U1", key)
    return token and token.expires_at


async def _put_client_of_server(storage: BaseStorageProvider, key: str, number: int) -> None:
    await storage.put_oauth_client(key, "uri", oauth_client(updated_at=number))


async def _get_client_of_server(storage: BaseStorageProvider, key: str) -> Any:
    client = await storage.get_oauth_client(key, "uri")
    return client and client.updated_at


async def _put_client_of_uri(storage: BaseStorageProvider, key: str, number: int) -> None:
    await storage.put_oauth_client("server", key, oauth_client(updated_at=number))


async def _get_client_of_uri(storage: BaseStorageProvider, key: str) -> Any:
    client = await storage.get_oauth_client("server", key)
    return client and client.updated_at


def only(found: list[Any]) -> Any:
    """Return None for nothing, the one thing that was found, or all of several."""
    return found[0] if len(found) == 1 else found or None


#: Ways to put a number under a key, and to get it back by the same key.
KEYS: dict[str, tuple[Put, Get]] = {
    "get key": (_put_value, _get_value),
    "get namespace": (_put_value_in_namespace, _get_value_in_namespace),
    "get_list key": (_put_item, _get_item),
    "get_list namespace": (_put_item_in_namespace, _get_item_in_namespace),
    "query namespace of items": (_put_item_in_namespace, _query_namespace),
    "query namespace of values": (_put_value_in_namespace, _query_namespace),
    "query filter": (_put_field, _query_field),
    "query filter name": (_put_field_name, _query_field_name),
    "get_or_create_conversation agent_name": _conversation_of("agent_name"),
    "get_or_create_conversation channel_id": _conversation_of("channel_id"),
    "get_or_create_conversation thread_id": _conversation_of("thread_id"),
    "get_conversations_for_export agent_name": (_put_agent, _export_agent),
    "get_conversations_for_export handle": (_put_handle, _export_handle),
    "get_tool_call tool_call_id": (_put_tool_call, _get_tool_call),
    "get_heartbeat agent_name": (_put_heartbeat, _get_heartbeat),
    "get_oauth_token user_id": (_put_token_of_user, _get_token_of_user),
    "get_oauth_token server_id": (_put_token_of_server, _get_token_of_server),
    "get_oauth_client server_id": (_put_client_of_server, _get_client_of_server),
    "get_oauth_client redirect_uri": (_put_client_of_uri, _get_client_of_uri),
}

DELETES: dict[str, Callable[[BaseStorageProvider, str], Awaitable[None]]] = {
    "get key": lambda storage, key: storage.delete("plugin", key),
    "get namespace": lambda storage, key: storage.delete(key, "key"),
    "get_oauth_token user_id": lambda storage, key: storage.delete_oauth_token(key, "server"),
    "get_oauth_token server_id": lambda storage, key: storage.delete_oauth_token("U1", key),
    "get_oauth_client server_id": lambda storage, key: storage.delete_oauth_client(key, "uri"),
    "get_oauth_client redirect_uri": lambda storage, key: storage.delete_oauth_client(
        "server", key
    ),
}
