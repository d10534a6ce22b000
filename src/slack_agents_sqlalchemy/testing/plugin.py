"""The contract suite on a database that a user names: a pytest plug-in, and what runs it.

The suite's own conftest takes its fixtures from here, so that both run the tests alike.
"""

import asyncio
import logging
import os
import secrets
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import _hypothesis_pytestplugin  # type: ignore[import-untyped]  # no type marker
import pytest
import pytest_asyncio.plugin
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from sqlalchemy import Column, Integer, MetaData, exists, inspect
from sqlalchemy import Table as DatabaseTable
from sqlalchemy.engine import URL, Connection
from sqlalchemy.pool import QueuePool
from sqlalchemy.schema import CreateTable

from slack_agents_sqlalchemy.dialects import TemporaryDatabase, adapter_for
from slack_agents_sqlalchemy.engine.database import Database
from slack_agents_sqlalchemy.errors import ConfigurationError, NotInitializedError, StorageError
from slack_agents_sqlalchemy.interruption import Interruption
from slack_agents_sqlalchemy.models import TABLE_PREFIX, VERSION_TABLE, metadata
from slack_agents_sqlalchemy.options import Options
from slack_agents_sqlalchemy.provider import Provider
from slack_agents_sqlalchemy.urls import redact

type NewProvider = Callable[..., Awaitable[Provider]]

_TABLES = metadata.sorted_tables[::-1]

_PASSED, _FAILED, _WRONG_USAGE, _IN_PART = range(4)  # exit statuses
_SETTLED = 10.0  # seconds within which a call has ended that was cancelled
_MAX_SAME_ERRORS = 5  # in a row; each may have taken the time to connect


class _Place(NamedTuple):
    """Where the suite keeps its tables.

    Attributes:
        url: The database to connect to.
        schema: The schema that takes the tables.
        marker: A table with one row, which only this run knows of; None in memory. A connection
            that does not see it is somewhere else.
    """

    url: URL
    schema: str | None
    marker: DatabaseTable | None

    def run[T](self, operation: Callable[[Connection], T]) -> T:
        """Run an operation on a connection that is made as the suite's are."""
        return _run(self.url, operation, Options(schema=self.schema))


def verify(url: URL, console: Console, keyword: str, interruption: Interruption) -> int:
    """Run the contract suite in a temporary place on a database, and print the result.

    Args:
        url: The database; no row in it is touched.
        console: Where to print.
        keyword: As pytest's ``-k``: run the tests whose names match.
        interruption: What a signal has said, and what it is to be answered.

    Returns:
        The exit status: 0 all tests passed, 1 some failed, 2 no test matches, 3 not all ran.

    Raises:
        StorageError: The database cannot be used, or already holds tables of this package where
            there is no temporary place.
        KeyboardInterrupt: A signal; nothing is left behind.
    """
    name = f"slack_agents_verify_{secrets.token_hex(4)}"
    outcome = _Outcome(console, interruption)
    try:
        with tempfile.TemporaryDirectory(prefix=name) as directory:
            temporary = adapter_for(url.get_backend_name()).temporary_database(
                url, name, Path(directory)
            )
            where = f" in {name}" if temporary.drop else ""
            interruption.note = f"{name} may be left behind" if temporary.drop else ""
            console.print(f"verifying {redact(url)}{where} ...", markup=False, soft_wrap=True)
            with _create_place(temporary, url, name) as place, _quiet_process(directory):
                _initialize(place)
                outcome.place = place
                status = _run_suite(Path(directory), keyword, outcome, interruption)
    except KeyboardInterrupt:
        interruption.note = f"{outcome.counts}; nothing is left behind"
        raise
    return outcome.show(status)


def _run_suite(
    directory: Path, keyword: str, outcome: "_Outcome", interruption: Interruption
) -> int:
    """Run the tests and return pytest's exit status, which does not tell a signal."""
    status = pytest.main(_arguments(directory, keyword), plugins=[sys.modules[__name__], outcome])
    if outcome.is_interrupted or interruption.signal is not None:
        raise KeyboardInterrupt
    return status


