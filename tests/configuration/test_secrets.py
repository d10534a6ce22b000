"""Secrets are planted wherever one can stand, and looked for wherever something is shown."""

from __future__ import annotations

import asyncio
import io
import logging
import re
import traceback
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slack_agents.storage.base import OAuthClientRow, OAuthTokenRow
from sqlalchemy import URL, CreateEnginePlugin, Engine, event, make_url
from sqlalchemy.dialects import plugins
from typer.testing import CliRunner

from slack_agents_sqlalchemy import ConfigurationError, Provider, StorageError
from slack_agents_sqlalchemy.cli.app import app
from slack_agents_sqlalchemy.options import parse_options
from slack_agents_sqlalchemy.urls import redact
from tests.conftest import NewProvider
from tests.support.sql import run

SECRET = "sesame"

DRIVERS = [
    ("sqlite-file", "sqlite"),
    ("sqlite-file", "sqlite+aiosqlite"),
    ("postgresql", "postgresql+asyncpg"),
    ("postgresql", "postgresql+psycopg"),
    ("postgresql", "postgresql+psycopg2"),
    ("mariadb", "mariadb+aiomysql"),
    ("mariadb", "mariadb+asyncmy"),
    ("mariadb", "mariadb+pymysql"),
]

every_driver = pytest.mark.parametrize(("backend", "driver"), DRIVERS, indirect=["backend"])

