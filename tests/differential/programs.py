"""Random programs of calls, as an agent makes them on its storage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from slack_agents.storage.base import BaseStorageProvider, OAuthClientRow, OAuthTokenRow

# Few names, so that calls meet; close to each other, so that a database that folds case, accents
# or trailing spaces mixes them up. No colon: the base class's defaults join names with it.
AGENTS = ("helper", "Helper", "hélper ")
CHANNELS = ("C1", "c1")
CHANNEL_NAMES = (None, "", "general", "General", "général 🦊")
THREADS = ("1.0", "1.00")
USERS = (("U1", "Ada", "ada"), ("u1", "Åda", "Ada"), ("U2", "Zoë 🦊", "zoë"))
TOOL_CALLS = ("toolu_1", "toolu_2", "TOOLU_1", "toolu_é")
SERVERS = ("https://mcp.example/a", "https://mcp.example/A")
KEYS = ("k", "K", "ḱ", "k ")

MIME_TYPES = ("application/pdf", "image/png", "text/csv")


@dataclass
class World:
    """A storage with what a program has made in it so far, in order.

    Every name that a program uses begins with ``scope``, so that it meets nothing of the programs
    that ran before it on the same database.
    """

    storage: BaseStorageProvider
    scope: str
    conversations: list[int | str] = field(default_factory=list)
    messages: list[int | str] = field(default_factory=list)
    files: list[int | str] = field(default_factory=list)
    tool_blocks: list[int | str] = field(default_factory=list)
    items: list[int | str] = field(default_factory=list)

    def named(self, name: str) -> str:
        """Return the name as only this program uses it."""
        return f"{self.scope} {name}"


class Call:
    """One step of a program: what the agent asks of its storage, and the answer worth comparing.

    A message, file or tool block is chosen by a number, taken modulo how many there are by then.
    """

    async def on(self, world: World) -> object:
        """Make the call and return its answer, with ids as places in ``world``."""
        raise NotImplementedError


type Program = Sequence[Call]


@dataclass(frozen=True)
class OpenConversation(Call):
    """A message arrives in a thread, as at the start of every turn."""

    agent: str
    channel: str
    thread: str
    channel_name: str | None

    async def on(self, world: World) -> int:
        """Return the conversation's place."""
        conversation = await world.storage.get_or_create_conversation(
            world.named(self.agent), self.channel, self.thread, self.channel_name
        )
        if conversation not in world.conversations:
            world.conversations.append(conversation)
        return world.conversations.index(conversation)


@dataclass(frozen=True)
class AskForConversation(Call):
    """Is the agent part of this thread?"""

    agent: str
    channel: str
    thread: str

    async def on(self, world: World) -> bool:
        """Return the answer."""
        return await world.storage.has_conversation(
            world.named(self.agent), self.channel, self.thread
        )


@dataclass(frozen=True)
class CreateMessage(Call):
    """A user's message opens an exchange."""

    conversation: int
    user: tuple[str, str, str]

    async def on(self, world: World) -> None:
        """Remember the message."""
        conversation = world.conversations[self.conversation % len(world.conversations)]
        world.messages.append(await world.storage.create_message(conversation, *self.user))


@dataclass(frozen=True)
class AppendText(Call):
    """Text of the user or of the model; sometimes read from a file that is there already."""

    message: int
    text: str
    is_user: bool
    source: int | None

    async def on(self, world: World) -> None:
        """Append it."""
        source = None
        if self.source is not None and world.files:
            source = world.files[self.source % len(world.files)]
        await world.storage.append_text_block(
            _chosen(world.messages, self.message),
            self.text,
            is_user=self.is_user,
            source_file_id=source,
        )


@dataclass(frozen=True)
class AppendUpload(Call):
    """A user's document: the raw file, then the text that was read from it."""

    message: int
    content: dict[str, Any]
    filename: str
    mimetype: str
    size: int
    extracted: str

    async def on(self, world: World) -> None:
        """Append the two blocks, the second with the first as its source."""
        message = _chosen(world.messages, self.message)
        file = await world.storage.append_file_block(
            message,
            self.content,
            is_user=True,
            filename=self.filename,
            mimetype=self.mimetype,
            size_bytes=self.size,
        )
        world.files.append(file)
        await world.storage.append_text_block(
            message, self.extracted, is_user=True, source_file_id=file
        )


@dataclass(frozen=True)
class AppendImage(Call):
    """A user's image, which the model sees."""

    message: int
    data: str
    filename: str

    async def on(self, world: World) -> None:
        """Append the block and remember the file."""
        source = {"type": "base64", "media_type": "image/png", "data": self.data}
        file = await world.storage.append_file_block(
            _chosen(world.messages, self.message),
            {"type": "image", "source": source},
            is_user=True,
            filename=self.filename,
            mimetype="image/png",
            size_bytes=len(self.data),
        )
        world.files.append(file)


