"""The models in a user's own `Session` and `AsyncSession`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, func, make_url, select
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session, aliased, joinedload, lazyload, selectinload

from slack_agents_sqlalchemy import Provider
from slack_agents_sqlalchemy.models import (
    Block,
    Conversation,
    FileBlock,
    Message,
    TextBlock,
    ToolCall,
    Usage,
    UserFileBlock,
    UserTextBlock,
)

pytestmark = pytest.mark.durable

SYNCHRONOUS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg"}
ASYNCHRONOUS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
KINDS = [UserTextBlock, UserFileBlock, UserTextBlock, ToolCall, FileBlock, TextBlock, Usage]
UNLOADED = r"'Conversation\.messages' is not available"
WHOLE = selectinload(Conversation.messages).selectinload(Message.blocks)


@pytest.fixture
async def filled(storage: Provider) -> int:
    """Store two conversations; one message of the first has all kinds of blocks."""
    conversation = await storage.get_or_create_conversation("agent", "C1", "1.0", "general")
    await storage.get_or_create_conversation("agent", "C1", "2.0", "general")
    message = await storage.create_message(conversation, "U1", "Ada", "ada")
    await storage.append_text_block(message, "Who was late?", is_user=True)
    file: dict[str, Any] = {
        "is_user": True,
        "filename": "late.csv",
        "mimetype": "text/csv",
        "size_bytes": 3,
    }
    upload = await storage.append_file_block(message, {"type": "document"}, **file)
    await storage.append_text_block(message, "a,b", is_user=True, source_file_id=upload)
    call = await storage.append_tool_block(
        message,
        tool_call_id="toolu_1",
        tool_name="chart",
        tool_input={"of": "late.csv"},
        tool_output="done",
        is_error=False,
    )
    chart = file | {"is_user": False, "filename": "late.png", "tool_block_id": call}
    await storage.append_file_block(message, {"type": "image"}, **chart)
    await storage.append_text_block(message, "Here is the chart.")
    await storage.append_usage_block(
        message,
        model="a-model",
        version="1",
        input_tokens=10,
        output_tokens=1,
        cache_creation_input_tokens=0,
        cache_read_input_tokens=0,
        peak_single_call_input_tokens=10,
        estimated_cost_usd=0.5,
    )
    await storage.create_message(conversation, "U2", "Grace", "grace")
    return conversation


def own_url(storage: Provider, drivers: dict[str, str], driver: str) -> str:
    url = make_url(storage.engine.url)
    name = drivers.get(url.get_backend_name(), f"{url.get_backend_name()}+{driver}")
    return url.set(drivername=name).render_as_string(hide_password=False)


def enforce_foreign_keys(engine: Engine) -> None:
    """Do on SQLite what docs/querying.md says."""
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def switch_on(connection: Any, _: object) -> None:
            cursor = connection.cursor()
            cursor.execute("PRAGMA foreign_keys = ON")
            cursor.close()


@pytest.fixture
def engine(storage: Provider, filled: int) -> Iterator[Engine]:
    engine = create_engine(own_url(storage, SYNCHRONOUS, "pymysql"))
    enforce_foreign_keys(engine)
    yield engine
    engine.dispose()


@pytest.fixture
async def async_engine(storage: Provider, filled: int) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(own_url(storage, ASYNCHRONOUS, "aiomysql"))
    enforce_foreign_keys(engine.sync_engine)
    yield engine
    await engine.dispose()


@pytest.fixture
def statements(engine: Engine) -> list[str]:
    seen: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *args: seen.append(args[2]))
    return seen


def test_relationships_lead_from_a_conversation_to_its_blocks_and_back(engine: Engine, filled: int):
    with Session(engine) as session:
        conversation = session.get_one(Conversation, filled, options=[WHOLE])
        first, second = conversation.messages
        assert [first.user_handle, second.user_handle] == ["ada", "grace"]
        assert first.conversation is conversation
        assert [type(block) for block in first.blocks] == KINDS
        assert all(block.message is first for block in first.blocks)
        assert all(block.conversation is conversation for block in first.blocks)
        assert second.blocks == []


def test_messages_and_blocks_come_in_the_order_of_their_ids(engine: Engine, filled: int):
    with Session(engine) as session:
        conversation = session.get_one(Conversation, filled, options=[WHOLE])
        ids = [message.id for message in conversation.messages]
        assert ids == sorted(ids)
        ids = [block.id for block in conversation.messages[0].blocks]
        assert ids == sorted(ids)


def test_a_file_leads_to_the_call_that_made_it_and_a_text_to_its_file(engine: Engine, filled: int):
    with Session(engine) as session:
        [file] = session.scalars(select(FileBlock).options(selectinload(FileBlock.tool_call)))
        assert isinstance(file.tool_call, ToolCall)
        assert file.tool_call.tool_input == {"of": "late.csv"}
        texts = select(UserTextBlock).options(joinedload(UserTextBlock.source_file))
        written, read = session.scalars(texts.order_by(UserTextBlock.id))
        assert written.source_file is None
        assert isinstance(read.source_file, UserFileBlock)
        assert read.source_file.filename == "late.csv"


def test_the_relationships_serve_a_join(engine: Engine, filled: int):
    query = (
        select(Conversation.agent_name, Message.user_handle, func.sum(Usage.input_tokens))
        .join(Conversation.messages)
        .join(Message.blocks.of_type(Usage))
        .group_by(Conversation.agent_name, Message.user_handle)
    )
    file = aliased(UserFileBlock)  # a kind of the same table
    of_file = select(file.filename, UserTextBlock.text).join(
        UserTextBlock.source_file.of_type(file)
    )
    with Session(engine) as session:
        assert [tuple(row) for row in session.execute(query)] == [("agent", "ada", 10)]
        assert [tuple(row) for row in session.execute(of_file)] == [("late.csv", "a,b")]


def test_what_is_loaded_eagerly_needs_no_further_statement(
    engine: Engine, filled: int, statements: list[str]
):
    query = select(Conversation).where(Conversation.id == filled).options(WHOLE)
    with Session(engine) as session:
        conversation = session.scalars(query).one()
        assert len(statements) == 3
        assert [len(message.blocks) for message in conversation.messages] == [len(KINDS), 0]
        assert len(statements) == 3


def test_a_session_loads_on_access_only_with_the_option_for_it(engine: Engine, filled: int):
    with Session(engine) as session:
        conversation = session.get_one(Conversation, filled)
        with pytest.raises(InvalidRequestError, match=UNLOADED):
            assert conversation.messages
    with Session(engine) as session:
        on_access = lazyload(Conversation.messages)
        conversation = session.get_one(Conversation, filled, options=[on_access])
        assert len(conversation.messages) == 2


def test_blocks_of_one_kind_can_be_loaded_with_their_messages(
    engine: Engine, filled: int, statements: list[str]
):
    query = select(ToolCall).options(
        joinedload(ToolCall.message), joinedload(ToolCall.conversation)
    )
    with Session(engine) as session:
        [call] = session.scalars(query)
        assert (call.message.user_handle, call.conversation.thread_id) == ("ada", "1.0")
        assert len(statements) == 1


def test_deleting_a_conversation_leaves_its_messages_and_blocks_to_the_database(
    engine: Engine, filled: int, statements: list[str]
):
    with Session(engine) as session:
        session.delete(session.get_one(Conversation, filled))
        session.commit()
        assert [statement.split()[0] for statement in statements] == ["SELECT", "DELETE"]
        assert session.scalars(select(Message)).all() == []
        assert session.scalars(select(Block)).all() == []
        assert session.scalar(select(func.count()).select_from(Conversation)) == 1


def test_deleting_what_is_loaded_leaves_nothing_behind(engine: Engine, filled: int):
    with Session(engine) as session:
        conversation = session.get_one(Conversation, filled, options=[WHOLE])
        blocks = [block for message in conversation.messages for block in message.blocks]
        session.delete(conversation)
        session.commit()
        assert not [block for block in blocks if block in session]
        assert session.scalars(select(Message)).all() == []
        assert session.scalars(select(Block)).all() == []


async def test_an_asynchronous_session_loads_what_it_is_asked_to(
    async_engine: AsyncEngine, filled: int
):
    query = select(Conversation).where(Conversation.id == filled).options(WHOLE)
    async with AsyncSession(async_engine) as session:
        conversation = (await session.scalars(query)).one()
        first, _ = conversation.messages
        assert [type(block) for block in first.blocks] == KINDS
        call = select(FileBlock).options(selectinload(FileBlock.tool_call))
        file = (await session.scalars(call)).one()
        assert file.tool_call is not None
        assert file.tool_call.tool_name == "chart"


async def test_an_asynchronous_session_refuses_to_load_on_access(
    async_engine: AsyncEngine, filled: int
):
    async with AsyncSession(async_engine) as session:
        conversation = await session.get_one(Conversation, filled)
        with pytest.raises(InvalidRequestError, match=UNLOADED):
            assert conversation.messages
        await session.refresh(conversation, ["messages"])
        assert len(conversation.messages) == 2


async def test_an_asynchronous_session_deletes_a_conversation_whole(
    async_engine: AsyncEngine, filled: int
):
    async with AsyncSession(async_engine) as session:
        await session.delete(await session.get_one(Conversation, filled))
        await session.commit()
        assert (await session.scalars(select(Message))).all() == []
        assert (await session.scalars(select(Block))).all() == []
