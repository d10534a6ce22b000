"""The commands that an operator runs: alembic in a checkout, `slack-agents-db` anywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from slack_agents_sqlalchemy import Provider, SchemaOutdatedError, migrations

CHECKOUT = Path(__file__).parents[2]

pytestmark = pytest.mark.durable


def command(
    program: str, *arguments: str, url: str | None = None, **variables: str
) -> tuple[int, str]:
    environment = {**os.environ, "COLUMNS": "200", **variables}
    if url:
        environment["DATABASE_URL"] = url
    done = subprocess.run(
        [Path(sys.executable).parent / program, *arguments],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_alembic_upgrades_from_the_checkout(fresh_url: str):
    status, output = command("alembic", "upgrade", "head", url=fresh_url)
    assert status == 0, output
    assert f"-> {migrations.HEAD}" in output
    assert command("slack-agents-db", "check", url=fresh_url)[0] == 0
    assert command("alembic", "check", url=fresh_url)[0] == 0


def test_alembic_without_a_url_says_what_to_set(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    status, output = command("alembic", "upgrade", "head")
    assert status == 1
    assert "set the environment variable DATABASE_URL" in output
    assert len(output.splitlines()) == 1


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://someone:sesame@127.0.0.1:1/agents", "someone:***@127.0.0.1:1/agents"),
        ("nonsense", "DATABASE_URL is not a database URL"),
    ],
)
@pytest.mark.parametrize("arguments", ["upgrade head", "current"])
def test_an_error_of_alembic_is_one_line(url: str, says: str, arguments: str):
    status, output = command("alembic", *arguments.split(), url=url)
    assert status == 1
    assert says in output
    assert "sesame" not in output
    assert len(output.splitlines()) == 1


def test_the_package_is_a_command():
    status, output = command("python", "-m", "slack_agents_sqlalchemy", "--version")
    assert (status, output.split()[0]) == (0, "slack-agents-sqlalchemy")
    assert "Usage: slack-agents-db" in command("python", "-m", "slack_agents_sqlalchemy")[1]


def test_alembic_writes_the_upgrade_as_sql(fresh_url: str):
    status, output = command("alembic", "upgrade", "head", "--sql", url=fresh_url)
    assert status == 0, output
    assert "CREATE TABLE slack_agents_blocks" in output
    assert "IF NOT EXISTS" not in output
    assert command("slack-agents-db", "current", url=fresh_url) != (0, f"{migrations.HEAD}\n")


@pytest.mark.parametrize(
    "url", ["duckdb:///{}/agents.db", "firebird+firebird://SYSDBA@/{}/agents.fdb?charset=UTF8"]
)
def test_alembic_writes_the_upgrade_as_sql_for_an_unknown_dialect(tmp_path: Path, url: str):
    status, output = command("alembic", "upgrade", "head", "--sql", url=url.format(tmp_path))
    assert status == 0, output
    assert "CREATE TABLE slack_agents_blocks" in output
    assert (
        f"INSERT INTO slack_agents_alembic_version (version_num) VALUES ('{migrations.HEAD}')"
        in (output)
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("subcommand", ["current", "check"])
def test_an_alembic_command_that_changes_nothing_creates_no_file(tmp_path: Path, subcommand: str):
    status, output = command("alembic", subcommand, url=f"sqlite:///{tmp_path / 'agents.db'}")
    assert status == 1
    assert "does not exist: run slack-agents-db upgrade" in output
    assert list(tmp_path.iterdir()) == []


def test_upgrade_current_and_check_report_the_revision(fresh_url: str):
    status, output = command("slack-agents-db", "check", url=fresh_url)
    assert status == 1
    assert "slack-agents-db upgrade" in output

    status, output = command("slack-agents-db", "upgrade", "--url", fresh_url)
    assert (status, "upgraded from nothing to revision 0001" in output) == (0, True), output

    status, output = command("slack-agents-db", "upgrade", "--url", fresh_url)
    assert (status, "is up to date" in output) == (0, True), output

    assert command("slack-agents-db", "current", url=fresh_url) == (0, f"{migrations.HEAD}\n")
    status, output = command("slack-agents-db", "check", url=fresh_url)
    assert (status, "is up to date" in output) == (0, True), output


@pytest.mark.parametrize(
    ("url", "status", "said"),
    [
        ("postgresql://someone:sesame@127.0.0.1:1/agents", 1, "someone:***@127.0.0.1:1/agents"),
        ("nonsense", 2, "--url is not a database URL"),
        ("prologue://somewhere", 2, "SQLAlchemy knows no dialect 'prologue'"),
        ("", 2, "use --url, or set the environment variable DATABASE_URL"),
    ],
)
def test_an_unusable_url_is_an_error_of_one_line(
    monkeypatch: pytest.MonkeyPatch, url: str, status: int, said: str
):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    found, output = command("slack-agents-db", "upgrade", "--url", url)
    assert found == status
    assert said in output
    assert "sesame" not in output
    assert len(output.splitlines()) == 1


@pytest.mark.parametrize(
    ("url", "said"),
    [("nonsense", "DATABASE_URL is not a database URL"), ("", "no database is named")],
)
def test_the_environment_variable_is_named_where_it_is_wrong(
    monkeypatch: pytest.MonkeyPatch, url: str, said: str
):
    monkeypatch.setenv("DATABASE_URL", url)
    status, output = command("slack-agents-db", "check")
    assert (status, said in output) == (2, True), output


@pytest.mark.parametrize("name", ["", "upgrade", "current", "check", "demo", "verify-backend"])
def test_the_help_is_not_cut_at_80_columns(name: str):
    status, output = command("slack-agents-db", *name.split(), "--help", COLUMNS="80")
    assert status == 0
    assert "…" not in output


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    "upgrade",
    [
        "slack-agents-db upgrade --schema agent_one --no-prepared-statements",
        "alembic -x schema=agent_one -x prepared_statements=false upgrade head",
    ],
)
async def test_the_command_that_an_agents_error_names_creates_the_agents_schema(
    fresh_url: str, upgrade: str
):
    agent = Provider(url=fresh_url, schema="agent_one", prepared_statements=False, migrate="verify")
    with pytest.raises(SchemaOutdatedError) as outdated:
        await agent.initialize()
    named = "slack-agents-db upgrade --url <database URL> --schema agent_one"
    assert f"{named} --no-prepared-statements" in str(outdated.value)
    check = ("slack-agents-db", "check", "--schema", "agent_one")
    status, output = command(*check, url=fresh_url)
    assert (status, "--schema agent_one" in output) == (1, True), output
    assert "schema 'agent_one' of postgresql" in output

    status, output = command(*upgrade.split(), url=fresh_url)
    assert status == 0, output
    await agent.initialize()
    await agent.close()
    assert command(*check, url=fresh_url)[0] == 0
    current = command("slack-agents-db", "current", "--schema", "agent_one", url=fresh_url)
    assert current == (0, f"{migrations.HEAD}\n")
    assert command("slack-agents-db", "current", url=fresh_url) == (0, "no schema yet\n")


@pytest.mark.parametrize("backend", ["sqlite-file", "mariadb", "mysql"], indirect=True)
@pytest.mark.parametrize(
    "upgrade", ["slack-agents-db upgrade --schema one", "alembic -x schema=one upgrade head"]
)
def test_a_schema_on_another_database_than_postgresql_is_an_error(fresh_url: str, upgrade: str):
    status, output = command(*upgrade.split(), url=fresh_url)
    assert status == 1
    assert "schema is for PostgreSQL" in output
    assert "storage option" not in output
    assert len(output.splitlines()) == 1