@dataclass(frozen=True)
class AppendToolFile(Call):
    """A file that a tool made."""

    message: int
    content: dict[str, Any]
    filename: str
    mimetype: str
    size: int
    tool_block: int

    async def on(self, world: World) -> None:
        """Append the block, of the chosen tool call if there is any, and remember the file."""
        tool_block = None
        if world.tool_blocks:
            tool_block = world.tool_blocks[self.tool_block % len(world.tool_blocks)]
        file = await world.storage.append_file_block(
            _chosen(world.messages, self.message),
            self.content,
            is_user=False,
            filename=self.filename,
            mimetype=self.mimetype,
            size_bytes=self.size,
            tool_block_id=tool_block,
        )
        world.files.append(file)


@dataclass(frozen=True)
class AppendTool(Call):
    """A tool call with its result."""

    message: int
    tool_call: str
    name: str
    input: dict[str, Any]
    output: str
    is_error: bool

    async def on(self, world: World) -> None:
        """Append the block and remember it."""
        block = await world.storage.append_tool_block(
            _chosen(world.messages, self.message),
            tool_call_id=world.named(self.tool_call),
            tool_name=self.name,
            tool_input=self.input,
            tool_output=self.output,
            is_error=self.is_error,
        )
        world.tool_blocks.append(block)


@dataclass(frozen=True)
class AppendUsage(Call):
    """What an exchange cost."""

    message: int
    model: str
    version: str
    tokens: tuple[int, int, int, int, int]
    cost: float | None

    async def on(self, world: World) -> None:
        """Append the block."""
        tokens_in, tokens_out, cache_creation, cache_read, peak = self.tokens
        await world.storage.append_usage_block(
            _chosen(world.messages, self.message),
            model=self.model,
            version=self.version,
            input_tokens=tokens_in,
            output_tokens=tokens_out,
            cache_creation_input_tokens=cache_creation,
            cache_read_input_tokens=cache_read,
            peak_single_call_input_tokens=peak,
            estimated_cost_usd=self.cost,
        )


@dataclass(frozen=True)
class Beat(Call):
    """The agent shows that it is alive."""

    agent: str
    time: float

    async def on(self, world: World) -> None:
        """Write the time."""
        await world.storage.upsert_heartbeat(world.named(self.agent), self.time)


@dataclass(frozen=True)
class PutToken(Call):
    """A user signs in to a server of tools."""

    user: str
    server: str
    row: OAuthTokenRow

    async def on(self, world: World) -> None:
        """Write the row."""
        await world.storage.put_oauth_token(world.named(self.user), self.server, self.row)


@dataclass(frozen=True)
class DeleteToken(Call):
    """A user signs out."""

    user: str
    server: str

    async def on(self, world: World) -> None:
        """Delete the row."""
        await world.storage.delete_oauth_token(world.named(self.user), self.server)


@dataclass(frozen=True)
class PutClient(Call):
    """The agent registers with a server of tools."""

    server: str
    redirect: str
    row: OAuthClientRow

    async def on(self, world: World) -> None:
        """Write the row."""
        await world.storage.put_oauth_client(world.named(self.server), self.redirect, self.row)


@dataclass(frozen=True)
class DeleteClient(Call):
    """The agent forgets a registration."""

    server: str
    redirect: str

    async def on(self, world: World) -> None:
        """Delete the row."""
        await world.storage.delete_oauth_client(world.named(self.server), self.redirect)


@dataclass(frozen=True)
class SetValue(Call):
    """A plug-in keeps a value."""

    key: str
    value: dict[str, Any]

    async def on(self, world: World) -> None:
        """Set it."""
        await world.storage.set(world.named("values"), self.key, self.value)


@dataclass(frozen=True)
class DeleteValue(Call):
    """A plug-in drops a value."""

    key: str

    async def on(self, world: World) -> None:
        """Delete it."""
        await world.storage.delete(world.named("values"), self.key)


@dataclass(frozen=True)
class AppendItem(Call):
    """A plug-in adds to a list."""

    key: str
    kind: str
    value: dict[str, Any]

    async def on(self, world: World) -> None:
        """Append it and remember the item."""
        item = {**self.value, "kind": self.kind}
        world.items.append(await world.storage.append(world.named("lists"), self.key, item))


def _chosen(made: list[int | str], place: int) -> int | str:
    return made[place % len(made)]


# -- strategies ------------------------------------------------------------------------------------

# Texts that storages are known to change: by cutting, folding, normalising or escaping them.
_FRAGILE = st.sampled_from(
    [
        "",
        " ",
        "trailing ",
        "\r\n\t",
        "a\u0301 á",
        "\\u0000 \\",
        "'\"%s;",
        "\x1b\x7f",
        "🦊",
        "\ufdd0[",
    ]
)
_UNSTORABLE = st.sampled_from(["\0", "a\0", "\0b", "\ud83e", "\udd8a\ud83e", "\ufdd0\0"])

