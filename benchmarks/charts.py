"""Charts that the documentation shows, drawn from the results: ``python -m benchmarks.charts``.

All have one direction: time relative to a baseline, less is faster. Colours are of the palette of
Okabe and Ito, which people who see colours differently can tell apart; each implementation has a
marker of its own too.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import matplotlib as mpl
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from benchmarks import CHARTS, RESULTS
from benchmarks.figures import (
    BUILT_IN,
    OURS,
    OURS_NORMAL,
    OVERVIEW_CASES,
    OVERVIEW_SERIES,
    Result,
    relative,
)

DEFAULTS = "primitives only"
STYLES = {
    OURS: ("#0072B2", "o"),
    OURS_NORMAL: ("#56B4E9", "^"),
    BUILT_IN: ("#D55E00", "s"),
    DEFAULTS: ("#E69F00", "D"),
    "openai-agents": ("#009E73", "v"),
    "google-adk": ("#CC79A7", "P"),
}
_OTHER_STYLE = ("#555555", "s")
_GREY = "#777777"

#: What the pages show; charts of other results are drawn on demand.
SHOWN = (
    "overview",
    "built_in-postgresql-asyncpg",
    "built_in-sqlite-pysqlite",
    "concurrency-postgresql-asyncpg",
    "concurrency-sqlite-pysqlite",
    "growth-postgresql-asyncpg",
)


def main(
    results: Annotated[Path, typer.Option(help="Folder with the JSON.")] = RESULTS,
    output: Annotated[
        Path | None, typer.Option(help="Folder for all charts. Default: docs/charts, those shown.")
    ] = None,
) -> None:
    """Draw the charts of what was measured before."""
    for file in draw(results, output or CHARTS, None if output else SHOWN):
        print(file.name)


def draw(results: Path, output: Path, wanted: Iterable[str] | None = None) -> Iterator[Path]:
    """Draw the charts of the results in a folder, all by default, and return the PNG files."""
    mpl.use("agg")
    mpl.rcParams.update(
        {
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": _GREY,
            "axes.grid.axis": "both",
            "axes.axisbelow": True,
            "grid.color": "#e5e5e5",
            "figure.facecolor": "white",
        }
    )
    output.mkdir(parents=True, exist_ok=True)
    for name, figure in _figures(results):
        if wanted is None or name in wanted:
            file = output / f"{name}.png"
            figure.savefig(file, dpi=130, metadata={"Software": None})
            yield file


def _figures(results: Path) -> Iterator[tuple[str, Figure]]:
    found: dict[tuple[str, str], Result] = {}
    for file in sorted(results.glob("*.json")):
        result = json.loads(file.read_text(encoding="utf-8"))
        found[result["suite"], result["database"]["dialect"]] = result
        if (figure := chart(result)) is not None:
            yield file.stem, figure
    pairs = {name: result for (kind, name), result in found.items() if kind == "built_in"}
    if any(case in OVERVIEW_CASES.values() for result in pairs.values() for case in _cases(result)):
        yield "overview", overview(pairs)


def chart(result: Result) -> Figure | None:
    """Return the chart of a result; there is none where nothing was measured beside it."""
    if result["suite"] == "growth":
        return growth(result)
    if baseline(result) is None:
        return None
    return concurrency(result) if result["suite"] == "concurrency" else calls(result)


def baseline(result: Result) -> str | None:
    """Return the implementation that the others are relative to."""
    names = _names(result["comparisons"])
    others = [name for name in names if not name.startswith(OURS)]
    # Not every other one works on every database: there, this provider is the common measure.
    return None if not others else OURS if result["suite"] == "others" else others[0]


def calls(result: Result) -> Figure:
    """Draw the relative time of each call, the least of this provider's on top."""
    base = baseline(result) or OURS
    names = [name for name in _names(result["comparisons"]) if name != base]
    key = names[0] if base == OURS else OURS
    comparisons = sorted(
        result["comparisons"],
        key=lambda one: relative(one, key, base) if key in one["implementations"] else 0,
        reverse=True,
    )
    rows = len(comparisons)
    figure = Figure(figsize=(9.5, 2.2 + 0.24 * rows), layout="constrained")
    axes = figure.subplots()
    _line_of(axes.axvline, base)
    beside = axes.get_yaxis_transform()
    for place, name in enumerate(names):
        colour, marker = STYLES.get(name, _OTHER_STYLE)
        at = 1.03 + 0.09 * place
        points = [
            (relative(one, name, base), row)
            for row, one in enumerate(comparisons)
            if name in one["implementations"]
        ]
        axes.scatter(*zip(*points, strict=True), color=colour, marker=marker, label=name, zorder=3)
        axes.plot([at + 0.02], [rows - 0.2], marker, color=colour, transform=beside, clip_on=False)
        for ratio, row in points:
            axes.text(at, row, _figure(ratio), transform=beside, va="center")
    axes.set_yticks(range(rows), [one["case"] for one in comparisons])
    axes.set_ylim(-0.7, rows - 0.3)
    axes.set_xscale("log")
    _ratio_axis(axes, "x")
    axes.set_xlabel(f"relative to {base} (log scale): less is better")
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0)
    _frame(figure, axes, result)
    return figure


