"""The databases and the providers that every test may ask for."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from sqlalchemy import make_url

from slack_agents_sqlalchemy import Provider
from slack_agents_sqlalchemy.testing.plugin import (  # fixtures of this project's users
    NewProvider,
    new_provider,
    storage,
)
from tests.support import unknown_dialects
from tests.support.relay import Relay
from tests.support.servers import FINDERS, Server, ServerMissingError
from tests.support.servers.files import FileDatabase, Firebird

unknown_dialects.register()

BACKENDS = ("sqlite-file", "sqlite-memory", "postgresql", "mariadb", "mysql")
"""Run every test."""

# The contract suite only: (the server's name, None for a file, and how the URL begins).
FURTHER_BACKENDS: dict[str, tuple[str | None, str]] = {
    # Other drivers for the same databases, without the fast path.
    "aiosqlite-file": (None, "sqlite+aiosqlite"),
    "psycopg": ("postgresql", "postgresql+psycopg"),
    "psycopg2": ("postgresql", "postgresql+psycopg2"),
    "asyncmy": ("mariadb", "mariadb+asyncmy"),
    "pymysql": ("mariadb", "mariadb+pymysql"),
    "mysql-asyncmy": ("mysql", "mysql+asyncmy"),
    "mysql-pymysql": ("mysql", "mysql+pymysql"),
    "mysql-connector": ("mysql", "mysql+mysqlconnector"),
    # The newest release.
    "postgresql-18": ("postgresql-18", "postgresql+asyncpg"),
    # The same databases under unknown names: the portable fallback.
    "portable-sqlite": (None, "plainsqlite"),
    "portable-postgresql": ("postgresql", "plainpostgresql"),
    "portable-mariadb": ("mariadb", "plainmariadb"),
    "portable-mysql": ("mysql", "plainmysql"),
    # A pooler that shares connections by transaction: the tests of concurrency only.
    "pgbouncer-asyncpg": ("pgbouncer", "postgresql+asyncpg"),
    "pgbouncer-psycopg": ("pgbouncer", "postgresql+psycopg"),
    "pgbouncer-psycopg2": ("pgbouncer", "postgresql+psycopg2"),
    # A dialect without an adapter.
    "firebird": (None, "firebird+firebird"),
}

# On these, the tests in which a driver or the portable fallback can fail differently; the whole
# suite runs on them by `slack-agents-db verify-backend`, or with `--backend`.
_PARTLY = {
    "pgbouncer-asyncpg": ("test_concurrency",),
    "pgbouncer-psycopg": ("test_concurrency",),
    "pgbouncer-psycopg2": ("test_concurrency",),
    **dict.fromkeys(
        (
            *("psycopg2", "pymysql", "mysql-asyncmy", "mysql-pymysql", "mysql-connector"),
            *("portable-postgresql", "portable-mariadb", "portable-mysql"),
        ),
        ("test_concurrency", "test_conversations", "test_exports", "test_oauth", "test_heartbeats"),
    ),
}

_SERVER_OF = {name: server for name, (server, _) in FURTHER_BACKENDS.items() if server}

__all__ = ["NewProvider", "new_provider", "storage"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        action="append",
        choices=(*BACKENDS, *FURTHER_BACKENDS),
        help="run tests that take a backend on this one only (repeatable)",
    )


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell's background job ignores it, and so would the processes that tests interrupt.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line(
        "markers",
        "durable: opens one database several times, so not run on sqlite-memory",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests that need a server, and leave out the backends that were not asked for."""
    asked = config.getoption("--backend")
    wanted = asked or (*BACKENDS, *FURTHER_BACKENDS)
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        callspec = getattr(item, "callspec", None)
        backend = str(callspec.params.get("backend", "")) if callspec else ""
        if _SERVER_OF.get(backend, backend) in FINDERS:
            item.add_marker(pytest.mark.server)
        unfit = backend == "sqlite-memory" and item.get_closest_marker("durable") is not None
        unfit |= backend in FURTHER_BACKENDS and "contract" not in item.path.parts
        unfit |= not asked and item.path.stem not in _PARTLY.get(backend, (item.path.stem,))
        unwanted = bool(backend) and backend not in wanted
        (left_out if unfit or unwanted else kept).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


