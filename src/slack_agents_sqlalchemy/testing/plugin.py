"""The pytest plug-in of the contract suite.

The suite's own conftest takes its fixtures from here, so that both run the tests alike.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy.engine import URL

from slack_agents_sqlalchemy.errors import NotInitializedError
from slack_agents_sqlalchemy.provider import Provider
from slack_agents_sqlalchemy.testing.connections import connections_left
from slack_agents_sqlalchemy.testing.temporary_database import TemporaryDatabase

type NewProvider = Callable[..., Awaitable[Provider]]


class OnTemporaryDatabase:
    """Plug-in that runs the tests on a temporary database.

    Attributes:
        left_out: The number of tests that cannot run there.
    """

    def __init__(self, temporary: TemporaryDatabase) -> None:
        self.left_out = 0
        self._temporary = temporary

    def pytest_configure(self, config: pytest.Config) -> None:
        config.addinivalue_line("markers", "durable: opens one database several times")

    @pytest.hookimpl(trylast=True)  # -k comes first
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self._temporary.is_in_memory:
            durable = [item for item in items if item.get_closest_marker("durable") is not None]
            self.left_out = len(durable)
            items[:] = [item for item in items if item not in durable]

    @pytest.fixture(scope="session")
    def usual_options(self) -> dict[str, object]:
        """Return the options of every provider."""
        return self._temporary.provider_options

    @pytest.fixture
    def database_url(self) -> URL:
        """Return the URL of a migrated database without rows."""
        self._temporary.empty_tables()
        return self._temporary.url


@pytest.fixture
async def new_provider(
    database_url: URL | str, usual_options: dict[str, object]
) -> AsyncIterator[NewProvider]:
    """Yield a function that opens one more provider on the test's database, as a process would.

    It takes the options of `Provider` (`url` too), and `initialize=False`. After the test each
    provider is closed, and none may keep a connection checked out.
    """
    opened: list[Provider] = []

    async def open_provider(*, initialize: bool = True, **options: Any) -> Provider:
        arguments: dict[str, Any] = {"url": database_url, **usual_options, **options}
        provider = Provider(**arguments)
        opened.append(provider)
        if initialize:
            await provider.initialize()
        return provider

    yield open_provider
    leaked = 0
    for provider in opened:
        with suppress(NotInitializedError):  # the test has closed it
            leaked += await connections_left(provider)
        await provider.close()
    if leaked:
        pytest.fail("a provider leaked a connection")


@pytest.fixture
async def storage(new_provider: NewProvider) -> Provider:
    """Return a provider, ready for use, on a database without rows."""
    return await new_provider()
