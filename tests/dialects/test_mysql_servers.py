"""MySQL and MariaDB: the contract does not depend on the settings of the server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import make_url

from slack_agents_sqlalchemy import AccessRefusedError, DatabaseUnavailableError, Provider
from tests.conftest import skip
from tests.support.servers import MariaDB, MySQL, ServerMissingError

DRIVERS = ["aiomysql", "asyncmy", "pymysql", "mysqlconnector"]
SECONDS = 30

every_driver = pytest.mark.parametrize("driver", DRIVERS)

type Own = MariaDB | MySQL


@pytest.fixture(scope="module", params=[MariaDB, MySQL], ids=["mariadb", "mysql"])
def own(request: pytest.FixtureRequest) -> Iterator[Own]:
    """A server that no other test uses."""
    try:
        server: Own = request.param.start()
    except ServerMissingError as missing:
        skip(missing)
    yield server
    server.close()


@pytest.fixture
def url(own: Own) -> Iterator[str]:
    created = own.create_database()
    yield created
    own.drop_database(created)


@contextmanager
def setting(own: Own, **variables: str | int) -> Iterator[None]:
    """Set variables of the server for new connections."""
    [usual] = own._execute("SELECT " + ", ".join(f"@@GLOBAL.{name}" for name in variables))
    for name, value in variables.items():
        own._execute(f"SET GLOBAL {name} = %s", (value,))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name, value in reversed([*zip(variables, usual, strict=True)]):
            own._execute(f"SET GLOBAL {name} = %s", (value,))


def by(driver: str, url: str) -> str:
    scheme = make_url(url).get_backend_name()
    if driver == "mysqlconnector" and scheme == "mariadb":
        pytest.skip("MySQL's own driver is for MySQL")
    named = make_url(url).set(drivername=f"{scheme}+{driver}")
    return named.render_as_string(hide_password=False)


async def the_contract_holds(url: str) -> None:
    """Store and read what a setting could change."""
    hostile = "\\' \" `` %s %% \\\\ || \N{GRINNING FACE} \0 \n"
    storage = Provider(url=url)
    await storage.initialize()
    for text in ("", hostile, "x" * 100_000):
        await storage.set("plugin", "key" + text[:50], {"text": text})
        assert await storage.get("plugin", "key" + text[:50]) == {"text": text}
    for number in range(3):
        await storage.append("plugin", "list", {"n": number})
    assert [item["n"] for item in await storage.get_list("plugin", "list")] == [0, 1, 2]
    conversation = await storage.get_or_create_conversation("agent", "C1", "1", hostile)
    message = await storage.create_message(conversation, "U1", "", "")
    await storage.append_text_block(message, hostile)
    await storage.append_text_block(message, "")
    [(_, blocks)] = await storage.get_message_blocks(conversation)
    assert [block["content"]["text"] for block in blocks] == [hostile, ""]
    [exported] = await storage.get_conversations_for_export(agent_name="agent")
    assert exported["channel_name"] == hostile
    await storage.close()


@every_driver
@pytest.mark.parametrize(
    "mode",
    [
        "",
        "ANSI_QUOTES",
        "NO_BACKSLASH_ESCAPES",
        "ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT,PAD_CHAR_TO_FULL_LENGTH,IGNORE_SPACE",
        "EMPTY_STRING_IS_NULL",
        "ORACLE",
    ],
)
async def test_no_sql_mode_of_the_server_changes_what_is_stored(
    own: Own, url: str, driver: str, mode: str
):
    if mode in ("EMPTY_STRING_IS_NULL", "ORACLE") and isinstance(own, MySQL):
        pytest.skip("a mode of MariaDB")
    with setting(own, sql_mode=mode):
        await the_contract_holds(by(driver, url))


@every_driver
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("autocommit", 0),
        ("sql_select_limit", 1),
        ("sql_auto_is_null", 1),
        ("character_set_server", "latin1"),
        ("default_storage_engine", "MyISAM"),
        ("innodb_default_row_format", "compact"),
        ("sql_require_primary_key", 1),
        ("sql_generate_invisible_primary_key", 1),
        ("innodb_force_primary_key", 1),
    ],
)
async def test_no_other_setting_of_the_server_changes_what_is_stored(
    own: Own, url: str, driver: str, variable: str, value: str | int
):
    if not own._execute("SHOW GLOBAL VARIABLES LIKE %s", (variable,)):
        pytest.skip(f"{own.scheme} has no {variable}")
    with setting(own, **{variable: value}):
        await the_contract_holds(by(driver, url))


@every_driver
async def test_a_user_with_a_password_connects_without_tls(own: Own, url: str, driver: str):
    user = f"reader_{driver}"
    own._execute(f"CREATE USER {user}@'%%' IDENTIFIED BY 'kept-secret'", ())
    own._execute(f"GRANT ALL ON `{make_url(url).database}`.* TO {user}@'%%'", ())
    named = make_url(by(driver, url)).set(username=user, password="kept-secret")
    await the_contract_holds(named.render_as_string(hide_password=False))
    wrong = named.set(password="another-secret").render_as_string(hide_password=False)
    with pytest.raises(AccessRefusedError) as refused:
        await Provider(url=wrong).initialize()
    assert "secret" not in str(refused.value)


@every_driver
@pytest.mark.parametrize("change", ["ACCOUNT LOCK", "PASSWORD EXPIRE", "REQUIRE X509"])
async def test_an_account_that_may_not_log_in_is_an_access_error(
    own: Own, url: str, driver: str, change: str
):
    user = f"locked_{driver}_{change.split(maxsplit=1)[0].lower()}"
    own._execute(f"CREATE USER {user}@'%%' IDENTIFIED BY 'kept-secret'", ())
    own._execute(f"GRANT ALL ON `{make_url(url).database}`.* TO {user}@'%%'", ())
    own._execute(f"ALTER USER {user}@'%%' {change}", ())
    named = make_url(by(driver, url)).set(username=user, password="kept-secret")
    with pytest.raises(AccessRefusedError):
        await Provider(url=named.render_as_string(hide_password=False)).initialize()


@every_driver
async def test_a_read_only_server_is_unavailable_for_writers_and_serves_readers(
    own: Own, url: str, driver: str
):
    if isinstance(own, MariaDB):
        pytest.skip("MariaDB lets its administrator write nevertheless")
    storage = Provider(url=by(driver, url), connect_timeout=1)
    await storage.initialize()
    await storage.set("plugin", "key", {"n": 1})
    with setting(own, read_only=1, super_read_only=1):
        with pytest.raises(DatabaseUnavailableError):
            await storage.set("plugin", "key", {"n": 2})
        assert await storage.get("plugin", "key") == {"n": 1}
    await storage.set("plugin", "key", {"n": 3})
    assert await storage.get("plugin", "key") == {"n": 3}
    await storage.close()


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@every_driver
async def test_a_connection_that_the_server_closed_for_being_idle_is_no_error(
    own: Own, url: str, driver: str
):
    name = str(make_url(url).database)
    with setting(own, wait_timeout=1):
        storage = Provider(url=by(driver, url))
        await storage.initialize()
        for number in range(2):
            await storage.append("plugin", "list", {"n": number})
            wait_until(
                lambda: (
                    not own._execute(
                        "SELECT id FROM information_schema.processlist WHERE db = %s", (name,)
                    )
                )
            )
        items = await storage.get_list("plugin", "list")
        assert [item["n"] for item in items] == [0, 1]
        await storage.close()