def skip(missing: ServerMissingError) -> NoReturn:
    """Skip a test for what is not installed; under CI that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{missing} (CI=true: a missing server is a failure)")
    pytest.skip(str(missing))


@pytest.fixture(scope="session", params=(*BACKENDS, *FURTHER_BACKENDS))
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
            skip(server)
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


@pytest.fixture(scope="session")
def usual_options(backend: str) -> dict[str, object]:
    """The options of a provider that the backend needs."""
    pooled = _SERVER_OF.get(backend) == "pgbouncer"
    return {"prepared_statements": False} if pooled else {}


@pytest.fixture(scope="session")
def file_database(backend: str) -> FileDatabase | None:
    """How the backend makes a database in a file, None where it does not."""
    if backend == "sqlite-file":
        return FileDatabase("sqlite")
    server, scheme = FURTHER_BACKENDS.get(backend, (backend, ""))
    if server is not None:
        return None
    return Firebird(scheme) if backend == "firebird" else FileDatabase(scheme)


@pytest.fixture
def fresh_url(
    backend: str, server: Server | None, file_database: FileDatabase | None, tmp_path: Path
) -> Iterator[str]:
    """The plain URL of an empty database that only this test has."""
    if server:
        url = server.create_database()
        yield url
        server.drop_database(url)
    elif backend == "sqlite-memory":
        yield "sqlite:///:memory:"
    else:
        assert file_database is not None
        yield file_database.create(tmp_path / "fresh.db")


@pytest.fixture(scope="session")
def migrated_url(
    backend: str,
    server: Server | None,
    file_database: FileDatabase | None,
    usual_options: dict[str, object],
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    """The plain URL of a database that was migrated at the start of the session."""
    if backend == "sqlite-memory":
        return "sqlite:///:memory:"
    if server:
        plain = server.create_database()
        url = (
            FURTHER_BACKENDS[backend][1] + plain[plain.index("://") :]
            if backend in FURTHER_BACKENDS
            else plain
        )
    else:
        assert file_database is not None
        try:
            url = file_database.create(tmp_path_factory.mktemp("migrated") / "template.db")
        except ServerMissingError as missing:
            skip(missing)

    async def migrate() -> None:
        provider = Provider(url=url, **usual_options)
        await provider.initialize()
        await provider.close()

    asyncio.run(migrate())
    return url


@pytest.fixture
def database_url(
    migrated_url: str, server: Server | None, file_database: FileDatabase | None, tmp_path: Path
) -> str:
    """The plain URL of a migrated database without rows."""
    if server:
        server.empty_tables(migrated_url)
    elif file_database:
        return file_database.copy(migrated_url, tmp_path / "agents.db")
    return migrated_url


type AnHourLater = Callable[[], None]


@pytest.fixture
def an_hour_later(monkeypatch: pytest.MonkeyPatch) -> AnHourLater:
    """Set the monotonic clock an hour forward at each call, so that every connection was idle."""
    real = time.monotonic
    hours = 0

    def advance() -> None:
        nonlocal hours
        hours += 1
        monkeypatch.setattr(time, "monotonic", lambda: real() + hours * 3600)

    return advance


_PORTS = {"postgresql": 5432, "mariadb": 3306, "mysql": 3306}


@pytest.fixture
async def relay(database_url: str) -> AsyncIterator[Relay]:
    url = make_url(database_url)
    relay = Relay(url.host or "127.0.0.1", url.port or _PORTS[url.get_backend_name()])
    yield relay
    await relay.close()


@pytest.fixture
async def relayed(relay: Relay, database_url: str, new_provider: NewProvider) -> Provider:
    """A provider that reaches the server through the relay."""
    url = make_url(database_url).set(host="127.0.0.1", port=await relay.open())
    return await new_provider(url=url.render_as_string(hide_password=False))
