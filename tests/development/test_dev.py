"""`dev.py`, which needs nothing but Python, says what it can do and what it misses."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


def dev(
    *arguments: str, python: Path | str = sys.executable, folder: Path = CHECKOUT
) -> tuple[int, str, str]:
    done = subprocess.run(
        [python, "dev.py", *arguments],
        cwd=folder,
        env={"HOME": str(folder), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_it_lists_its_tasks(arguments: tuple[str, ...]):
    status, output, _ = dev(*arguments)
    assert status == 0
    assert "python3 dev.py test" in output


def test_a_misspelt_task_is_named_with_the_one_that_is_meant():
    status, _, errors = dev("tset")
    assert status == 2
    assert "'tset': do you mean 'test'?" in errors


def test_a_python_without_pip_gets_one_line_that_says_what_to_install(tmp_path: Path):
    shutil.copy(CHECKOUT / "dev.py", tmp_path)
    shutil.copy(CHECKOUT / "pyproject.toml", tmp_path)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    status, _, errors = dev("lint", python=tmp_path / "bare/bin/python", folder=tmp_path)
    assert status == 1
    assert len(errors.splitlines()) == 1
    assert "apt-get install python3-pip" in errors
