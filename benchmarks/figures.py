"""The figures in the documentation, written from the results: ``python -m benchmarks.figures``.

A page holds ``<!-- figures: NAME -->`` and ``<!-- /figures -->`` on lines of their own; what stands
between them is replaced. A test fails where a page and the committed results differ.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import typer

from benchmarks import RESULTS, ROOT, targets
from benchmarks.report import quantity

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

_FRAGMENT = re.compile(
    r"(?<=^<!-- figures: )(?P<name>\w+)(?P<mark> -->\n).*?(?=^<!-- /figures -->$)",
    re.DOTALL | re.MULTILINE,
)
_DATABASES = {"postgresql": "PostgreSQL", "mariadb": "MariaDB", "sqlite": "SQLite"}
_COMPARED = ("built_in", "cold_start", "concurrency")

OURS, BUILT_IN = "this provider", "built-in"
OURS_NORMAL = "this provider, synchronous=NORMAL"

#: The calls of the overview: the name there, and the case.
OVERVIEW_CASES = {
    "read one value": "get",
    "write one value": "set",
    "open a known thread": "get_or_create_conversation, existing",
    "append a text": "append_text_block",
    "append a file of 100 KB": "append_file_block, 100 KB",
    "load a history of 100 blocks": "get_message_blocks, 100 blocks",
    "load a history of 1,000 blocks": "get_message_blocks, 1,000 blocks",
    "find one of 10,000 items": "query, one of 10,000",
    "a whole turn of the agent": "agent turn",
    "20 turns at once": "agent turn, 20 at once",
    "export 1,000 conversations": "full export of 1,000 conversations",
}
#: The series of the overview: the database, the implementation, how it is called there, its colour.
OVERVIEW_SERIES = (
    ("postgresql", OURS, "PostgreSQL", "#0072B2"),
    ("sqlite", OURS, "SQLite, synchronous=FULL (default)", "#009E73"),
    ("sqlite", OURS_NORMAL, "SQLite, synchronous=NORMAL", "#56B4E9"),
)

type Result = dict[str, Any]


def relative(comparison: Result, name: str, base: str) -> float:
    """Return the time of an implementation relative to another one's."""
    ratios = {
        one: its["median_ratio_to_first"] for one, its in comparison["implementations"].items()
    }
    return float(ratios[name] / ratios[base])


class Results:
    """The results in a folder, by suite and database."""

    def __init__(self, folder: Path = RESULTS) -> None:
        self.folder = folder
        files = (json.loads(file.read_text("utf-8")) for file in sorted(folder.glob("*.json")))
        self._found = {(one["suite"], one["database"]["dialect"]): one for one in files}

    def get(self, suite: str, database: str) -> Result | None:
        """Return a result, or None where it was not measured."""
        return self._found.get((suite, database))

    def ratios(self, suite: str, database: str, name: str, base: str) -> dict[str, float]:
        """Return the ratio of each case in which both were measured."""
        result = self.get(suite, database) or {"comparisons": []}
        return {
            _case(one): relative(one, name, base)
            for one in result["comparisons"]
            if {name, base} <= one["implementations"].keys()
        }


