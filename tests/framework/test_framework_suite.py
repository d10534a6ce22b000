"""The framework's own test suite, with its SQLite provider replaced by this package's."""

import os
import re
from pathlib import Path

import pytest

from tests.framework import framework_suite

PLUGIN = Path(__file__).with_name("replaced_sqlite.py")


@pytest.fixture(scope="module")
def suite(request: pytest.FixtureRequest) -> Path:
    """The folder of the framework's release; not to be had: a skip, and in CI a failure."""
    assert request.config.cache is not None
    try:
        return framework_suite.fetched(request.config.cache.mkdir("framework"))
    except framework_suite.SuiteUnavailableError as exc:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(exc))


def test_every_test_of_the_framework_ends_as_it_does_on_the_built_in_sqlite_provider(
    suite: Path, tmp_path: Path
) -> None:
    theirs = framework_suite.run(suite, tmp_path / "theirs.xml")
    ours = framework_suite.run(suite, tmp_path / "ours.xml", PLUGIN)

    assert ours.outcomes == theirs.outcomes, ours.output
    assert ours.counts()["passed"] > 100
    (opened,) = re.findall(r"storages opened by slack_agents_sqlalchemy: (\d+)", ours.output)
    assert int(opened) > 0, ours.output
