"""The benchmarks run: what they measure is not looked at here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import make_url

from slack_agents_sqlalchemy import Provider

ROOT = Path(__file__).parents[2]
EVERYWHERE = {"overrides", "growth", "concurrency", "cold_start", "raw_driver"}
QUESTIONS = {
    "sqlite-file": EVERYWHERE | {"built_in"},
    "postgresql": EVERYWHERE | {"built_in"},
    "mariadb": EVERYWHERE,
}


def run_benchmarks(
    *arguments: str | Path, module: str = "benchmarks"
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", module, *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)


@pytest.mark.parametrize("backend", list(QUESTIONS), indirect=True)
async def test_every_question_is_measured_drawn_and_kept_without_a_path_of_this_machine(
    storage: Provider, database_url: str, backend: str, tmp_path: Path
) -> None:
    run = run_benchmarks("--quick", "--output", tmp_path, "--url", database_url)

    assert run.returncode == 0, run.stdout + run.stderr
    assert not any((await storage.count_rows()).values())
    results = {file: json.loads(file.read_text("utf-8")) for file in tmp_path.glob("*.json")}
    # What others would pick need not be installed.
    assert {result["benchmark"] for result in results.values()} - {"others"} == QUESTIONS[backend]
    for file, result in results.items():
        text = file.read_text("utf-8")
        for secret in (str(Path.home()), str(ROOT), make_url(database_url).database or ""):
            assert secret not in text
        assert {"python", "sqlalchemy", "slack-agents-sqlalchemy"} <= result["versions"].keys()
        assert result["machine"]["cpus"]
        assert result["comparisons"]
        for comparison in result["comparisons"]:
            for numbers in comparison["contenders"].values():
                assert 0 < numbers["p50"] <= numbers["p95"]
        if len(result["comparisons"][0]["contenders"]) > 1:
            assert file.with_suffix(".png").stat().st_size > 10_000
            assert file.with_suffix(".svg").stat().st_size > 10_000


def test_what_was_reached_is_told_from_the_committed_results() -> None:
    run = run_benchmarks(module="benchmarks.targets")

    assert run.returncode == 0, run.stdout + run.stderr
    assert "point reads" in run.stdout


@pytest.mark.parametrize(
    "backend", ["sqlite-file", "postgresql", "mariadb", "mysql"], indirect=True
)
async def test_a_database_with_rows_is_refused_and_left_alone(
    storage: Provider, database_url: str
) -> None:
    conversation = await storage.get_or_create_conversation("helper", "C1", "1.0")

    run = run_benchmarks("--quick", "--only", "has_conversation", "--url", database_url)

    assert run.returncode != 0
    assert "slack_agents_conversations" in run.stderr
    assert await storage.get_or_create_conversation("helper", "C1", "1.0") == conversation