#: Text that every database of the framework's own providers can hold: no NUL, no lone surrogate.
COMMON_TEXT = _FRAGILE | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
#: Any text that Python can hold.
ANY_TEXT = COMMON_TEXT | _UNSTORABLE | st.text(st.characters())

_INDEX = st.integers(0, 11)
_NAME = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=12)
_TOKENS = st.integers(0, 2**31 - 1)
_EPOCH = st.integers(0, 2**40)


def json_objects(text: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Return JSON objects of all shapes, small.

    Floats stay where decimal digits write them without an exponent, and zero has no sign.
    """
    floats = st.floats(-1e9, 1e9).map(lambda number: number or 0.0)
    scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | floats | text
    values = st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
        max_leaves=6,
    )
    return st.dictionaries(text, values, max_size=3)


def conversation_calls(text: st.SearchStrategy[str]) -> st.SearchStrategy[Call]:
    """Return the calls around conversations and their blocks, with ``text`` in their contents."""
    objects = json_objects(text)
    agents, channels = st.sampled_from(AGENTS), st.sampled_from(CHANNELS)
    threads = st.sampled_from(THREADS)
    mime_types = st.sampled_from(MIME_TYPES)
    documents = st.fixed_dictionaries(
        {"data": text},
        optional={"filename": text, "mimeType": mime_types, "type": st.just("pdf")},
    )
    return st.one_of(
        st.builds(OpenConversation, agents, channels, threads, st.sampled_from(CHANNEL_NAMES)),
        st.builds(AskForConversation, agents, channels, threads),
        st.builds(CreateMessage, _INDEX, st.sampled_from(USERS)),
        st.builds(AppendText, _INDEX, text, st.booleans(), st.none() | _INDEX),
        st.builds(
            AppendUpload,
            _INDEX,
            documents,
            _NAME,
            mime_types,
            st.integers(0, 2**40),
            text,
        ),
        st.builds(AppendImage, _INDEX, _NAME, _NAME),
        st.builds(
            AppendToolFile,
            _INDEX,
            documents | objects,
            _NAME,
            mime_types,
            _EPOCH,
            _INDEX,
        ),
        st.builds(
            AppendTool,
            _INDEX,
            st.sampled_from(TOOL_CALLS),
            _NAME,
            objects,
            text,
            st.booleans(),
        ),
        st.builds(
            AppendUsage,
            _INDEX,
            st.sampled_from(["sonnet", "opus"]),
            st.sampled_from(["1.0.0", "Sonnet"]),
            st.tuples(_TOKENS, _TOKENS, _TOKENS, _TOKENS, _TOKENS),
            st.none() | st.floats(0, 1000).map(abs),
        ),
        st.builds(Beat, agents, st.floats(0, 4e9)),
    )


def oauth_calls() -> st.SearchStrategy[Call]:
    """Return the calls that keep who is signed in where, few enough to meet."""
    users = st.sampled_from([user for user, _, _ in USERS[:2]])
    servers, server = st.sampled_from(SERVERS), st.just(SERVERS[0])
    tokens = st.builds(
        OAuthTokenRow,
        access_token=COMMON_TEXT,
        refresh_token_enc=st.none() | COMMON_TEXT,
        token_type=st.sampled_from(["Bearer", "bearer"]),
        scopes=COMMON_TEXT,
        expires_at=st.none() | _EPOCH,
        created_at=_EPOCH,
        updated_at=_EPOCH,
    )
    clients = st.builds(
        OAuthClientRow,
        client_id=COMMON_TEXT,
        client_secret=st.none() | COMMON_TEXT,
        metadata_json=COMMON_TEXT,
        authorization_server=COMMON_TEXT,
        created_at=_EPOCH,
        updated_at=_EPOCH,
    )
    return st.one_of(
        st.builds(PutToken, users, server, tokens),
        st.builds(DeleteToken, users, server),
        st.builds(PutClient, servers, server, clients),
        st.builds(DeleteClient, servers, server),
    )


def plugin_calls() -> st.SearchStrategy[Call]:
    """Return the calls that keep a plug-in's values and lists."""
    keys, objects = st.sampled_from(KEYS), json_objects(COMMON_TEXT)
    return st.one_of(
        st.builds(SetValue, keys, objects),
        st.builds(DeleteValue, keys),
        st.builds(AppendItem, keys, st.sampled_from(["x", "X"]), objects),
    )


def programs(*calls: st.SearchStrategy[Call]) -> st.SearchStrategy[Program]:
    """Return programs of 5 to 40 of these calls that begin with a message in a conversation."""
    start = [
        OpenConversation("helper", "C1", "1.0", "general"),
        CreateMessage(0, USERS[0]),
    ]
    # A list of a drawn length: lists of any length up to 40 would have ten calls on average.
    rest = st.integers(5, 40).flatmap(
        lambda size: st.lists(st.one_of(*calls), min_size=size, max_size=size)
    )
    return rest.map(lambda calls: [*start, *calls])
