"""The contract suite on a database that a user names: a pytest plug-in, and what runs it.

The suite's own conftest takes its fixtures from here, so that both run the tests alike.
"""

import asyncio
import os
import secrets
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import _hypothesis_pytestplugin  # type: ignore[import-untyped]  # no type marker
import pytest
import pytest_asyncio.plugin
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sqlalchemy import MetaData, event, inspect
from sqlalchemy import Table as DatabaseTable
from sqlalchemy.engine import URL, Connection
from sqlalchemy.pool import Pool

from slack_agents_sqlalchemy.database import Database
from slack_agents_sqlalchemy.dialects import Scratch, backend
from slack_agents_sqlalchemy.errors import ConfigurationError
from slack_agents_sqlalchemy.options import Options, describe, parse_url
from slack_agents_sqlalchemy.provider import Provider
from slack_agents_sqlalchemy.tables import TABLE_PREFIX, VERSION_TABLE, metadata

type NewProvider = Callable[..., Awaitable[Provider]]

_TABLES = metadata.sorted_tables[::-1]


def verify(url: str, console: Console, keyword: str = "") -> bool:
    """Run the contract suite in a scratch place on a database, and print what came of it.

    Args:
        url: The database; no row in it is touched.
        console: Where to print.
        keyword: As pytest's ``-k``: run the tests whose names match.

    Returns:
        Whether there were tests, and all passed.

    Raises:
        StorageError: The database cannot be used, or already holds tables of this package where
            there is no scratch place.
    """
    name = f"slack_agents_verify_{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory(prefix=name) as directory:
        parsed = parse_url(url)
        known = backend(parsed.get_backend_name())
        scratch = known.scratch(parsed, name, Path(directory))
        place = f" in {name}" if scratch.drop else ""
        console.print(f"verifying {describe(parsed)}{place} ...", markup=False, soft_wrap=True)
        outcome = _Outcome(scratch)
        with _place(scratch, parsed), _quiet_process(directory):
            pytest.main(
                _arguments(Path(directory), keyword), plugins=[sys.modules[__name__], outcome]
            )
    return outcome.show(console)


@contextmanager
def _place(scratch: Scratch, url: URL) -> Iterator[None]:
    """Make the scratch place, and remove it whatever happens."""
    in_memory = backend(url.get_backend_name()).is_private_memory(url)
    if scratch.create is not None:
        _run(url, lambda connection: connection.exec_driver_sql(str(scratch.create)))
    elif scratch.url == url and not in_memory:
        found = _run(url, _ours)  # or it cannot be reached
        if found and scratch.schema is None:
            raise ConfigurationError(
                f"{describe(url)} holds tables of this package already ({', '.join(found)}), and "
                "no scratch place is known beside them: name an empty database"
            )
    try:
        yield
    finally:
        if scratch.drop is not None:
            _run(url, lambda connection: connection.exec_driver_sql(str(scratch.drop)))
        elif not in_memory:
            _run(scratch.url, _drop_tables)


def _run(url: URL, operation: Callable[[Connection], Any]) -> Any:
    async def run() -> Any:
        database = Database(url, Options())
        await database.open()
        try:
            return await database.run(operation)
        finally:
            await database.close()

    return asyncio.run(run())


def _ours(connection: Connection) -> list[str]:
    names = inspect(connection).get_table_names()
    return sorted(name for name in names if name.startswith(TABLE_PREFIX))


def _drop_tables(connection: Connection) -> None:
    for table in (*_TABLES, DatabaseTable(VERSION_TABLE, MetaData())):
        table.drop(connection, checkfirst=True)


@contextmanager
def _quiet_process(directory: str) -> Iterator[None]:
    """Keep plug-ins of others away, and files of the tools out of the working directory."""
    wanted = {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "HYPOTHESIS_STORAGE_DIRECTORY": directory,
    }
    before = {name: os.environ.get(name) for name in wanted}, sys.dont_write_bytecode
    os.environ.update(wanted)
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before[1]
        for name, value in before[0].items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _arguments(directory: Path, keyword: str) -> list[str]:
    package = Path(__file__).parent
    installed = package / "suite"  # in the wheel; in a checkout it is at the top
    root = installed if installed.is_dir() else package.parents[1]
    settings = directory / "pytest.ini"
    settings.write_text(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
    )
    suite = root / "tests" / "contract"
    return [
        str(suite),
        *("-c", str(settings), f"--rootdir={root}", f"--confcutdir={suite}"),
        *("--import-mode=importlib", "-o", f"pythonpath={root}"),
        *("-k", keyword),
        *("-p", "no:terminal", "-p", "no:cacheprovider"),
        *("-p", pytest_asyncio.plugin.__name__, "-p", _hypothesis_pytestplugin.__name__),
    ]


