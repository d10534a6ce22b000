"""The benchmarks run: what they measure is not looked at here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from slack_agents_sqlalchemy import Provider

ROOT = Path(__file__).parents[2]


def run_benchmarks(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "benchmarks", *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)


def test_every_question_is_measured_and_kept_without_a_path_of_this_machine(
    tmp_path: Path,
) -> None:
    run = run_benchmarks("--quick", "--output", tmp_path)

    assert run.returncode == 0, run.stdout + run.stderr
    (file,) = tmp_path.glob("overrides-sqlite-*.json")
    text = file.read_text(encoding="utf-8")
    result = json.loads(text)
    assert str(Path.home()) not in text
    assert str(ROOT) not in text
    assert {"python", "sqlalchemy", "slack-agents-sqlalchemy"} <= result["versions"].keys()
    assert result["machine"]["cpus"]
    assert len(result["comparisons"]) > 10
    for comparison in result["comparisons"]:
        assert comparison["n"] == 3
        assert comparison["contenders"].keys() == {"overrides", "defaults"}
        assert all(times["p95_us"] > 0 for times in comparison["contenders"].values())


@pytest.mark.parametrize("backend", ["sqlite-file", "postgresql", "mariadb"], indirect=True)
async def test_a_database_with_rows_is_refused_and_left_alone(
    storage: Provider, database_url: str
) -> None:
    conversation = await storage.get_or_create_conversation("helper", "C1", "1.0")

    run = run_benchmarks("--quick", "--only", "has_conversation", "--url", database_url)

    assert run.returncode != 0
    assert "slack_agents_conversations" in run.stderr
    assert await storage.get_or_create_conversation("helper", "C1", "1.0") == conversation


@pytest.mark.parametrize("backend", ["sqlite-file", "postgresql", "mariadb"], indirect=True)
async def test_a_given_database_is_measured_on_and_left_empty(
    storage: Provider, database_url: str
) -> None:
    run = run_benchmarks("--quick", "--only", "has_conversation", "--url", database_url)

    assert run.returncode == 0, run.stdout + run.stderr
    assert not any((await storage.count_rows()).values())
