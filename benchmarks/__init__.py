"""Benchmarks: ``python -m benchmarks --help``; each module of ``suites/`` is one suite.

Results are written to :data:`OUTPUT`, which git ignores; ``--record`` replaces the committed
results in :data:`RESULTS` instead, one JSON file for each suite and database. The figures of
``README.md`` and ``docs/`` are written from those (``python -m benchmarks.figures``), and the
charts that the pages show are drawn from them (``python -m benchmarks.charts``).
"""

from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).with_name("results")
CHARTS = ROOT / "docs" / "charts"
OUTPUT = ROOT / "benchmark-output"