class _Outcome:
    """Where the suite runs, and what came of it, by the files of the suite."""

    def __init__(self, scratch: Scratch) -> None:
        self.scratch = scratch
        self._passed: Counter[str] = Counter()
        self._failed: dict[str, dict[str, str]] = {}
        self._broken: list[str] = []

    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[_SCRATCH] = self.scratch
        config.addinivalue_line("markers", "durable: opens one database several times")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        url = self.scratch.url
        if backend(url.get_backend_name()).is_private_memory(url):
            items[:] = [item for item in items if item.get_closest_marker("durable") is None]

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._broken.append(str(report.longrepr))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        file, _, name = report.nodeid.partition("::")
        part = Path(file).stem.removeprefix("test_").replace("_", " ")
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            reason = crash.message if crash else str(report.longrepr)
            self._failed.setdefault(part, {})[name] = reason.splitlines()[0][:300]
        elif report.when == "call" and report.passed:
            self._passed[part] += 1

    def show(self, console: Console) -> bool:
        """Print the result, and return whether every test passed."""
        table = Table("part of the contract", "passed", "failed")
        for part in sorted(self._passed.keys() | self._failed.keys()):
            failed = len(self._failed.get(part, ()))
            table.add_row(part, str(self._passed[part]), f"[red]{failed}[/]" if failed else "0")
        console.print(table)
        for failures in self._failed.values():
            for name, reason in failures.items():
                console.print(
                    f"[red]failed:[/] {escape(name)}\n    {escape(reason)}", soft_wrap=True
                )
        for broken in self._broken:
            console.print(broken, markup=False)
        good = bool(self._passed) and not self._failed and not self._broken
        passed = self._passed.total()
        console.print(
            f"[green]all {passed} tests passed[/]"
            if good
            else "[red]this database does not serve[/]"
        )
        return good


_SCRATCH = pytest.StashKey[Scratch]()


@pytest.fixture(scope="session")
def usual_options(request: pytest.FixtureRequest) -> dict[str, object]:
    """Return the options of every provider."""
    schema = request.config.stash[_SCRATCH].schema
    return {} if schema is None else {"schema": schema}


@pytest.fixture(scope="session")
def _empty(request: pytest.FixtureRequest, usual_options: dict[str, Any]) -> Callable[[], None]:
    """Empty the tables of the scratch place."""
    url = request.config.stash[_SCRATCH].url
    if backend(url.get_backend_name()).is_private_memory(url):
        return lambda: None

    async def empty() -> None:
        provider = Provider(url=url, **usual_options)
        await provider.initialize()
        await provider._database.run(_delete_rows)  # noqa: SLF001 - not a call of the contract
        await provider.close()

    return lambda: asyncio.run(empty())


def _delete_rows(connection: Connection) -> None:
    for table in _TABLES:
        connection.execute(table.delete())


@pytest.fixture
def database_url(request: pytest.FixtureRequest, _empty: Callable[[], None]) -> URL:
    """Return the URL of a migrated database without rows."""
    _empty()
    scratch = request.config.stash[_SCRATCH]
    return scratch.url


@pytest.fixture
def connections_in_use() -> Iterator[set[int]]:
    """Watch the pooled connections that are checked out now, of any engine and any kind of pool."""
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
    database_url: URL | str, usual_options: dict[str, object], connections_in_use: set[int]
) -> AsyncIterator[NewProvider]:
    """Open one more provider on the test's database, as another process would.

    Takes the options of `Provider` (`url` too), and `initialize=False`. Each provider is closed at
    the end, and must have given back every connection by then.
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
    kept = len(connections_in_use)
    for provider in opened:
        await provider.close()
    if kept:
        pytest.fail("a provider did not give back a connection")


@pytest.fixture
async def storage(new_provider: NewProvider) -> Provider:
    """Open a provider, ready for use, on a database without rows."""
    return await new_provider()
