"""The references that this package's provider is compared with."""

from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from tests.differential.differences import BuiltInPostgreSQL, Defaults
from tests.support.servers import Server


@pytest.fixture
def built_in_url(find_server: Callable[[str], Server]) -> Iterator[str]:
    """The URL of a PostgreSQL database that only the framework's provider has."""
    server = find_server("postgresql")
    url = server.create_database()
    yield url
    server.drop_database(url)


@pytest.fixture
async def built_in(built_in_url: str) -> AsyncIterator[BuiltInPostgreSQL]:
    """The framework's PostgreSQL provider, ready for use."""
    reference = BuiltInPostgreSQL(built_in_url)
    await reference.initialize()
    yield reference
    await reference.close()


@pytest.fixture
async def defaults(database_url: str) -> AsyncIterator[Defaults]:
    """The base class's default domain methods on this package's primitives, same database."""
    reference = Defaults(url=database_url)
    await reference.initialize()
    yield reference
    await reference.close()