def _initialize(place: _Place) -> None:
    """Initialize a provider once: a database that it refuses need not be tried further."""

    async def initialize() -> None:
        provider = Provider(url=place.url, **_provider_options(place))
        await provider.initialize()
        await provider.close()

    asyncio.run(initialize())


def _provider_options(place: _Place) -> dict[str, Any]:
    return {} if place.schema is None else {"schema": place.schema}


@contextmanager
def _create_place(temporary: TemporaryDatabase, url: URL, name: str) -> Iterator[_Place]:
    """Create the temporary place, and remove it whatever happens.

    Raises:
        ConfigurationError: There is no such place, or a connection does not lead there.
    """
    if adapter_for(url.get_backend_name()).is_private_memory(url):
        yield _Place(temporary.url, None, None)
        return
    if temporary.drop is None and temporary.url == url:
        found = _run(url, _ours)  # or it cannot be reached
        if found:
            raise ConfigurationError(
                f"{redact(url)} holds tables of this package already ({', '.join(found)}), and "
                "no place of its own is known beside them: name an empty database"
            )
    marker_name = name.removeprefix(TABLE_PREFIX)
    marker = _marker(marker_name, None)
    place = _Place(temporary.url, temporary.schema, marker)
    try:
        if temporary.create is not None:
            _run(url, lambda connection: connection.exec_driver_sql(str(temporary.create)))
        made = _marker(marker_name, temporary.schema)
        _run(temporary.url, lambda connection: connection.execute(CreateTable(made)))
        _run(temporary.url, lambda connection: connection.execute(made.insert(), {"id": 1}))
        if not place.run(lambda connection: inspect(connection).has_table(marker_name)):
            raise ConfigurationError(
                f"connections to {redact(url)} do not use the schema {temporary.schema} that they "
                "ask for: does a pooler ignore search_path? No table was touched"
            )
        yield place
    finally:
        _remove(temporary, url, marker)


def _marker(name: str, schema: str | None) -> DatabaseTable:
    return DatabaseTable(
        name,
        MetaData(),
        Column("id", Integer, primary_key=True, autoincrement=False),
        schema=schema,
    )


def _remove(temporary: TemporaryDatabase, url: URL, marker: DatabaseTable) -> None:
    try:
        if temporary.drop is not None:
            _run(url, lambda connection: connection.exec_driver_sql(str(temporary.drop)))
        elif temporary.url == url:
            _run(url, lambda connection: _drop_tables(connection, marker))
    except StorageError as exc:
        left = temporary.drop or f"drop the tables {TABLE_PREFIX}* and {marker.name}"
        raise StorageError(
            f"what the tests have made is left behind on {redact(url)}: {exc}. "
            f"Remove it yourself: {left}"
        ) from exc


def _run[T](url: URL, operation: Callable[[Connection], T], options: Options | None = None) -> T:
    async def run() -> T:
        database = Database(url, options or Options())
        await database.open()
        try:
            return await database.run(operation)
        finally:
            await database.close()

    return asyncio.run(run())


def _ours(connection: Connection) -> list[str]:
    names = inspect(connection).get_table_names()
    return sorted(name for name in names if name.startswith(TABLE_PREFIX))


def _drop_tables(connection: Connection, marker: DatabaseTable) -> None:
    for table in (*_TABLES, DatabaseTable(VERSION_TABLE, MetaData()), marker):
        table.drop(connection, checkfirst=True)


@contextmanager
def _quiet_process(directory: str) -> Iterator[None]:
    """Ignore the user's settings of pytest, and write no files to the working directory."""
    before = dict(os.environ), sys.dont_write_bytecode
    for name in before[0]:
        if name.startswith("PYTEST_"):
            del os.environ[name]
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = directory
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before[1]
        os.environ.clear()
        os.environ.update(before[0])


