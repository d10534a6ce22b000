"""Run the contract suite on a database that a user names, for ``verify-backend``."""

import asyncio
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import _hypothesis_pytestplugin  # type: ignore[import-untyped]  # no type marker
import pytest
import pytest_asyncio.plugin
from rich.console import Console
from sqlalchemy.engine import URL

from slack_agents_sqlalchemy.dialects import adapter_for
from slack_agents_sqlalchemy.interruption import Interruption
from slack_agents_sqlalchemy.provider import Provider
from slack_agents_sqlalchemy.resources import contract_suite
from slack_agents_sqlalchemy.testing import plugin, temporary_database
from slack_agents_sqlalchemy.testing.outcome import Outcome
from slack_agents_sqlalchemy.testing.plugin import OnTemporaryDatabase
from slack_agents_sqlalchemy.testing.temporary_database import TemporaryDatabase
from slack_agents_sqlalchemy.urls import redact


def verify(url: URL, console: Console, keyword: str, interruption: Interruption) -> int:
    """Run the contract suite in a temporary database, and print the result.

    Args:
        url: The database beside which the temporary one is created; none of its rows is touched.
        console: Where to print.
        keyword: As pytest's ``-k``: run the tests whose names match.
        interruption: The signal that was received, if any; its note is set.

    Returns:
        The exit status: 0 all tests passed, 1 some failed, 2 no test matches, 3 not all ran.

    Raises:
        StorageError: The database cannot be used, or it holds tables of this package and its
            dialect has no temporary databases.
        KeyboardInterrupt: A signal was received; the temporary database is removed.
    """
    name = f"slack_agents_verify_{secrets.token_hex(4)}"
    outcome = Outcome(console, interruption)
    try:
        with tempfile.TemporaryDirectory(prefix=name) as directory:
            plan = adapter_for(url.get_backend_name()).temporary_database(
                url, name, Path(directory)
            )
            where = f" in {name}" if plan.drop else ""
            interruption.note = f"{name} may be left behind" if plan.drop else ""
            console.print(f"verifying {redact(url)}{where} ...", markup=False, soft_wrap=True)
            with temporary_database.create(plan, url, name) as temporary, _isolation(directory):
                _initialize_once(temporary)
                on_temporary = OnTemporaryDatabase(temporary)
                status = pytest.main(
                    _arguments(Path(directory), keyword), plugins=[plugin, on_temporary, outcome]
                )
                outcome.raise_if_interrupted()  # pytest's exit status does not tell
    except KeyboardInterrupt:
        interruption.note = f"{outcome.counts}; nothing is left behind"
        raise
    return outcome.show(status, on_temporary.left_out)


def _initialize_once(temporary: TemporaryDatabase) -> None:
    """Initialize a provider: the error of an unsupported database is raised before the tests."""

    async def initialize() -> None:
        provider = Provider(url=temporary.url, **temporary.provider_options)
        await provider.initialize()
        await provider.close()

    asyncio.run(initialize())


@contextmanager
def _isolation(directory: str) -> Iterator[None]:
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
    root = contract_suite()
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
