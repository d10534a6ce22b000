"""Benchmarks: ``python -m benchmarks --help``; one file answers one question.

A question is a module of this package with ``async def measure(session: Session) -> None``; the
first line of its docstring says what it finds out. To ask another one, add a file. Results are
JSON in ``results/``, one file per question and database: whatever draws charts reads them there.
"""
