"""The results of a session, on the terminal and as JSON: numbers, versions and the machine."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text
from sqlalchemy import Engine

from benchmarks.harness import Comparison, Session
from slack_agents_sqlalchemy.dialects import adapter_for

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


#: Sizes of a unit in the unit before it, and its name; a number is shown in the largest that fits.
_UNITS = {
    "us": ((1, "µs"), (1000, "ms"), (1000, "s")),
    "KiB": ((1, "KiB"), (1024, "MiB"), (1024, "GiB")),
    "bytes": ((1, "bytes"), (1024, "KiB"), (1024, "MiB"), (1024, "GiB")),
}


def table(title: str, session: Session) -> Table:
    """Return the comparisons as a table that fits 80 columns: a line for each implementation.

    Every number carries its unit; ``relative`` is to the first line of the case.
    """
    notes = [
        "relative: median of the rounds' ratios to the first line of the case; less is better",
        *session.notes,
    ]
    caption = "\n".join(notes)
    drawn = Table(title=title, caption=caption, caption_justify="left", box=SIMPLE_HEAD)
    drawn.add_column("case\n  implementation", min_width=38)
    for name in ("median", "p95", "relative", "n"):
        drawn.add_column(name, justify="right", no_wrap=True, vertical="bottom")
    for comparison in session.comparisons:
        at = f" ({comparison.at:,})" if comparison.at else ""
        drawn.add_row(Text(comparison.case + at, "bold"))
        for name, *numbers in _rows(comparison):
            drawn.add_row(f"  {name}", *numbers)
    return drawn


def _rows(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    for name, its in comparison.to_json()["implementations"].items():
        relative = its.get("growth", its["median_ratio_to_first"])
        times = (quantity(its[key], comparison.unit) for key in ("p50", "p95"))
        yield name, *times, f"{relative:,.2f}", f"{its['n']:,}"
        if "latency_p50" in its:
            times = (quantity(its[f"latency_{key}"], comparison.unit) for key in ("p50", "p95"))
            yield f"{name}: latency", *times, "", ""


def quantity(number: float, unit: str) -> str:
    """Return a number of three digits with the largest unit in which it is not below one."""
    (_, shown), *larger = _UNITS[unit]
    for size, name in larger:
        if number < size:
            break
        number, shown = number / size, name
    digits = 0 if number >= 100 or number == int(number) else 1 if number >= 10 else 2
    return f"{number:,.{digits}f} {shown}"


def to_json(name: str, title: str, session: Session, database: dict[str, str]) -> dict[str, Any]:
    """Return the result as it is kept."""
    return {
        "suite": name,
        "title": title,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "profile": vars(session.profile),
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
        "dialect": adapter_for(dialect.name).product_name(dialect),
        "driver": dialect.driver,
        "server_version": ".".join(map(str, getattr(dialect, "server_version_info", None) or ())),
    }


def write(folder: Path, result: dict[str, Any]) -> Path:
    """Write a result to its file, named by the suite and the database, and return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    database = result["database"]
    file = folder / f"{result['suite']}-{database['dialect']}-{database['driver']}.json"
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