LOGGERS = (
    "",
    "sqlalchemy",
    "sqlalchemy.engine",
    "sqlalchemy.pool",
    "alembic",
    "slack_agents_sqlalchemy",
    "aiosqlite",
    "asyncpg",
    "psycopg",
    "aiomysql",
    "asyncmy",
    "asyncio",
)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Everything that is logged, at the level that says most."""
    for name in LOGGERS:
        caplog.set_level(logging.DEBUG, logger=name)
    yield caplog
    assert SECRET not in caplog.text


def shown(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


async def write_secrets(storage: Provider) -> None:
    """Store a secret by every call that takes a text, and read what was stored."""
    token = OAuthTokenRow(
        f"{SECRET} access", f"{SECRET} refresh", "Bearer", f"{SECRET}:read", 1, 1, 2
    )
    client = OAuthClientRow("client", f"{SECRET} client", f'{{"a": "{SECRET}"}}', "https://x", 1, 2)
    await storage.put_oauth_token("U1", "server", token)
    await storage.put_oauth_client("server", "uri", client)
    assert await storage.get_oauth_token("U1", "server") == token
    assert await storage.get_oauth_client("server", "uri") == client
    await storage.set("namespace", f"{SECRET} key", {"password": SECRET})
    await storage.append(f"{SECRET} namespace", "key", {"password": SECRET})
    assert await storage.query("namespace", {"password": SECRET}) == [{"password": SECRET}]
    assert len(await storage.get_list(f"{SECRET} namespace", "key")) == 1
    conversation = await storage.get_or_create_conversation("agent", "C1", "1.0", SECRET)
    message = await storage.create_message(conversation, "U1", SECRET, SECRET)
    await storage.append_text_block(message, SECRET, is_user=True)
    await storage.append_tool_block(
        message,
        tool_call_id="toolu_1",
        tool_name="login",
        tool_input={"password": SECRET},
        tool_output=SECRET,
        is_error=False,
    )
    assert len(await storage.get_messages_with_blocks(conversation)) == 1
    assert SECRET in str(await storage.get_tool_call("toolu_1"))


@every_driver
async def test_no_secret_that_is_stored_or_read_is_logged(
    database_url: str, driver: str, log: pytest.LogCaptureFixture, new_provider: NewProvider
):
    storage = await new_provider(url=make_url(database_url).set(drivername=driver))
    await write_secrets(storage)
    assert "INSERT INTO slack_agents_oauth_tokens" in log.text


@pytest.mark.parametrize("backend", ["sqlite-file"], indirect=True)
@pytest.mark.parametrize("engine_options", [{}, {"echo": "debug"}, {"logging_name": "mine"}])
async def test_echo_shows_every_statement_and_no_secret(
    new_provider: NewProvider,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    engine_options: dict[str, object],
):
    storage = await new_provider(echo=True, engine_options=engine_options)
    await write_secrets(storage)
    assert "INSERT INTO slack_agents_oauth_tokens" in caplog.text
    assert SECRET not in caplog.text + "".join(capfd.readouterr())


USER = {"user_id": SECRET, "user_name": SECRET, "user_handle": SECRET}

type Call = Callable[[Provider], Awaitable[Any]]

REFUSED: dict[str, Call] = {
    "put_oauth_token": lambda storage: storage.put_oauth_token(
        SECRET, "server", OAuthTokenRow(SECRET, SECRET, SECRET, SECRET, 1, 1, 2)
    ),
    "put_oauth_client": lambda storage: storage.put_oauth_client(
        "server", SECRET, OAuthClientRow(SECRET, SECRET, SECRET, SECRET, 1, 2)
    ),
    "set": lambda storage: storage.set(SECRET, SECRET, {SECRET: SECRET}),
    "append": lambda storage: storage.append(SECRET, SECRET, {SECRET: SECRET}),
    "query": lambda storage: storage.query(SECRET, {SECRET: SECRET}),
    "append_text_block": lambda storage: storage.append_text_block(1, SECRET),
    "get_or_create_conversation": lambda storage: storage.get_or_create_conversation(
        "agent", "C1", SECRET, SECRET
    ),
    "create_message": lambda storage: storage.create_message(1, SECRET, SECRET, SECRET),
    "set, not JSON": lambda storage: storage.set(SECRET, SECRET, {SECRET: {SECRET.encode()}}),
    "put_oauth_token, no text": lambda storage: storage.put_oauth_token(
        SECRET,
        "server",
        OAuthTokenRow(SECRET.encode(), SECRET, SECRET, SECRET, 1, 1, 2),  # type: ignore[arg-type] # the point
    ),
    "put_oauth_token, huge": lambda storage: storage.put_oauth_token(
        SECRET, "server", OAuthTokenRow(SECRET, SECRET, SECRET, SECRET, 2**64, 1, 2)
    ),
}


def break_tables(connection: Any) -> None:
    """Rename a column of each table, so that every statement on it is refused."""
    for table, column in {
        "oauth_tokens": "access_token",
        "oauth_clients": "client_secret",
        "key_values": "value",
        "list_items": "value",
        "blocks": "text",
        "messages": "user_name",
        "conversations": "channel_name",
    }.items():
        connection.exec_driver_sql(
            f"ALTER TABLE slack_agents_{table} RENAME COLUMN {column} TO another"
        )


def refuse_rows(connection: Any) -> None:
    """Have the database refuse a row, in words that may repeat it."""
    length = "(20)" if connection.dialect.name in ("mysql", "mariadb") else ""
    connection.exec_driver_sql(
        f"CREATE UNIQUE INDEX one ON slack_agents_messages (user_name{length})"
    )


async def refuse(storage: Provider, calls: dict[str, Call], log: pytest.LogCaptureFixture) -> None:
    """Make calls that fail, on the ordinary path and on the fast one."""
    for level in (logging.DEBUG, logging.WARNING):
        for logger in ("sqlalchemy", "sqlalchemy.engine"):
            log.set_level(level, logger=logger)
        for name, call in calls.items():
            with pytest.raises(StorageError) as refused:
                await call(storage)
            assert SECRET not in shown(refused.value), name


@every_driver
async def test_no_error_of_a_call_shows_a_secret(
    fresh_url: str, driver: str, log: pytest.LogCaptureFixture, new_provider: NewProvider
):
    storage = await new_provider(url=make_url(fresh_url).set(drivername=driver))
    conversation = await storage.get_or_create_conversation("agent", "C1", "1.0")
    await storage.create_message(conversation, **USER)
    await run(storage, refuse_rows)

    def again(storage: Provider) -> Awaitable[Any]:
        return storage.create_message(conversation, **USER)

    await refuse(storage, {"a row like another": again}, log)
    await run(storage, break_tables)
    await refuse(storage, REFUSED, log)


class CreatedEngines(CreateEnginePlugin):
    """Keep the engines that are created, as a provider that cannot connect shows none."""

    engines: ClassVar[list[Engine]] = []

    def update_url(self, url: URL) -> URL:
        return url

    def engine_created(self, engine: Engine) -> None:
        self.engines.append(engine)


plugins.register(CreatedEngines.__name__, __name__, CreatedEngines.__name__)


def attributes(storage: Provider) -> str:
    """Return what an error reporter shows of a provider: its attributes, and those of its parts."""
    plain = re.compile(r"<.* object at 0x\w+>")  # what has no __repr__ of its own
    parts = [vars(part) for part in vars(storage).values() if plain.fullmatch(repr(part))]
    return repr([storage, vars(storage), *parts])


@pytest.mark.parametrize(
    "planted",
    [
        {"url": f"postgresql+asyncpg://someone:{SECRET}@127.0.0.1:1/a"},
        {"url": f"postgresql+asyncpg://someone@127.0.0.1:1/a?password={SECRET}"},
        {"url": f"postgresql+psycopg://someone@127.0.0.1:1/a?password={SECRET}"},
        {"url": f"postgresql+psycopg2://someone@127.0.0.1:1/a?sslpassword={SECRET}"},
        {"url": f"mariadb+pymysql://someone@127.0.0.1:1/a?password={SECRET}"},
        {"url": f"mariadb+aiomysql://someone@127.0.0.1:1/a?passwd={SECRET}"},
        {"url": f"mariadb+aiomysql://someone@127.0.0.1:1/a?init_command=SELECT+'{SECRET}'"},
        {"url": f"postgresql+asyncpg://127.0.0.1:1/a?dsn=postgresql%3A%2F%2Fu%3A{SECRET}%40h%2Fa"},
        {"url": "postgresql+asyncpg://127.0.0.1:1/a", "connect_args": {"password": SECRET}},
        {"url": "postgresql+psycopg://127.0.0.1:1/a", "connect_args": {"password": SECRET}},
        {"url": "mariadb+aiomysql://127.0.0.1:1/a", "connect_args": {"password": SECRET}},
        {"url": "mariadb+asyncmy://127.0.0.1:1/a", "connect_args": {"password": SECRET}},
        {"url": "sqlite:///no-such-folder/a.db", "connect_args": {"cipher_key": SECRET}},
    ],
    ids=str,
)
async def test_no_secret_of_the_configuration_is_shown(
    planted: dict[str, Any], log: pytest.LogCaptureFixture
):
    CreatedEngines.engines.clear()
    plugin = {"plugins": [CreatedEngines.__name__]}
    storage = Provider(**planted, connect_timeout=1, engine_options=plugin)
    with pytest.raises(StorageError) as failed:
        await storage.initialize()
    assert SECRET not in shown(failed.value)
    assert SECRET not in attributes(storage)
    [engine] = CreatedEngines.engines
    assert SECRET not in f"{engine!r} {engine} {engine.url!r} {engine.url} {engine.pool!r}"


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("credentials_base64=sesame", "credentials_base64=***"),
        ("unheard_of=sesame&sslmode=require", "sslmode=require&unheard_of=***"),
        ("host=one:1&host=two:2", "host=one%3A1&host=two%3A2"),
        ("sslpassword=sesame&sslrootcert=ca.pem", "sslpassword=***&sslrootcert=ca.pem"),
        ("ssl_check_hostname=false&charset=utf8", "charset=utf8&ssl_check_hostname=false"),
    ],
)
def test_of_a_url_only_what_is_known_to_be_no_secret_is_shown(query: str, shown: str):
    assert redact(make_url(f"any://u@/a?{query}")) == f"any://u@/a?{shown}"


def test_what_the_user_wrote_of_tls_is_shown_as_it_was_written():
    storage = Provider(url="postgresql://u@h/a?sslmode=verify-full&sslrootcert=ca.pem")
    assert "/a?sslmode=verify-full&sslrootcert=ca.pem" in repr(storage)


@pytest.mark.parametrize("option", ["connect_args", "engine_options"])
def test_what_should_have_been_a_mapping_is_not_shown(option: str):
    with pytest.raises(ConfigurationError, match=f"'{option}' must be a mapping") as refused:
        parse_options({option: f"password={SECRET}"})
    assert SECRET not in shown(refused.value)


@pytest.mark.parametrize("command", ["upgrade --url", "current --url", "check --url", "demo --url"])
def test_no_command_shows_a_secret_of_the_url(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    url = f"postgresql://someone:{SECRET}@127.0.0.1:1/agents?password={SECRET}"
    done = CliRunner().invoke(app, [*command.split(), url])
    assert done.exit_code == 1
    assert "127.0.0.1:1" in done.output
    assert SECRET not in done.output


@pytest.mark.parametrize(
    "planted",
    [
        {"url": "postgresql+asyncpg://h/a", "connect_args": {"password": [SECRET]}},
        {"url": "postgresql+asyncpg://h/a", "connect_args": {"server_settings": SECRET}},
        {"url": "postgresql+asyncpg://h/a", "connect_args": {"dsn": f"{SECRET}://{SECRET}"}},
        {"url": "postgresql+asyncpg://h/a", "connect_args": {"port": SECRET}},
        {"url": "postgresql+psycopg://h/a", "connect_args": {"password": [SECRET]}},
        {"url": "postgresql+psycopg://h/a", "connect_args": {"conninfo": f"{SECRET} {SECRET}"}},
        {"url": "postgresql+psycopg2://h/a", "connect_args": {"dsn": f"{SECRET} {SECRET}"}},
        {"url": f"postgresql+psycopg2://h/a?dsn=password={SECRET}+{SECRET}"},
        {"url": "mariadb+aiomysql://h/a", "connect_args": {"password": [SECRET]}},
        {"url": "mariadb+asyncmy://h/a", "connect_args": {"password": {SECRET: SECRET}}},
        {"url": "mariadb+pymysql://h/a", "connect_args": {"password": [SECRET]}},
        {"url": "mariadb+pymysql://h/a", "connect_args": {"port": SECRET}},
        {"url": "postgresql://h/a", "engine_options": {"plugins": [SECRET]}},
        {"url": "postgresql://h/a", "engine_options": {"label_length": SECRET}},
        {"url": "postgresql://h/a", "engine_options": {"query_cache_size": SECRET}},
        {"url": "postgresql://h/a", "engine_options": {"pool_timeout": SECRET}},
        {"url": "postgresql://h/a", "engine_options": {"poolclass": SECRET}},
        {"url": "postgresql://h/a", "engine_options": {"password": SECRET}},
    ],
    ids=str,
)
async def test_no_secret_of_an_argument_of_the_wrong_kind_is_shown(
    planted: dict[str, Any], log: pytest.LogCaptureFixture
):
    arguments = planted | {"url": planted["url"].replace("://h", "://127.0.0.1:1")}
    with pytest.raises(StorageError) as failed:
        await initialized(**arguments)
    assert SECRET not in shown(failed.value)


async def initialized(**arguments: Any) -> None:
    storage = Provider(**arguments)
    assert SECRET not in attributes(storage)
    await storage.initialize()


# None of these letters stands in a message in capitals.
_PASSWORDS = st.text("QXZ59@:/?#[]%", min_size=4, max_size=12).filter(lambda it: set(it) & {*"QXZ"})

_SHAPES: dict[str, Callable[[str, str], str | URL]] = {
    "plain": lambda scheme, it: f"{scheme}://root:{it}@127.0.0.1:1/agents",
    "no user": lambda scheme, it: f"{scheme}://:{it}@127.0.0.1:1/agents",
    "no port": lambda scheme, it: f"{scheme}://root:{it}@127.0.0.1/agents?port=1",
    "several hosts": lambda scheme, it: (
        f"{scheme}://root:{it}@/agents?host=127.0.0.1:1&host=127.0.0.1:2"
    ),
    # With an @, or a number at its beginning, it is a URL like any other.
    "no host": lambda scheme, it: f"{scheme}://root:Q{it.replace('@', '')}/agents",
    "three slashes": lambda scheme, it: f"{scheme}:///root:{it}@127.0.0.1:1/agents",
    "no scheme": lambda _, it: f"root:{it}@127.0.0.1:1/agents",
    "in the query": lambda scheme, it: f"{scheme}://root@127.0.0.1:1/agents?password={it}",
    "in the query alone": lambda scheme, it: (
        f"{scheme}://127.0.0.1:1/agents?user=root&password={it}"
    ),
    "object": lambda scheme, it: URL.create(scheme, "root", it, "127.0.0.1", 1, "agents"),
    "object, several hosts": lambda scheme, it: URL.create(
        scheme, "root", it, database="agents", query={"host": ("127.0.0.1:1", "127.0.0.1:2")}
    ),
    "object, in the query": lambda scheme, it: URL.create(
        scheme, "root", None, "127.0.0.1", 1, "agents", {"password": it}
    ),
}


@pytest.mark.parametrize("shape", _SHAPES)
@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg", "mysql", "mariadb+pymysql"])
@settings(max_examples=15, deadline=None)
@given(password=_PASSWORDS)
def test_no_part_of_a_password_is_shown_however_the_url_is_written(
    scheme: str, shape: str, password: str
):
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    logging.getLogger().addHandler(handler)

    async def start() -> None:
        storage = Provider(url=_SHAPES[shape](scheme, password), connect_timeout=30)
        said.write(f"{storage!r} {storage!s}")
        await storage.initialize()

    try:
        with pytest.raises(StorageError) as failed:
            asyncio.run(start())
    finally:
        logging.getLogger().removeHandler(handler)
    text = f"{said.getvalue()} {failed.value!r} {shown(failed.value)}"
    for written in (password, unquote(password)):
        parts = {written[start : start + 4] for start in range(len(written) - 3)}
        assert not [part for part in parts if set(part) & {*"QXZ"} and part in text]


async def test_no_value_and_no_name_of_a_filter_stands_in_the_sql(storage: Provider):
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(storage.engine, "before_cursor_execute", note)
    await write_secrets(storage)
    for value in (SECRET, 1, None, {SECRET: [SECRET]}):
        await storage.query(SECRET, {f'{SECRET}") OR 1=1 --': value, f"{SECRET} $1 %s ?": value})
    await storage.get_conversations_for_export(SECRET, handle=SECRET, date_from="2026-01-01")
    await storage.upsert_heartbeat(SECRET, 1.5)
    assert len(statements) > 20
    assert [statement for statement in statements if SECRET in statement] == []