def _arguments(directory: Path, keyword: str) -> list[str]:
    package = Path(__file__).parents[1]
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
        *("-p", "no:terminal", "-p", "no:cacheprovider", "-p", "no:unraisableexception"),
        *("-p", pytest_asyncio.plugin.__name__, "-p", _hypothesis_pytestplugin.__name__),
    ]


class _Outcome:
    """Where the suite runs, its progress, and its result by the files of the suite."""

    place: _Place  # known when the tests begin

    def __init__(self, console: Console, interruption: Interruption) -> None:
        self.is_interrupted = False
        self._console = console
        self._interruption = interruption
        self._session: pytest.Session | None = None
        self._total = 0
        self._left_out = 0
        self._part = ""
        self._passed: Counter[str] = Counter()
        self._skipped: Counter[str] = Counter()
        self._failed: dict[str, dict[str, str]] = {}
        self._broken: list[str] = []
        self._same_errors: tuple[type[BaseException], int] | None = None
        self._stopped = ""
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[failed]}"),
            console=console,
            # Drawn between tests: during one, standard output belongs to pytest.
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
            transient=True,
            disable=not console.is_terminal,
        )
        self._bar = self._progress.add_task("", failed="")

    @property
    def _done(self) -> int:
        failed = sum(map(len, self._failed.values()))
        return self._passed.total() + self._skipped.total() + failed

    @property
    def counts(self) -> str:
        """How many of the tests ran."""
        return f"{self._done} of {self._total} tests were run"

    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[_PLACE] = self.place
        config.addinivalue_line("markers", "durable: opens one database several times")

    @pytest.hookimpl(trylast=True)  # -k comes first
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self.place.marker is None:
            durable = [item for item in items if item.get_closest_marker("durable") is not None]
            self._left_out = len(durable)
            items[:] = [item for item in items if item not in durable]

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._session = session
        self._total = len(session.items)
        self._progress.update(self._bar, total=self._total)
        self._progress.start()

    def pytest_sessionfinish(self) -> None:
        self._progress.stop()

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Print nothing about what was interrupted half-way: the process ends soon."""
        if isinstance(excinfo.value, pytest.Session.Interrupted):
            return  # stopped by this class, not by a signal
        self.is_interrupted = True
        warnings.simplefilter("ignore")
        logging.disable()
        sys.unraisablehook = lambda _: None

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._broken.append(str(report.longrepr))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        if (part := _part(nodeid)) == self._part:
            return
        self._part = part
        self._progress.update(self._bar, description=part, refresh=True)
        if self._progress.disable:
            self._console.print(f"{self._done + 1:>5} of {self._total}: {part}", markup=False)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        part = _part(report.nodeid)
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            reason = crash.message if crash else str(report.longrepr)
            name = report.nodeid.partition("::")[2]
            self._failed.setdefault(part, {})[name] = reason.splitlines()[0][:300]
        elif report.skipped:
            self._skipped[part] += 1
        elif report.when == "call":
            self._passed[part] += 1
            self._same_errors = None

    def pytest_exception_interact(
        self, call: pytest.CallInfo[object], report: pytest.CollectReport | pytest.TestReport
    ) -> None:
        """Stop after the same error again and again; a test that found a difference is none."""
        if call.excinfo is None or isinstance(report, pytest.CollectReport):
            return
        kind = call.excinfo.type
        if issubclass(kind, AssertionError | pytest.fail.Exception):
            self._same_errors = None
            return
        before = self._same_errors
        times = before[1] + 1 if before is not None and before[0] is kind else 1
        self._same_errors = kind, times
        if times == _MAX_SAME_ERRORS and self._session is not None:
            self._stopped = f"stopped after {times} times the same error, {kind.__name__}"
            self._session.shouldstop = self._stopped

    def pytest_runtest_logfinish(self) -> None:
        failed = sum(map(len, self._failed.values()))
        self._progress.update(
            self._bar,
            completed=self._done,
            failed=f"[red]{failed} failed[/]" if failed else "",
            refresh=True,
        )
        if self._interruption.signal is not None:  # a test that cancels may have swallowed it
            raise KeyboardInterrupt

    def show(self, status: int) -> int:
        """Print the result, and return the exit status.

        Args:
            status: The exit status of pytest.
        """
        if status in (pytest.ExitCode.NO_TESTS_COLLECTED, pytest.ExitCode.USAGE_ERROR):
            no_match = status == pytest.ExitCode.NO_TESTS_COLLECTED
            reason = "no name matches the expression of -k" if no_match else "-k is no expression"
            self._console.print(f"[red]no test was run:[/] {reason}")
            return _WRONG_USAGE
        table = Table("part of the contract", "passed", "failed")
        for part in sorted(self._passed.keys() | self._failed.keys()):
            failed = len(self._failed.get(part, ()))
            table.add_row(part, str(self._passed[part]), f"[red]{failed}[/]" if failed else "0")
        self._console.print(table)
        for failures in self._failed.values():
            for name, reason in failures.items():
                self._console.print(
                    f"[red]failed:[/] {escape(name)}\n    {escape(reason)}", soft_wrap=True
                )
        for broken in self._broken:
            self._console.print(broken, markup=False)
        if self._failed or self._broken or not self._passed:
            stopped = f"; {self._stopped}" if self._stopped else ""
            self._console.print(
                f"[red]this database does not serve[/]: {self.counts}{stopped}", soft_wrap=True
            )
            return _FAILED
        if self._done < self._total or status != pytest.ExitCode.OK:
            self._console.print(f"[red]not all tests ran:[/] {self.counts}")
            return _IN_PART
        skipped = f", {self._skipped.total()} skipped" if self._skipped else ""
        left_out = f", {self._left_out} left out, as they need a file" if self._left_out else ""
        self._console.print(
            f"[green]all {self._passed.total()} tests passed[/]{skipped}{left_out}", soft_wrap=True
        )
        return _PASSED


def _part(nodeid: str) -> str:
    """Name the part of the contract that a file of the suite is about."""
    return Path(nodeid.partition("::")[0]).stem.removeprefix("test_").replace("_", " ")


_PLACE = pytest.StashKey[_Place]()


@pytest.fixture(scope="session")
def usual_options(request: pytest.FixtureRequest) -> dict[str, object]:
    """Return the options of every provider."""
    return _provider_options(request.config.stash[_PLACE])


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> URL:
    """Return the URL of a migrated database without rows."""
    place = request.config.stash[_PLACE]
    marker = place.marker
    if marker is not None:
        place.run(lambda connection: _delete_rows(connection, marker))
    return place.url


def _delete_rows(connection: Connection, marker: DatabaseTable) -> None:
    """Empty the tables of the place; anywhere else each statement fails, as no marker is there."""
    for table in _TABLES:
        connection.execute(table.delete().where(exists(marker.select())))


async def connections_left(provider: Provider) -> int:
    """Wait until a provider has given every connection back; return how many it has not.

    Calls that were cancelled may need a moment. No listener of the pool counts, because one would
    keep calls from the fast path.
    """
    pool = provider.engine.pool
    if not isinstance(pool, QueuePool):  # the others count nothing
        return 0
    with suppress(TimeoutError):
        async with asyncio.timeout(_SETTLED):
            while pool.checkedout():  # noqa: ASYNC110 - a pool tells nobody
                await asyncio.sleep(0.01)
    return pool.checkedout()


@pytest.fixture
async def new_provider(
    database_url: URL | str, usual_options: dict[str, object]
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
    kept = 0
    for provider in opened:
        with suppress(NotInitializedError):  # the test has closed it
            kept += await connections_left(provider)
        await provider.close()
    if kept:
        pytest.fail("a provider did not give back a connection")


@pytest.fixture
async def storage(new_provider: NewProvider) -> Provider:
    """Open a provider, ready for use, on a database without rows."""
    return await new_provider()
