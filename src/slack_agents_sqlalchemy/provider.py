"""The provider: the framework's storage contract on one database."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from operator import itemgetter
from typing import Any, cast

from slack_agents.storage.base import BaseStorageProvider, OAuthClientRow, OAuthTokenRow
from sqlalchemy import Executable
from sqlalchemy.engine import URL, Engine

from slack_agents_sqlalchemy import migrations
from slack_agents_sqlalchemy.engine.database import Database
from slack_agents_sqlalchemy.engine.executor import Executor
from slack_agents_sqlalchemy.engine.fast_path import Row
from slack_agents_sqlalchemy.errors import NotFoundError, NotInitializedError
from slack_agents_sqlalchemy.identifiers import next_id
from slack_agents_sqlalchemy.operations.row_counts import count_rows
from slack_agents_sqlalchemy.options import parse_options
from slack_agents_sqlalchemy.queries import (
    blocks,
    conversations,
    heartbeats,
    key_values,
    list_items,
    messages,
    oauth,
    tool_calls,
)
from slack_agents_sqlalchemy.urls import parse_url, redact


def _observe_ids(statement: Executable, rows: Sequence[Row]) -> None:
    """Make every later id larger than each ``id`` in the rows of a statement."""
    if rows:
        next_id.observe(max(map(_get_id(statement), rows)))


@cache
def _get_id(statement: Executable) -> Callable[[Row], int]:
    """Return the function that returns the ``id`` in a row of a statement."""
    columns: list[str] = cast("Any", statement).selected_columns.keys()
    return itemgetter(columns.index("id"))


class Provider(BaseStorageProvider):
    """An agent's conversations, plug-in data and OAuth state in any SQLAlchemy database.

    ``storage: {type: slack_agents_sqlalchemy, url: "{DATABASE_URL}"}`` in an agent's
    ``config.yaml`` is all that a user writes. What each call does is the contract of
    ``slack_agents.storage.base.BaseStorageProvider``.

    Args:
        url: The database URL: ``sqlite:///agents.db``, ``postgresql://…``, ``mysql://…``,
            ``mariadb://…`` or any other that SQLAlchemy knows. Without a driver it gets the best
            one for this package.
        options: See ``slack_agents_sqlalchemy.options.Options``.

    Raises:
        ConfigurationError: The URL or an option is missing, misspelt or unusable.
        DriverMissingError: The database driver is not installed.
    """

    def __init__(self, url: str | URL | None = None, **options: Any) -> None:
        self._options = parse_options(options)
        self._database = Database(parse_url(url), self._options)
        self._starting: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None
        self._executor: Executor | None = None  # while the storage is initialized

    def __repr__(self) -> str:
        return f"{type(self).__name__}({redact(self._database.url)!r})"

    # Life cycle

    async def initialize(self) -> None:
        """Connect, and create, upgrade or check the schema, as the option ``migrate`` says.

        A second call does nothing.

        Raises:
            DatabaseUnavailableError: The database does not exist, or cannot be reached within
                ``connect_timeout``.
            AccessRefusedError: It refuses the user, the password or a right.
            SchemaError: The schema is not the one this version works with; the message says what
                to do.
        """
        async with self._starting_lock():
            if self._database.is_open:
                return
            await self._database.open()
            try:
                await migrations.ensure(self._database, self._options)
            except BaseException:
                await self._database.close()
                raise
            self._executor = self._database.executor

    def _starting_lock(self) -> asyncio.Lock:
        loop = asyncio.get_running_loop()
        if self._starting is None or self._starting[0] is not loop:  # a lock belongs to one loop
            self._starting = loop, asyncio.Lock()
        return self._starting[1]

    async def close(self) -> None:
        """Close every connection. A second call does nothing."""
        self._executor = None
        await self._database.close()

    @property
    def engine(self) -> Engine:
        """The SQLAlchemy engine, for statements of your own; the provider disposes of it."""
        return self._database.engine

    @property
    def supports_export(self) -> bool:
        """Whether another process can read what is stored here: all but SQLite in memory."""
        return not self._database.adapter.is_in_memory(self._database.url)

    @property
    def _ready(self) -> Executor:
        if self._executor is None:
            if self._database.is_open:
                raise NotInitializedError("the storage is being initialized: await initialize()")
            return self._database.executor  # raises
        return self._executor

    # Primitives

    async def get(self, namespace: str, key: str) -> dict[str, Any] | None:
        rows = await self._ready.fetch(key_values.GET, key_values.address(namespace, key))
        _observe_ids(key_values.GET, rows)
        return key_values.to_value(rows)

    async def set(self, namespace: str, key: str, value: dict[str, Any]) -> None:
        row = key_values.entry(namespace, key, value)
        await self._ready.upsert(key_values.upsert, row, with_id=True)

    async def delete(self, namespace: str, key: str) -> None:
        await self._ready.execute(key_values.DELETE, key_values.address(namespace, key))

    async def append(self, namespace: str, key: str, item: dict[str, Any]) -> str:
        row = key_values.entry(namespace, key, item)
        return str(await self._ready.insert(list_items.APPEND, row))

    async def get_list(self, namespace: str, key: str) -> list[dict[str, Any]]:
        rows = await self._ready.fetch(list_items.GET, key_values.address(namespace, key))
        _observe_ids(list_items.GET, rows)
        return list_items.to_items(rows)

    async def query(self, namespace: str, filters: dict[str, Any]) -> list[dict[str, Any]]:
        statement, parameters = list_items.search(self._database.adapter, namespace, filters)
        rows = await self._ready.fetch(statement, parameters)
        _observe_ids(statement, rows)
        return list_items.to_matches(rows, filters)

    # OAuth

    async def get_oauth_token(self, user_id: str, server_id: str) -> OAuthTokenRow | None:
        owner = oauth.token_owner(user_id, server_id)
        rows = await self._ready.fetch(oauth.GET_TOKEN, owner)
        return oauth.to_token(rows)

    async def put_oauth_token(self, user_id: str, server_id: str, row: OAuthTokenRow) -> None:
        token = oauth.token(user_id, server_id, row)
        await self._ready.upsert(oauth.upsert_token, token)

    async def delete_oauth_token(self, user_id: str, server_id: str) -> None:
        await self._ready.execute(oauth.DELETE_TOKEN, oauth.token_owner(user_id, server_id))

    async def get_oauth_client(self, server_id: str, redirect_uri: str) -> OAuthClientRow | None:
        owner = oauth.client_owner(server_id, redirect_uri)
        rows = await self._ready.fetch(oauth.GET_CLIENT, owner)
        return oauth.to_client(rows)

    async def put_oauth_client(
        self, server_id: str, redirect_uri: str, row: OAuthClientRow
    ) -> None:
        client = oauth.client(server_id, redirect_uri, row)
        await self._ready.upsert(oauth.upsert_client, client)

    async def delete_oauth_client(self, server_id: str, redirect_uri: str) -> None:
        owner = oauth.client_owner(server_id, redirect_uri)
        await self._ready.execute(oauth.DELETE_CLIENT, owner)

    # Conversations and messages

    async def get_or_create_conversation(
        self,
        agent_name: str,
        channel_id: str,
        thread_id: str,
        channel_name: str | None = None,
    ) -> int:
        row = conversations.conversation(agent_name, channel_id, thread_id, channel_name)
        rows = await self._ready.fetch(conversations.FIND, row)
        _observe_ids(conversations.FIND, rows)
        found = conversations.to_current_id(rows, row)
        if found is not None:
            return found
        new_id = self._ready.new_id
        return await self._ready.run(
            lambda connection: conversations.find_or_create(connection, row, new_id)
        )

    async def has_conversation(self, agent_name: str, channel_id: str, thread_id: str) -> bool:
        thread = conversations.thread(agent_name, channel_id, thread_id)
        rows = await self._ready.fetch(conversations.FIND, thread)
        _observe_ids(conversations.FIND, rows)
        return bool(rows)

    async def create_message(
        self, conversation_id: int | str, user_id: str, user_name: str, user_handle: str
    ) -> int:
        row = messages.message(conversation_id, user_id, user_name, user_handle)
        message_id = await self._ready.insert(messages.CREATE, row)
        if message_id is None:
            raise NotFoundError(f"there is no conversation {conversation_id}")
        return message_id

    async def get_message_blocks(
        self, conversation_id: int | str
    ) -> list[tuple[int | str, list[dict[str, Any]]]]:
        rows = await self._ready.fetch(blocks.GET_HISTORY, blocks.history(conversation_id))
        _observe_ids(blocks.GET_HISTORY, rows)
        return blocks.to_message_blocks(conversation_id, rows)

    async def get_messages_with_blocks(self, conversation_id: int | str) -> list[dict[str, Any]]:
        rows = await self._ready.fetch(blocks.GET_EVERYTHING, blocks.history(conversation_id))
        _observe_ids(blocks.GET_EVERYTHING, rows)
        return blocks.to_messages_with_blocks(conversation_id, rows)

    async def get_conversations_for_export(
        self,
        agent_name: str,
        *,
        handle: str | None = None,
        date_from: str | datetime | None = None,
        date_to: str | datetime | None = None,
    ) -> list[dict[str, Any]]:
        statement, parameters = conversations.search(agent_name, handle, date_from, date_to)
        rows = await self._ready.fetch(statement, parameters)
        _observe_ids(statement, rows)
        return conversations.to_exported(rows)

    # Blocks

    async def append_text_block(
        self,
        message_id: int | str,
        text: str,
        *,
        is_user: bool = False,
        source_file_id: int | str | None = None,
    ) -> None:
        await self._append(blocks.text(message_id, text, is_user, source_file_id))

    async def append_file_block(
        self,
        message_id: int | str,
        content: dict[str, Any],
        *,
        is_user: bool,
        filename: str,
        mimetype: str,
        size_bytes: int,
        tool_block_id: int | str | None = None,
    ) -> int:
        return await self._append(
            blocks.file(message_id, content, is_user, filename, mimetype, size_bytes, tool_block_id)
        )

    async def append_tool_block(
        self,
        message_id: int | str,
        *,
        tool_call_id: str,
        tool_name: str,
        tool_input: Any,
        tool_output: str,
        is_error: bool,
    ) -> int:
        return await self._append(
            blocks.tool(message_id, tool_call_id, tool_name, tool_input, tool_output, is_error)
        )

    async def append_usage_block(
        self,
        message_id: int | str,
        *,
        model: str,
        version: str,
        input_tokens: int,
        output_tokens: int,
        cache_creation_input_tokens: int,
        cache_read_input_tokens: int,
        peak_single_call_input_tokens: int,
        estimated_cost_usd: float | None,
    ) -> None:
        await self._append(
            blocks.usage(
                message_id,
                model,
                version,
                estimated_cost_usd,
                input_tokens=input_tokens,
                output_tokens=output_tokens,
                cache_creation_input_tokens=cache_creation_input_tokens,
                cache_read_input_tokens=cache_read_input_tokens,
                peak_single_call_input_tokens=peak_single_call_input_tokens,
            )
        )

    async def get_tool_call(self, tool_call_id: str) -> dict[str, Any] | None:
        call = tool_calls.tool_call(tool_call_id)
        rows = await self._ready.fetch(tool_calls.GET_NEWEST, call)
        _observe_ids(tool_calls.GET_NEWEST, rows)
        return tool_calls.to_tool_call(rows)

    async def _append(self, block: blocks.Append) -> int:
        block_id = await self._ready.insert(block.insertion, block.parameters)
        if block_id is None:
            raise await self._missing_parent(block.parameters)
        return block_id

    async def _missing_parent(self, parameters: dict[str, Any]) -> NotFoundError:
        if await self._ready.fetch(blocks.FIND_MESSAGE, parameters):
            return NotFoundError(f"there is no block {parameters['referred_id']}")
        return NotFoundError(f"there is no message {parameters['parent_id']}")

    # Heartbeats

    async def upsert_heartbeat(self, agent_name: str, last_ping_pong_time: float) -> None:
        row = heartbeats.heartbeat(agent_name, last_ping_pong_time)
        await self._ready.upsert(heartbeats.upsert, row)

    async def get_heartbeat(self, agent_name: str) -> dict[str, Any] | None:
        rows = await self._ready.fetch(heartbeats.GET, heartbeats.agent(agent_name))
        return heartbeats.to_heartbeat(rows)

    # Beyond the contract

    async def count_rows(self) -> dict[str, int]:
        """Return the number of rows of each table, by the table's name."""
        return await count_rows(self._ready)
