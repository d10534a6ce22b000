"""The declarative models: what they say of the tables is what the provider stores."""

from __future__ import annotations

from types import NoneType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest
from slack_agents.storage.base import OAuthClientRow, OAuthTokenRow
from sqlalchemy import Boolean, Connection, String, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from slack_agents_sqlalchemy import Provider
from slack_agents_sqlalchemy.models import (
    Base,
    Block,
    Conversation,
    Digest,
    Id,
    Message,
    Text,
    ToolCall,
    Usage,
)
from tests.support.sql import run

PLAIN = {str: String, bool: Boolean}
MODELS = [mapper.class_ for mapper in Base.registry.mappers if not mapper.inherits]


async def store_conversation(storage: Provider) -> int | str:
    conversation = await storage.get_or_create_conversation("agent", "C1", "1.0", "general")
    message = await storage.create_message(conversation, "U1", "Ada", "ada")
    await storage.append_tool_block(
        message,
        tool_call_id="toolu_1",
        tool_name="search",
        tool_input={"q": "\0"},
        tool_output="found",
        is_error=False,
    )
    for cost in (0.25, 0.5):
        await storage.append_usage_block(
            message,
            model="a-model",
            version="1",
            input_tokens=10,
            output_tokens=1,
            cache_creation_input_tokens=0,
            cache_read_input_tokens=0,
            peak_single_call_input_tokens=10,
            estimated_cost_usd=cost,
        )
    return conversation


async def test_what_the_agents_cost_is_a_query_of_the_models(storage: Provider):
    await store_conversation(storage)
    costs = (
        select(
            Conversation.agent_name,
            Message.user_handle,
            Usage.model,
            func.sum(Usage.input_tokens),
            func.sum(Usage.estimated_cost_usd),
        )
        .join(Message, Message.id == Usage.message_id)
        .join(Conversation, Conversation.id == Usage.conversation_id)
        .group_by(Conversation.agent_name, Message.user_handle, Usage.model)
    )
    rows = await run(storage, lambda connection: connection.execute(costs).all())
    assert [tuple(row) for row in rows] == [("agent", "ada", "a-model", 20, 0.75)]


async def test_the_input_null_of_a_tool_call_is_not_null_in_sql(storage: Provider):
    conversation = await store_conversation(storage)
    message = await storage.create_message(conversation, "U1", "Ada", "ada")
    await storage.append_tool_block(
        message,
        tool_call_id="toolu_2",
        tool_name="now",
        tool_input=None,
        tool_output="noon",
        is_error=False,
    )

    def load(connection: Connection) -> tuple[list[Any], int | None]:
        with Session(connection) as session:
            calls = session.scalars(select(ToolCall).order_by(ToolCall.id)).all()
            empty = select(func.count()).where(Block.tool_input.is_(None))
            return [call.tool_input for call in calls], session.scalar(empty)

    inputs, without_input = await run(storage, load)
    assert inputs == [{"q": "\0"}, None]
    assert without_input == 2  # the blocks of usage


async def test_an_entity_has_the_kind_and_the_values_of_what_was_stored(storage: Provider):
    conversation = await store_conversation(storage)

    def load(connection: Connection) -> list[Block]:
        with Session(connection) as session:
            blocks = select(Block).where(Block.conversation_id == conversation).order_by(Block.id)
            return list(session.scalars(blocks))

    call, *usage = await run(storage, load)
    assert isinstance(call, ToolCall)
    assert (call.tool_input, call.tool_output, call.is_error) == ({"q": "\0"}, "found", False)
    assert [type(block) for block in usage] == [Usage, Usage]