def growth(result: Result) -> Figure:
    """Draw how the time of each call grows with the blocks in the database, a panel for each."""
    cases = _cases(result)
    sizes = sorted({one["at"] for one in result["comparisons"]})
    least = sizes[0] // 10
    columns = min(5, len(cases))
    rows = -(-len(cases) // columns)
    figure = Figure(figsize=(2.1 * columns, 2.1 * rows + 1.3), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, case in zip(panels, cases, strict=False):
        _line_of(axes.axhline, None)
        for name in (DEFAULTS, OURS):
            points = [(least, 1.0)] + [
                (one["at"], one["implementations"][name]["growth"])
                for one in result["comparisons"]
                if one["case"] == case and name in one["implementations"]
            ]
            if len(points) == 1:
                continue
            colour, marker = STYLES[name]
            axes.plot(
                *zip(*points, strict=True), color=colour, marker=marker, markersize=4, label=name
            )
            last, ratio = points[-1]
            axes.annotate(
                _figure(ratio),
                (last, ratio),
                xytext=(0, -13 if name == OURS else 6),
                textcoords="offset points",
                ha="right",
                color=colour,
                fontsize=8,
            )
        axes.set_title("\n".join(textwrap.wrap(case, 22)), fontsize=8)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.grid(visible=True)
    for axes in panels[len(cases) :]:
        axes.set_visible(False)
    panels[0].set_xticks([least, *sizes], [_short(size) for size in (least, *sizes)])
    panels[0].set_xlim(least / 1.6, sizes[-1] * 2)
    panels[0].xaxis.set_minor_locator(NullLocator())
    low, high = panels[0].get_ylim()
    panels[0].set_ylim(min(low, 0.3), max(high * 2, 4))
    panels[0].yaxis.set_minor_locator(NullLocator())
    panels[0].yaxis.set_major_formatter(FuncFormatter(_ratio))
    for axes in panels[len(cases) - columns : len(cases)]:
        axes.set_xlabel("blocks in the database", fontsize=8)
    figure.supylabel(f"relative to {least:,} blocks\n(log scale): less is better", fontsize=9)
    _frame(figure, panels[0], result)
    return figure


def concurrency(result: Result) -> Figure:
    """Draw the relative time of a turn by how many tasks are at work."""
    base = baseline(result) or OURS
    cases = _cases(result)
    figure = Figure(figsize=(4.5 * len(cases), 4.2), layout="constrained")
    panels = figure.subplots(1, len(cases), squeeze=False, sharey=True)[0]
    for axes, case in zip(panels, cases, strict=True):
        comparisons = [one for one in result["comparisons"] if one["case"] == case]
        _line_of(axes.axhline, base)
        for name in _names(comparisons):
            if name == base:
                continue
            colour, marker = STYLES.get(name, _OTHER_STYLE)
            points = [(one["at"], relative(one, name, base)) for one in comparisons]
            axes.plot(*zip(*points, strict=True), color=colour, marker=marker, label=name)
        axes.set_xscale("log")
        axes.set_xticks(levels := [one["at"] for one in comparisons], list(map(str, levels)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("threads at once")
        axes.set_title(case, fontsize=9)
        axes.grid(visible=True)
    panels[0].set_ylim(bottom=0)
    panels[0].set_ylabel(f"time of one, relative to {base}:\nless is better")
    _frame(figure, panels[0], result)
    return figure


def overview(results: dict[str, Result]) -> Figure:
    """Draw this provider's time relative to the built-in provider's."""
    series = []
    for database, name, label, colour in OVERVIEW_SERIES:
        ratios = {
            one["case"]: relative(one, name, BUILT_IN)
            for one in results.get(database, {"comparisons": []})["comparisons"]
            if name in one["implementations"]
        }
        if ratios:
            series.append((label, colour, ratios))
    figure = Figure(figsize=(8.2, 1.6 + 0.55 * len(OVERVIEW_CASES)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(series)
    for number, (label, colour, ratios) in enumerate(series):
        bars = [
            (row + (number - (len(series) - 1) / 2) * height, ratios[case])
            for row, case in enumerate(OVERVIEW_CASES.values())
            if case in ratios
        ]
        if not bars:
            continue
        positions, widths = zip(*bars, strict=True)
        axes.barh(positions, widths, height=height * 0.92, color=colour, label=label)
        for place, width in bars:
            axes.text(
                width + 0.01,
                place,
                _figure(width),
                va="center",
                fontsize=7.5,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
            )
    _line_of(axes.axvline, BUILT_IN)
    axes.set_yticks(range(len(OVERVIEW_CASES)), list(OVERVIEW_CASES))
    axes.set_ylim(len(OVERVIEW_CASES) - 0.5, -0.6)
    axes.set_xlim(0, max(1.1, axes.get_xlim()[1]))
    axes.set_xlabel("time relative to the framework's built-in provider: less is better")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False
    )
    return figure


def _cases(result: Result) -> list[str]:
    return list(dict.fromkeys(one["case"] for one in result["comparisons"]))


def _names(comparisons: Iterable[Result]) -> list[str]:
    return list(dict.fromkeys(name for one in comparisons for name in one["implementations"]))


def _line_of(draw_line: Any, name: str | None) -> None:
    """Draw the line of the baseline, which the legend names."""
    colour = STYLES.get(name or "", (_GREY, ""))[0]
    draw_line(1, color=colour, linewidth=1.4, zorder=2, label=name and f"{name} = 1")


def _ratio_axis(axes: Axes, which: str) -> None:
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    few = high < 200 * low
    steps = [step * 10.0**power for power in range(-3, 5) for step in ((1, 2, 5) if few else (1,))]
    axis.set_major_locator(FixedLocator([step for step in steps if low <= step <= high]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(_ratio))


def _ratio(number: float, _: object = None) -> str:
    return f"{number:,.10g}"


def _figure(ratio: float) -> str:
    digits = 3 if ratio < 0.1 else 2 if ratio < 100 else 0
    return f"{ratio:,.{digits}f}"


def _short(number: int) -> str:
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if number >= size:
            return f"{number // size}{unit}"
    return str(number)


def _frame(figure: Figure, axes: Axes, result: Result) -> None:
    """Add the title, the legend, and what one must know to read the figures."""
    database, machine = result["database"], result["machine"]
    where = " ".join(filter(None, (database["dialect"], database["server_version"])))
    counts = [its["n"] for one in result["comparisons"] for its in one["implementations"].values()]
    n = f"n = {min(counts):,}" + (f" to {max(counts):,}" if max(counts) > min(counts) else "")
    title = (
        f"{result['title'].rstrip('.')}\n{where}, {database['driver']}; {n} for each point; "
        f"{machine['processor']}, {machine['cpus']} CPUs, {result['measured_at'][:10]}"
    )
    notes = [note for note in result["notes"] if not note.startswith("copied")]
    figure.suptitle(
        "\n".join([title, *(textwrap.shorten(note, 110) for note in notes)]), fontsize=9
    )
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False
    )


if __name__ == "__main__":
    typer.run(main)
