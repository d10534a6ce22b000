"""A user's own tables and migrations beside the package's: the examples of docs/own-tables.md."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    cast,
    create_engine,
    inspect,
    make_url,
    select,
    type_coerce,
)
from sqlalchemy.orm import Session

from slack_agents_sqlalchemy import InvalidTypeError, Provider
from slack_agents_sqlalchemy.models import Block, ListItem, ToolCall
from slack_agents_sqlalchemy.testing.plugin import NewProvider
from tests.support.sql import run

DOCUMENT = Path(__file__).parents[2] / "docs" / "own-tables.md"
RATINGS, ENVIRONMENT, QUERY = re.findall(
    r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL
)
DRIVERS = {
    "sqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "mariadb": "mariadb+pymysql",
    "mysql": "mysql+pymysql",
}
# What a user writes who declares the models on the package's Base instead.
ON_OUR_BASE = RATINGS.replace("import Conversation", "import Base, Conversation").replace(
    "class Base(DeclarativeBase):\n    pass\n", ""
)


class Project:
    """A project that has migrations of its own."""

    def __init__(self, folder: Path, url: str, models: str) -> None:
        self._folder = folder
        plain = make_url(url)
        self.url = plain.set(drivername=DRIVERS[plain.get_backend_name()])
        shown = self.url.render_as_string(hide_password=False).replace("%", "%%")
        scripts = folder / "alembic"
        (scripts / "versions").mkdir(parents=True)
        (folder / "ratings.py").write_text(models)
        (scripts / "env.py").write_text(ENVIRONMENT)
        template = Path(sys.modules["alembic"].__path__[0]) / "templates/generic/script.py.mako"
        (scripts / "script.py.mako").write_text(template.read_text())
        (folder / "alembic.ini").write_text(
            f"[alembic]\nscript_location = alembic\nsqlalchemy.url = {shown}\n"
        )

    def alembic(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "alembic", *arguments],
            cwd=self._folder,
            env={**os.environ, "PYTHONPATH": str(self._folder), "PYTHONSAFEPATH": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def migration(self) -> str:
        [script] = (self._folder / "alembic" / "versions").glob("*.py")
        return script.read_text()


@pytest.mark.durable
@pytest.mark.parametrize("models", [RATINGS, ON_OUR_BASE], ids=["their base", "our base"])
async def test_a_users_migrations_have_plain_types_and_leave_our_tables_alone(
    fresh_url: str, new_provider: NewProvider, tmp_path: Path, models: str
):
    provider = await new_provider(url=fresh_url)
    await provider.get_or_create_conversation("agent", "C1", "1.0")
    project = Project(tmp_path / "project", fresh_url, models)

    project.alembic("revision", "--autogenerate", "-m", "ratings")
    migration = project.migration()
    assert "sa.BigInteger()" in migration
    assert "slack_agents_sqlalchemy" not in migration
    assert re.findall(r"op\.((?:create|drop|add|alter)\w+)\('(\w+)'", migration) == [
        ("create_table", "ratings"),
        ("drop_table", "ratings"),
    ]
    project.alembic("upgrade", "head")
    assert "No new upgrade operations" in project.alembic("check")

    engine = create_engine(project.url)
    [key] = inspect(engine).get_foreign_keys("ratings")
    assert key["referred_table"] == "slack_agents_conversations"
    engine.dispose()
    assert await provider.has_conversation("agent", "C1", "1.0")


async def store_conversation(storage: Provider) -> None:
    conversation = await storage.get_or_create_conversation("agent", "C1", "1.0")
    message = await storage.create_message(conversation, "U1", "Ada", "ada")
    for number, sql in enumerate(["SELECT * FROM orders", "SELECT 1", "DELETE FROM orders"]):
        await storage.append_tool_block(
            message,
            tool_call_id=f"toolu_{number}",
            tool_name="query_database",
            tool_input={"sql": sql, "limit": number},
            tool_output="",
            is_error=False,
        )


async def test_rows_are_narrowed_down_by_the_text_of_their_json(storage: Provider):
    await store_conversation(storage)
    example: dict[str, Any] = {}
    exec(QUERY, example)

    def ask(connection: Connection) -> list[str]:
        with Session(connection) as session:
            return sorted(example["queries_of_orders"](session))

    found = await run(storage, ask)
    assert found == ["DELETE FROM orders", "SELECT * FROM orders"]


@pytest.mark.parametrize(
    ("condition", "count"),
    [
        (ToolCall.tool_input == {"sql": "SELECT 1", "limit": 1}, 1),
        (ToolCall.tool_input.in_([{"sql": "SELECT 1", "limit": 1}, {}]), 1),
        (ToolCall.tool_input != {}, 3),
        (ToolCall.tool_input.like('%"limit":2%'), 1),
        (ToolCall.tool_input.startswith('{"sql":"SELECT'), 2),
        (ToolCall.tool_input.icontains("ORDERS"), 2),
        (ToolCall.tool_input.is_(None), 0),
    ],
    ids=["equal", "in", "not equal", "like", "startswith", "icontains", "null"],
)
async def test_json_is_compared_as_a_value_and_matched_as_text(
    storage: Provider, condition: Any, count: int
):
    await store_conversation(storage)
    found = await run(
        storage, lambda connection: connection.execute(select(ToolCall.id).where(condition)).all()
    )
    assert len(found) == count


async def test_the_json_functions_of_a_database_work_on_the_text(storage: Provider):
    await store_conversation(storage)
    value: ColumnElement[Any]
    if storage.engine.dialect.name == "postgresql":
        value = cast(ToolCall.tool_input, JSON)
    else:
        value = type_coerce(ToolCall.tool_input, JSON)
    sql = value["sql"].as_string()
    statement = select(sql).where(sql.contains("orders")).order_by(sql)
    rows = await run(storage, lambda connection: connection.execute(statement).scalars().all())
    assert rows == ["DELETE FROM orders", "SELECT * FROM orders"]


@pytest.mark.parametrize("column", [ToolCall.tool_input, Block.content, ListItem.value])
@pytest.mark.parametrize("key", ["sql", 0])
def test_an_element_of_json_within_a_statement_is_an_error_that_says_what_to_do(
    column: Any, key: Any
):
    with pytest.raises(InvalidTypeError, match=r"select the rows and read the value in Python"):
        column[key]
