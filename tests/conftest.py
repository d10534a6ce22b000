"""The databases and the providers that every test may ask for."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.pool import Pool

from slack_agents_sqlalchemy import Provider
from tests.servers import FINDERS, Server, ServerMissingError

BACKENDS = ("sqlite-file", "sqlite-memory", "postgresql", "mariadb")
# Other drivers for the same databases, which take the ordinary path: the contract suite only.
DRIVERS = ("aiosqlite-file", "psycopg", "asyncmy")

_SQLITE = {"sqlite-file": "sqlite", "aiosqlite-file": "sqlite+aiosqlite"}

_SERVER_OF = {"psycopg": "postgresql", "asyncmy": "mariadb"}

type NewProvider = Callable[..., Awaitable[Provider]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        action="append",
        choices=(*BACKENDS, *DRIVERS),
        help="run tests that take a backend on this one only (repeatable)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "durable: opens one database several times, so not run on sqlite-memory",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests that need a server, and leave out the backends that were not asked for."""
    wanted = config.getoption("--backend") or (*BACKENDS, *DRIVERS)
    kept, left_out = [], []
    for item in items:
        callspec = getattr(item, "callspec", None)
        backend = callspec.params.get("backend") if callspec else None
        if _SERVER_OF.get(backend, backend) in FINDERS:
            item.add_marker(pytest.mark.server)
        unfit = backend == "sqlite-memory" and item.get_closest_marker("durable") is not None
        unfit |= backend in DRIVERS and "contract" not in item.path.parts
        unwanted = backend is not None and backend not in wanted
        (left_out if unfit or unwanted else kept).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


@pytest.fixture(scope="session", params=(*BACKENDS, *DRIVERS))
def backend(request: pytest.FixtureRequest) -> str:
    """The name of the backend; `parametrize("backend", [...], indirect=True)` takes fewer."""
    return str(request.param)


@pytest.fixture(scope="session")
def find_server() -> Iterator[Callable[[str], Server]]:
    """Find a backend's server once; a server that is not there skips, and fails under CI."""
    found: dict[str, Server | ServerMissingError] = {}

    def find(name: str) -> Server:
        if name not in found:
            try:
                found[name] = FINDERS[name]()
            except ServerMissingError as missing:
                found[name] = missing
        server = found[name]
        if isinstance(server, ServerMissingError):
            if os.environ.get("CI") == "true":
                pytest.fail(f"{server} (CI=true: a missing server is a failure)")
            pytest.skip(str(server))
        return server

    yield find
    for server in found.values():
        if isinstance(server, Server):
            server.close()


@pytest.fixture(scope="session")
def server(backend: str, find_server: Callable[[str], Server]) -> Server | None:
    """The backend's server, None for SQLite."""
    name = _SERVER_OF.get(backend, backend)
    return find_server(name) if name in FINDERS else None


@pytest.fixture
def fresh_url(backend: str, server: Server | None, tmp_path: Path) -> Iterator[str]:
    """The plain URL of an empty database that only this test has."""
    if server:
        url = server.create_database()
        yield url
        server.drop_database(url)
    elif backend == "sqlite-memory":
        yield "sqlite:///:memory:"
    else:
        yield f"{_SQLITE[backend]}:///{tmp_path / 'fresh.db'}"


@pytest.fixture(scope="session")
def migrated_url(
    backend: str, server: Server | None, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """The plain URL of a database that was migrated at the start of the session."""
    if backend == "sqlite-memory":
        return "sqlite:///:memory:"
    if server:
        plain = server.create_database()
        url = plain.replace("://", f"+{backend}://", 1) if backend in _SERVER_OF else plain
    else:
        url = f"{_SQLITE[backend]}:///{tmp_path_factory.mktemp('migrated') / 'template.db'}"

    async def migrate() -> None:
        provider = Provider(url=url)
        await provider.initialize()
        await provider.close()

    asyncio.run(migrate())
    return url


@pytest.fixture
def database_url(migrated_url: str, server: Server | None, tmp_path: Path) -> str:
    """The plain URL of a migrated database without rows."""
    if server:
        server.empty_tables(migrated_url)
        return migrated_url
    if migrated_url == "sqlite:///:memory:":
        return migrated_url
    scheme, _, template = migrated_url.partition(":///")
    database = tmp_path / "agents.db"
    shutil.copyfile(template, database)
    return f"{scheme}:///{database}"


@pytest.fixture
def connections_in_use() -> Iterator[set[int]]:
    """The pooled connections that are checked out now, of any engine and any kind of pool."""
    in_use: set[int] = set()

    def check_out(_connection: object, record: object, _proxy: object) -> None:
        in_use.add(id(record))

    def check_in(_connection: object, record: object) -> None:
        in_use.discard(id(record))

    event.listen(Pool, "checkout", check_out)
    event.listen(Pool, "checkin", check_in)
    yield in_use
    event.remove(Pool, "checkout", check_out)
    event.remove(Pool, "checkin", check_in)


@pytest.fixture
async def new_provider(
    database_url: str, connections_in_use: set[int]
) -> AsyncIterator[NewProvider]:
    """Open one more provider on the test's database, as another process would.

    Takes the options of `Provider` (`url` too), and `initialize=False`. Each provider is closed at
    the end, and must have given back every connection by then.
    """
    opened: list[Provider] = []

    async def open_provider(*, initialize: bool = True, **options: object) -> Provider:
        provider = Provider(**{"url": database_url} | options)
        opened.append(provider)
        if initialize:
            await provider.initialize()
        return provider

    yield open_provider
    kept = len(connections_in_use)
    for provider in opened:
        await provider.close()
    assert kept == 0, "a provider did not give back a connection"


@pytest.fixture
async def storage(new_provider: NewProvider) -> Provider:
    """A provider, ready for use, on a database without rows."""
    return await new_provider()
