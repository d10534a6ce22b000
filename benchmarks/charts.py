"""Charts of the results, as PNG and SVG beside the JSON: ``python -m benchmarks.charts``.

Colours are of the palette of Okabe and Ito, which people who see colours differently can tell
apart; each contender has a shape of its own too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import matplotlib as mpl
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from benchmarks import RESULTS

OURS, BUILT_IN, DEFAULTS = "this provider", "built-in", "primitives only"
STYLES = {
    OURS: ("#0072B2", "o"),
    BUILT_IN: ("#D55E00", "s"),
    DEFAULTS: ("#E69F00", "D"),
    "openai-agents": ("#009E73", "^"),
    "google-adk": ("#CC79A7", "v"),
}
_OTHER_STYLE = ("#555555", "s")
_GREY = "#777777"

#: The calls of the README's chart: the name there, and the case.
README_CASES = {
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
_DATABASES = {"postgresql": ("PostgreSQL", "#0072B2"), "sqlite": ("SQLite file", "#56B4E9")}

type Result = dict[str, Any]


def main(
    results: Annotated[Path, typer.Option(help="Folder with the JSON.")] = RESULTS,
) -> None:
    """Draw the charts of what was measured before."""
    for file in draw(results):
        print(file.name)


def draw(folder: Path) -> Iterator[Path]:
    """Draw a chart of each result in the folder, and the README's; return the PNG files."""
    mpl.use("agg")
    mpl.rcParams.update(
        {
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": _GREY,
            "axes.grid.axis": "both",
            "grid.color": "#e5e5e5",
            "figure.facecolor": "white",
            "svg.hashsalt": "the same file for the same numbers",
        }
    )
    found: dict[tuple[str, str], Result] = {}
    for file in sorted(folder.glob("*.json")):
        result = json.loads(file.read_text(encoding="utf-8"))
        found[result["benchmark"], result["database"]["dialect"]] = result
        if (figure := chart(result)) is not None:
            yield save(figure, file.with_suffix(""))
    pairs = {name: found["built_in", name] for name in _DATABASES if ("built_in", name) in found}
    if pairs:
        yield save(readme(pairs), folder / "readme")


def chart(result: Result) -> Figure | None:
    """Return the chart of a result; there is none where nobody could be compared with."""
    if result["benchmark"] == "growth":
        return growth(result)
    if result["benchmark"] == "concurrency":
        return concurrency(result)
    alone = all(len(one["contenders"]) == 1 for one in result["comparisons"])
    return None if alone else calls(result)


def save(figure: Figure, file: Path) -> Path:
    """Write a figure as SVG and PNG, and return the latter."""
    figure.savefig(file.with_suffix(".svg"), metadata={"Date": None})
    png = file.with_suffix(".png")
    figure.savefig(png, dpi=150, metadata={"Software": None})
    return png


def calls(result: Result) -> Figure:
    """Draw the time of each call by contender, the best ratio on top."""
    comparisons = sorted(result["comparisons"], key=_part_of_last, reverse=True)
    comparisons = [one for one in comparisons if one["unit"] == "us"]
    names = list(dict.fromkeys(name for one in comparisons for name in one["contenders"]))
    figure = Figure(figsize=(9.5, 1.6 + 0.27 * len(comparisons)), layout="constrained")
    axes = figure.subplots()
    for row, one in enumerate(comparisons):
        times = [its["p50"] for its in one["contenders"].values()]
        axes.plot([min(times), max(times)], [row, row], color="#cccccc", linewidth=2, zorder=1)
        for place, name in enumerate(names[1:]):
            if name in one["contenders"]:
                ratio = one["contenders"][name]["median_ratio_to_first"]
                axes.text(
                    1.02 + 0.06 * place,
                    row,
                    f"{ratio:,.2f}" if ratio < 10 else f"{ratio:,.0f}",
                    transform=axes.get_yaxis_transform(),
                    verticalalignment="center",
                )
    for name in names:
        colour, marker = STYLES.get(name, _OTHER_STYLE)
        points = [
            (one["contenders"][name]["p50"], row)
            for row, one in enumerate(comparisons)
            if name in one["contenders"]
        ]
        axes.scatter(*zip(*points, strict=True), color=colour, marker=marker, label=name, zorder=2)
    axes.set_yticks(range(len(comparisons)), [one["case"] for one in comparisons])
    axes.set_ylim(-0.7, len(comparisons) - 0.3)
    _time_axis(axes)
    axes.grid(axis="x")
    beside = axes.get_yaxis_transform()
    for place, name in enumerate(names[1:]):
        colour, marker = STYLES.get(name, _OTHER_STYLE)
        top = [1.035 + 0.06 * place], [len(comparisons) - 0.3]
        axes.plot(*top, marker, color=colour, transform=beside, clip_on=False)
    axes.text(1.02, -0.9, f"ratio to {names[0]}", transform=beside, color=_GREY, va="top")
    _head(figure, axes, result, len(names))
    return figure


