"""What the documentation shows is run: Python as it stands, configuration by the provider."""

from __future__ import annotations

import io
import re
import tomllib
from collections.abc import Iterator
from contextlib import redirect_stdout
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from sqlalchemy import make_url
from typer.testing import CliRunner

import slack_agents_sqlalchemy
from slack_agents_sqlalchemy import Provider
from slack_agents_sqlalchemy.cli.app import app

ROOT = Path(__file__).parents[2]
PAGES = (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")))
PACKAGE = Path(slack_agents_sqlalchemy.__file__).parent
QUERYING = ROOT / "docs" / "querying.md"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(?<!!)\[[^]]*\]\(([^)#]*)(?:#([^)]*))?\)")


def blocks(page: Path, language: str) -> list[str]:
    return [code for name, code in FENCE.findall(page.read_text("utf-8")) if name == language]


def pages_with(language: str) -> list[Any]:
    return [pytest.param(page, id=page.name) for page in PAGES if blocks(page, language)]


@pytest.fixture
async def filled_url(database_url: str) -> str:
    """The URL for a synchronous driver of a database with two users of two models."""
    provider = Provider(url=database_url)
    await provider.initialize()
    for number, (user, channel) in enumerate((("ada", "general"), ("grace", None), ("ada", None))):
        conversation = await provider.get_or_create_conversation(
            "helper", f"C{number}", f"{number}.0", channel
        )
        message = await provider.create_message(conversation, f"U{user}", user.title(), user)
        await provider.append_text_block(message, "How many were late?", is_user=True)
        await provider.append_tool_block(
            message,
            tool_call_id="toolu_1",
            tool_name="search",
            tool_input={"q": "late"},
            tool_output="",
            is_error=True,
        )
        await provider.append_text_block(message, "Four were late.")
        await provider.append_usage_block(
            message,
            model=f"model-{number % 2}",
            version="1",
            input_tokens=100,
            output_tokens=10,
            cache_creation_input_tokens=0,
            cache_read_input_tokens=0,
            peak_single_call_input_tokens=100,
            estimated_cost_usd=0.25 * (number + 1),
        )
    await provider.close()
    url = make_url(database_url)
    driver = {"postgresql": "postgresql+psycopg", "mariadb": "mariadb+pymysql"}
    name = driver.get(url.get_backend_name(), url.drivername)
    return url.set(drivername=name).render_as_string(hide_password=False)


def run_python(page: Path, url: str) -> list[str]:
    """Run the page's Python from top to bottom on a database, and return what it printed."""
    namespace: dict[str, Any] = {}
    printed = io.StringIO()
    with redirect_stdout(printed):
        for number, code in enumerate(blocks(page, "python"), 1):
            there = code.replace('"sqlite:///agents.db"', repr(url))
            exec(compile(there, f"{page.name}, block {number}", "exec"), namespace)
    namespace["engine"].dispose()
    return printed.getvalue().splitlines()


@pytest.mark.parametrize("backend", ["sqlite-file", "postgresql", "mariadb"], indirect=True)
def test_the_queries_of_the_page_count_what_was_stored(filled_url: str) -> None:
    lines = run_python(QUERYING, filled_url)

    assert "model-0: 2 exchanges, 1.0000 USD" in lines
    assert "ada: 2 exchanges, 1.0000 USD" in lines
    assert "grace: 1 exchanges, 0.5000 USD" in lines
    assert any(line.endswith(": 300 + 30 tokens, 1.5000 USD") for line in lines)
    assert "helper in general: 0.2500 USD" in lines
    assert "helper in a channel without a name: 1.2500 USD" in lines
    assert "search: 3 failed calls" in lines
    assert lines[-5] == "ada:"
    assert [line.split()[1] for line in lines[-4:]] == ["user_text", "tool_use", "text", "usage"]


@pytest.mark.parametrize("page", pages_with("yaml"))
def test_the_storage_of_every_configuration_is_accepted(page: Path) -> None:
    for code in blocks(page, "yaml"):
        shown = yaml.safe_load(code)
        if storage := shown.get("storage"):
            assert storage.pop("type") == "slack_agents_sqlalchemy"
            storage["url"] = storage["url"].replace("{DATABASE_URL}", "sqlite:///agents.db")
            if "migrate" in storage:  # all options, of which each database has its own
                storage["url"] = "sqlite:///agents.db"
                storage = {k: v for k, v in storage.items() if v is not None}
            Provider(**storage)


def test_the_compose_file_waits_for_the_database_that_it_names() -> None:
    [compose] = [
        shown
        for code in blocks(ROOT / "docs" / "docker.md", "yaml")
        if "services" in (shown := yaml.safe_load(code))
    ]
    agent, database = compose["services"]["helper"], compose["services"]["database"]

    assert agent["depends_on"] == {"database": {"condition": "service_healthy"}}
    assert (
        "@database/" + database["environment"]["POSTGRES_DB"]
        in agent["environment"]["DATABASE_URL"]
    )
    assert "healthcheck" in database


def test_no_other_page_has_python_that_is_not_run() -> None:
    run_elsewhere = ROOT / "docs" / "own-tables.md"  # by tests/paths/test_own_tables.py
    assert {page for page in PAGES if blocks(page, "python")} == {QUERYING, run_elsewhere}


def commands() -> Iterator[Any]:
    named = re.compile(r"slack-agents-db ([a-z][a-z-]+)")
    for page in PAGES:
        for command in sorted(set(named.findall(page.read_text("utf-8")))):
            yield pytest.param(command, id=f"{page.name}: {command}")


@pytest.mark.parametrize("command", list(commands()))
def test_a_command_that_a_page_names_exists(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"])

    assert shown.exit_code == 0, shown.output


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in PAGES])
def test_every_link_between_pages_leads_somewhere(page: Path) -> None:
    for target, heading in LINK.findall(page.read_text("utf-8")):
        if target.startswith("https://"):
            continue
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{page.name} links to {target}"
        if heading:
            assert heading in headings(file), f"{page.name} links to {target}#{heading}"


def headings(page: Path) -> set[str]:
    found = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", name.lower()).replace(" ", "-") for name in found}


def test_the_readme_stands_alone() -> None:
    text = (ROOT / "README.md").read_text("utf-8")

    relative = [target for target, _ in LINK.findall(text) if not target.startswith("https://")]
    assert not relative
    assert "![" not in text


def test_every_page_is_in_the_index_and_in_the_readme() -> None:
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}

    for index in (ROOT / "README.md", ROOT / "docs" / "index.md"):
        text = index.read_text("utf-8")
        assert not {page for page in pages if page not in text}, index.name


@pytest.mark.parametrize(
    ("added", "most"), [("a column", 3), ("a query", 3), ("a dialect", 3), ("a command", 2)]
)
def test_contributing_names_the_few_files_to_open(added: str, most: int) -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    [row] = re.findall(rf"^\| {added} \| (.+) \|$", text, re.MULTILINE)
    named = re.findall(r"`([^`]+)`", row)

    assert 0 < len(named) <= most
    for path in named:
        there = path.partition("<")[0]  # a new file is named by its folder
        assert any((base / there).exists() for base in (ROOT, PACKAGE)), path


def test_the_readme_names_the_versions_that_are_required() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    text = (ROOT / "README.md").read_text("utf-8")

    assert f"{project['requires-python'].removeprefix('>=')} or later" in text
    for line in requires("slack-agents-sqlalchemy") or ():
        requirement = Requirement(line)
        if (
            requirement.name.lower() in ("sqlalchemy", "python-slack-agents")
            and not requirement.marker
        ):
            for limit in requirement.specifier:
                word = "below " if limit.operator == "<" else ""
                assert f"{word}{limit.version}" in text
