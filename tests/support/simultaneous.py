"""Python processes that start their work at the same time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]


def run_at_once(program: str, *arguments: Iterable[str]) -> list[str]:
    """Run a program in several processes; return what each wrote to its standard error.

    Args:
        program: Prints "ready", and works after the next line of its standard input.
        arguments: Of each process.
    """
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, *its],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for its in arguments
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    ended = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), ended
    return [errors for _, errors in ended]