def growth(result: Result) -> Figure:
    """Draw how the time of the calls grows with the blocks in the database."""
    figure = Figure(figsize=(8, 4.8), layout="constrained")
    axes = figure.subplots()
    sizes = sorted({one["at"] for one in result["comparisons"]})
    least = sizes[0] // 10
    ends = []
    for name in (DEFAULTS, OURS):
        colour, marker = STYLES[name]
        lines: dict[str, list[tuple[int, float]]] = {}
        for one in result["comparisons"]:
            if its := one["contenders"].get(name):
                lines.setdefault(one["case"], [(least, 1.0)]).append((one["at"], its["growth"]))
        for number, (case, points) in enumerate(lines.items()):
            axes.plot(
                *zip(*points, strict=True),
                color=colour,
                marker=marker,
                markersize=4,
                linewidth=1.4,
                label=None if number else f"{name}, {len(lines)} calls",
                zorder=3 if name == OURS else 2,
            )
            ends.append((points[-1][1], points[-1][0], case, name))
    highest, at, case, name = max(ends)
    if highest > 2:
        axes.annotate(
            f"{case}, {name}: {highest:,.0f} times",
            (at, highest),
            xytext=(-8, 8),
            textcoords="offset points",
            horizontalalignment="right",
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.4, top=max(3.0, 4 * highest))
    axes.set_xlabel("blocks in the database")
    axes.set_ylabel(f"time of a call, as a multiple\nof that with {least:,} blocks")
    _plain_numbers(axes)
    axes.grid(visible=True)
    _head(figure, axes, result, 2)
    return figure


def concurrency(result: Result) -> Figure:
    """Draw how much is done in a second, by how many tasks are at work."""
    cases = list(dict.fromkeys(one["case"] for one in result["comparisons"]))
    figure = Figure(figsize=(4.5 * len(cases), 3.8), layout="constrained")
    for axes, case in zip(figure.subplots(1, len(cases), squeeze=False)[0], cases, strict=True):
        comparisons = [one for one in result["comparisons"] if one["case"] == case]
        for name in comparisons[0]["contenders"]:
            colour, marker = STYLES[name]
            points = [(one["at"], one["contenders"][name]["per_second"]) for one in comparisons]
            axes.plot(*zip(*points, strict=True), color=colour, marker=marker, label=name)
        axes.set_xscale("log")
        axes.set_xticks([one["at"] for one in comparisons])
        axes.set_xticks([], minor=True)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("at once")
        axes.set_title(f"{case} a second", fontsize=9)
        _plain_numbers(axes)
        axes.grid(visible=True)
    _head(figure, axes, result, 3)
    return figure


def readme(results: dict[str, Result]) -> Figure:
    """Draw this provider's time as a part of the built-in provider's, on both databases."""
    figure = Figure(figsize=(8.2, 5.6), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(results)
    for number, (database, result) in enumerate(results.items()):
        label, colour = _DATABASES[database]
        ratios = {
            one["case"]: one["contenders"][OURS]["median_ratio_to_first"]
            for one in result["comparisons"]
        }
        rows = [
            (row + (number - (len(results) - 1) / 2) * height, ratios[case])
            for row, case in enumerate(README_CASES.values())
            if case in ratios
        ]
        if not rows:
            continue
        places, widths = zip(*rows, strict=True)
        axes.barh(places, widths, height=height * 0.92, color=colour, label=label)
        for place, width in rows:
            axes.text(width + 0.01, place, f"{width:.2f}", verticalalignment="center", fontsize=8)
    axes.axvline(1, color=STYLES[BUILT_IN][0], linewidth=1.5)
    axes.text(
        1.0,
        -0.75,
        "the built-in provider",
        color=STYLES[BUILT_IN][0],
        horizontalalignment="center",
    )
    axes.set_yticks(range(len(README_CASES)), list(README_CASES))
    axes.set_ylim(len(README_CASES) - 0.5, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel("time of a call as a part of the built-in provider's: less is faster")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False
    )
    return figure


def _part_of_last(comparison: Result) -> float:
    """Return what part this provider takes of the time of the last of the others."""
    ratios = {name: its["median_ratio_to_first"] for name, its in comparison["contenders"].items()}
    ours = ratios.pop(OURS)
    return float(ours / ratios.popitem()[1]) if ratios else 1.0


def _time_axis(axes: Axes) -> None:
    axes.set_xscale("log")
    least, most = axes.get_xlim()
    if most < 100 * least:
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(_time))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("median time of a call")


def _time(microseconds: float, _: object = None) -> str:
    for unit, size in (("s", 1e6), ("ms", 1e3)):
        if microseconds >= size:
            return f"{microseconds / size:g} {unit}"
    return f"{microseconds:g} µs"


def _plain_numbers(axes: Axes) -> None:
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:,.0f}"))


def _head(figure: Figure, axes: Axes, result: Result, columns: int) -> None:
    database = result["database"]
    where = " ".join(filter(None, (database["dialect"], database["server_version"])))
    figure.suptitle(f"{result['question'].rstrip('.')}\n{where}, {database['driver']}", fontsize=10)
    figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=columns,
        frameon=False,
    )


if __name__ == "__main__":
    typer.run(main)
