"""Benchmarks: ``python -m benchmarks --help``; one file of ``questions/`` answers one question.

What was measured goes to :data:`OUTPUT`, which git ignores; ``--record`` replaces the committed
results in :data:`RESULTS` instead, one JSON file for each question and database. The figures of
``README.md`` and ``docs/`` are written from those (``python -m benchmarks.figures``), and so are
the charts that the pages show (``python -m benchmarks.charts``).
"""

from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).with_name("results")
CHARTS = ROOT / "docs" / "charts"
OUTPUT = ROOT / "benchmark-output"
