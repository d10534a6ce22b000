"""The benchmarks run, and the documentation shows what they measured."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from benchmarks import CHARTS, OUTPUT, figures
from slack_agents_sqlalchemy import Provider

ROOT = Path(__file__).parents[2]
TERMINAL = 80
EVERYWHERE = {"overrides", "growth", "concurrency", "cold_start", "raw_driver"}
SUITES = {
    "sqlite-file": EVERYWHERE | {"built_in", "disk_use"},
    "postgresql": EVERYWHERE | {"built_in", "disk_use"},
    "mariadb": EVERYWHERE,
}


def run_benchmarks(
    *arguments: str | Path, module: str = "benchmarks"
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", module, *map(str, arguments)]
    environment = os.environ | {"COLUMNS": str(TERMINAL)}
    return subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=ROOT, env=environment
    )


@pytest.mark.parametrize("backend", list(SUITES), indirect=True)
async def test_every_suite_is_measured_drawn_and_kept_without_a_path_of_this_machine(
    storage: Provider, database_url: str, backend: str, tmp_path: Path
) -> None:
    run = run_benchmarks("--quick", "--output", tmp_path, "--url", database_url)

    assert run.returncode == 0, run.stdout + run.stderr
    assert not any((await storage.count_rows()).values())
    results = {file: json.loads(file.read_text("utf-8")) for file in tmp_path.glob("*.json")}
    # What others would pick need not be installed.
    assert {result["suite"] for result in results.values()} - {"others"} == SUITES[backend]
    for file, result in results.items():
        text = file.read_text("utf-8")
        for secret in (str(Path.home()), str(ROOT), make_url(database_url).database or ""):
            assert secret not in text
        assert {"python", "sqlalchemy", "slack-agents-sqlalchemy"} <= result["versions"].keys()
        assert result["machine"]["cpus"]
        assert result["comparisons"]
        for comparison in result["comparisons"]:
            for numbers in comparison["implementations"].values():
                assert 0 < numbers["p50"] <= numbers["p95"]
        if len(result["comparisons"][0]["implementations"]) > 1:
            assert file.with_suffix(".png").stat().st_size > 10_000
        else:
            assert any("not measured" in note for note in result["notes"])
    assert_tables_are_whole(run.stdout, results.values())


def assert_tables_are_whole(printed: str, results: Iterable[dict[str, Any]]) -> None:
    """Every figure is there on a terminal of 80 columns, with its unit."""
    lines = printed.splitlines()
    assert max(map(len, lines)) <= TERMINAL
    for result in results:
        for comparison in result["comparisons"]:
            for name in comparison["implementations"]:
                assert re.search(
                    rf"^ +{re.escape(name)}  .*( [^ ]+){{2}} +[\d.,]+ +\d+ *$",
                    printed,
                    re.MULTILINE,
                )
    assert sum("relative   n" in line for line in lines) == len(list(results))


def test_results_go_to_an_ignored_folder_unless_they_are_to_be_recorded(tmp_path: Path) -> None:
    ignored = subprocess.run(
        ["git", "check-ignore", "--quiet", str(OUTPUT / "a.json")], check=False, cwd=ROOT
    )
    if ignored.returncode == 128:
        pytest.skip("this is no checkout of git")
    assert ignored.returncode == 0

    for wrong in (("--quick",), ("--output", tmp_path), ("--only", "agent turn")):
        run = run_benchmarks("--record", *wrong)
        assert run.returncode == 2
        assert "--record" in run.stderr


def test_the_figures_of_the_documentation_are_those_of_the_committed_results() -> None:
    wrong = [page.name for page, _ in figures.changed(figures.Results())]

    assert not wrong, f"run python -m benchmarks.figures for {', '.join(wrong)}"


def test_what_is_slower_than_the_built_in_providers_stands_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    results = figures.Results()
    for suite in ("built_in", "cold_start"):
        for database in ("postgresql", "sqlite"):
            ratios = results.ratios(suite, database, figures.OURS, figures.BUILT_IN)
            slower = {case: ratio for case, ratio in ratios.items() if ratio > 1}
            assert all(f"| {case} |" in readme for case in slower)


def test_every_chart_is_shown_by_a_page_and_every_picture_of_a_page_is_there() -> None:
    shown = set()
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for picture in re.findall(r"!\[[^]]+\]\(([^)]+)\)", page.read_text("utf-8")):
            assert (page.parent / picture).is_file(), f"{page.name} shows {picture}"
            shown.add((page.parent / picture).resolve())

    assert shown == set(CHARTS.iterdir())


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