async def test_an_entity_shows_which_row_it_is_without_secrets_and_long_texts(storage: Provider):
    conversation = await store_conversation(storage)
    secret, long = "s3cret", "x" * 100_000
    message = await storage.create_message(conversation, "U1", secret, "ada")
    await storage.append_text_block(message, long)
    await storage.append_file_block(
        message, {"data": secret}, is_user=True, filename=long, mimetype="a/b", size_bytes=5
    )
    await storage.set("namespace", "key", {"password": secret})
    await storage.append("namespace", long, {"password": secret})
    await storage.put_oauth_token("U1", "server", OAuthTokenRow(secret, secret, "B", "", 1, 1, 2))
    await storage.put_oauth_client("server", "uri", OAuthClientRow("id", secret, secret, "", 1, 2))
    await storage.upsert_heartbeat("agent", 1.5)

    def show(connection: Connection) -> list[str]:
        with Session(connection) as session:
            return [
                repr(entity)
                for mapper in Base.registry.mappers
                if not mapper.inherits
                for entity in session.scalars(select(mapper.class_))
            ]

    shown = await run(storage, show)
    assert len(shown) == 13
    assert not [text for text in shown if secret in text or len(text) > 300]
    for expected in (
        f"Conversation(id={conversation}, agent_name='agent', channel_id='C1', ",
        f"Message(id={message}, conversation_id={conversation}, user_id='U1', user_handle='ada', ",
        "TextBlock(id=",
        "tool_call_id='toolu_1', tool_name='search', is_error=False)",
        "KeyValue(namespace='namespace', key='key')",
        "OAuthToken(user_id='U1', server_id='server')",
        "OAuthClient(server_id='server', redirect_uri='uri')",
        "Heartbeat(agent_name='agent', last_ping_pong_time=1.5)",
    ):
        assert any(expected in text for text in shown), (expected, shown)


async def test_an_entity_shows_only_what_is_loaded(storage: Provider):
    conversation = await store_conversation(storage)

    def load(connection: Connection) -> list[str]:
        with Session(connection) as session:
            entity = session.get_one(Conversation, conversation)
            session.expire(entity)
            expired = repr(entity)
            session.refresh(entity, ["id"])
            session.expunge(entity)
            return [expired, repr(entity), repr(Conversation(agent_name="new"))]

    expired, detached, new = await run(storage, load)
    assert expired == "Conversation()"
    assert detached == f"Conversation(id={conversation})"
    assert new == "Conversation(agent_name='new')"


def disagreements(model: type[DeclarativeBase]) -> list[str]:
    """Return the columns of a model that are not what its annotations say."""
    found = []
    hints = get_type_hints(model, include_extras=True)
    for name, column in model.__table__.columns.items():
        [annotation] = get_args(hints[name])  # of Mapped[annotation]
        nullable, kind = False, annotation
        if NoneType in get_args(annotation):
            nullable, [kind, _] = True, get_args(annotation)
        expected = kind.__metadata__[0] if get_origin(kind) is Annotated else PLAIN[kind]
        if column.nullable != nullable:
            found.append(f"{name} is {'' if column.nullable else 'not '}nullable")
        if not isinstance(column.type, expected if isinstance(expected, type) else type(expected)):
            found.append(f"{name} is {column.type!r}")
    return found


@pytest.mark.parametrize("model", sorted(MODELS, key=repr), ids=lambda model: model.__name__)
def test_annotations_and_columns_agree(model: type[Base]):
    assert disagreements(model) == []


def test_a_column_that_is_not_what_its_annotation_says_is_found():
    class Root(DeclarativeBase):
        type_annotation_map = Base.type_annotation_map

    class Wrong(Root):
        __tablename__ = "wrong"

        id: Mapped[Id] = mapped_column(primary_key=True)
        right: Mapped[Text | None]
        not_nullable: Mapped[Text | None] = mapped_column(nullable=False)
        nullable: Mapped[Digest] = mapped_column(nullable=True)
        text: Mapped[Id] = mapped_column(String)

    assert disagreements(Wrong) == [
        "not_nullable is not nullable",
        "nullable is nullable",
        "text is String()",
    ]
