"""Benchmarks: ``python -m benchmarks --help``; one file of ``questions/`` answers one question.

What they found is JSON in ``results/``, one file per question and database. The charts beside it
are drawn from there (``python -m benchmarks.charts``), and so is the table of what was to be
reached (``python -m benchmarks.targets``).
"""

from pathlib import Path

RESULTS = Path(__file__).with_name("results")