def _case(comparison: Result) -> str:
    at = f", {comparison['at']:,} threads at once" if comparison.get("at") else ""
    return str(comparison["case"]) + at


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(head)
    lines = [names, ["---"] * len(names), *(list(row) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _shown(ratio: float | None) -> str:
    return "not measured" if ratio is None else f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.3f}"


def calls(results: Results) -> str:
    """Return the README's table: calls relative to the built-in provider's."""
    ratios = {
        label: results.ratios("built_in", database, name, BUILT_IN)
        for database, name, label, _ in OVERVIEW_SERIES
    }
    rows = (
        (called, *(_shown(found.get(case)) for found in ratios.values()))
        for called, case in OVERVIEW_CASES.items()
    )
    return _table(("time relative to the built-in provider", *ratios), rows)


def costs(results: Results) -> str:
    """Return every case that takes more time or memory than the built-in provider."""
    found: dict[str, dict[str, float]] = {}
    for suite in _COMPARED:
        for database in ("postgresql", "sqlite"):
            for case, ratio in results.ratios(suite, database, OURS, BUILT_IN).items():
                found.setdefault(case, {})[database] = ratio
    more = {case: its for case, its in found.items() if max(its.values()) > 1}
    rows = (
        (case, _shown(its.get("postgresql")), _shown(its.get("sqlite")))
        for case, its in sorted(more.items(), key=lambda one: -max(one[1].values()))
    )
    head = ("relative to the built-in provider", "PostgreSQL", "SQLite, synchronous=FULL")
    return _table(head, rows)


def growth(results: Results) -> str:
    """Return how much more time a call takes in a large database, at its worst."""
    worst: list[tuple[float, int, str, str]] = []
    for database, named in _DATABASES.items():
        result = results.get("growth", database)
        for one in result["comparisons"] if result else ():
            ratio = one["implementations"][OURS]["growth"]
            worst.append((ratio, one["at"], one["case"], named))
    sizes = sorted({at for _, at, _, _ in worst})
    last = max(one for one in worst if one[1] == sizes[-1])
    peak = max(worst)
    return (
        f"With {sizes[-1]:,} blocks in the database no call takes more than {last[0]:.2f} times as "
        f"long as with {sizes[0] // 10:,}\n(`{last[2]}` on {last[3]}). The largest ratio at any "
        f"size measured is {peak[0]:.2f}\n(`{peak[2]}` with {peak[1]:,} blocks on {peak[3]}).\n"
    )


def disk(results: Results) -> str:
    """Return the bytes that the same conversations take."""
    rows = []
    for database, named in _DATABASES.items():
        result = results.get("disk_use", database)
        for one in result["comparisons"] if result else ():
            sizes = {name: its["p50"] for name, its in one["implementations"].items()}
            ours = sizes[OURS]
            theirs = sizes.get(BUILT_IN)
            rows.append(
                (
                    f"{named}, {one['case']}",
                    quantity(ours, "bytes"),
                    quantity(theirs, "bytes") if theirs else "none for this database",
                    _shown(ours / theirs) if theirs else "",
                )
            )
    return _table(("bytes on disk", "this provider", "built-in", "ratio"), rows)


def others(results: Results) -> str:
    """Return what other libraries take for a turn and a history, relative to this provider."""
    names = ("openai-agents", "google-adk")
    rows = []
    for database, named in _DATABASES.items():
        found = {name: results.ratios("others", database, name, OURS) for name in names}
        cases = dict.fromkeys(case for its in found.values() for case in its)
        rows += [
            (f"{case}, {named}", *(_shown(found[name].get(case)) for name in names))
            for case in cases
        ]
    return _table(("time relative to this provider", *names), rows)


def missed(results: Results) -> str:
    """Return the targets, what was reached, and what missed them."""
    head = ("ratio", "database", "at most", "reached", "missed by")
    rows = targets.rows(results.folder)
    return _table(head, ((what, _DATABASES[name], *rest) for what, name, *rest in rows))


def measured(results: Results) -> str:
    """Return when and where each result was measured."""
    rows = []
    for (suite, database), one in sorted(results._found.items()):
        counts = [
            its["n"] for case in one["comparisons"] for its in case["implementations"].values()
        ]
        where = f"{_DATABASES[database]} {one['database']['server_version']}"
        machine = f"{one['machine']['processor']}, {one['machine']['cpus']} CPUs"
        n = f"{min(counts):,} to {max(counts):,}"
        rows.append((f"`{suite}`", where, one["measured_at"][:10], machine, n))
    return _table(("suite", "database", "measured", "machine", "n for each figure"), rows)


FRAGMENTS: dict[str, Callable[[Results], str]] = {
    "calls": calls,
    "costs": costs,
    "growth": growth,
    "disk": disk,
    "others": others,
    "targets": missed,
    "measured": measured,
}


def rewrite(text: str, results: Results) -> str:
    """Return a page with its figures as the results have them."""
    return _FRAGMENT.sub(
        lambda found: f"{found['name']}{found['mark']}\n{FRAGMENTS[found['name']](results)}\n",
        text,
    )


def changed(results: Results) -> Iterator[tuple[Path, str]]:
    """Return each page whose figures are not those of the results, and how it should be."""
    for page in PAGES:
        text = page.read_text("utf-8")
        if (new := rewrite(text, results)) != text:
            yield page, new


def main() -> None:
    """Write the figures of all pages from the committed results."""
    for page, text in changed(Results()):
        page.write_text(text, encoding="utf-8")
        print(page.name)


if __name__ == "__main__":
    typer.run(main)
