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

from benchmarks.harness import Comparison, Session

DISTRIBUTIONS = (
    "slack-agents-sqlalchemy",
    "python-slack-agents",
    "sqlalchemy",
    "orjson",
    "asyncpg",
    "aiomysql",
    "aiosqlite",
    "openai-agents",
    "google-adk",
)


def table(question: str, session: Session) -> Table:
    """Return the comparisons as a table, a row for each case; ratios are to the first contender."""
    first, *others = dict.fromkeys(name for one in session.comparisons for name in one.rounds)
    caption = "\n".join(("median (95th percentile), of a call in us", *session.notes))
    drawn = Table(title=question, caption=caption, caption_justify="left")
    drawn.add_column("case", min_width=24, overflow="fold")
    drawn.add_column(first, justify="right")
    for name in others:
        drawn.add_column(name, justify="right")
        drawn.add_column("ratio", justify="right", style="bold")
    drawn.add_column("n", justify="right")
    for comparison in session.comparisons:
        drawn.add_row(*_row(comparison, first, others))
    return drawn


def _row(comparison: Comparison, first: str, others: list[str]) -> list[str]:
    contenders = comparison.to_json()["contenders"]
    unit = "" if comparison.unit == "us" else f", {comparison.unit}"
    row = [comparison.case + unit + (f" ({comparison.at:,})" if comparison.at else "")]
    for name in (first, *others):
        its = contenders.get(name)
        row.append(_cell(its) if its else "")
        if name != first:
            row.append(f"{its.get('growth', its['median_ratio_to_first']):,.2f}" if its else "")
    return [*row, f"{min(its['n'] for its in contenders.values()):,}"]


def _cell(numbers: dict[str, float]) -> str:
    if "per_second" in numbers:
        latency, most = numbers["latency_p50"] / 1000, numbers["latency_p95"] / 1000
        return f"{numbers['per_second']:,.0f}/s, each {latency:,.1f} ({most:,.1f}) ms"
    return f"{numbers['p50']:,.0f} ({numbers['p95']:,.0f})"


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
        "notes": session.notes,
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
