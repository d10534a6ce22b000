"""What a session found, on the terminal and as JSON: numbers, versions and the machine."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.table import Table
from sqlalchemy import Engine

from benchmarks.harness import Session

DISTRIBUTIONS = (
    "slack-agents-sqlalchemy",
    "python-slack-agents",
    "sqlalchemy",
    "orjson",
    "asyncpg",
    "aiomysql",
    "aiosqlite",
)


def table(question: str, session: Session) -> Table:
    """Return the comparisons as a table, a row for each case."""
    names = list(session.comparisons[0].turns)
    drawn = Table(title=question, caption="microseconds per call: median (95th percentile)")
    drawn.add_column("case", min_width=30, overflow="fold")
    for name in names:
        drawn.add_column(name, justify="right")
    for name in names[1:]:
        drawn.add_column(f"{name} take", justify="right", style="bold")
    drawn.add_column("n", justify="right")
    for comparison in session.comparisons:
        numbers = comparison.to_json()
        times = numbers["contenders"].values()
        drawn.add_row(
            comparison.case,
            *(f"{time['p50_us']:,.0f} ({time['p95_us']:,.0f})" for time in times),
            *(f"{comparison.ratio(name):,.1f} x" for name in names[1:]),
            f"{numbers['n']:,}",
        )
    return drawn


def to_json(name: str, question: str, session: Session, database: dict[str, str]) -> dict[str, Any]:
    """Return the result as it is kept."""
    return {
        "benchmark": name,
        "question": question,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "pace": vars(session.pace),
        "on_one_cpu": session.pinned,
        "database": database,
        "versions": _versions(),
        "machine": _machine(),
        "comparisons": [comparison.to_json() for comparison in session.comparisons],
    }


def describe_database(engine: Engine) -> dict[str, str]:
    """Return which database and driver an engine that was connected talks to, not where."""
    dialect = engine.dialect
    return {
        "dialect": dialect.name,
        "driver": dialect.driver,
        "server_version": ".".join(map(str, getattr(dialect, "server_version_info", None) or ())),
    }


def write(folder: Path, result: dict[str, Any]) -> Path:
    """Write a result to its file, named by the question and the database, and return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    database = result["database"]
    file = folder / f"{result['benchmark']}-{database['dialect']}-{database['driver']}.json"
    file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return file


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for distribution in DISTRIBUTIONS:
        try:
            versions[distribution] = version(distribution)
        except PackageNotFoundError:
            continue
    return versions


def _machine() -> dict[str, Any]:
    return {
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "processor": _processor(),
        "cpus": os.cpu_count(),
    }


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        for line in facts.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
