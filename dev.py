"""Run the demo or the tests from a fresh checkout; needs nothing but Python.

    python3 dev.py demo     replay agent threads into a database and show what was stored
    python3 dev.py test     run every test
    python3 dev.py lint     check style, types and the direction of imports
    python3 dev.py bench    measure the calls beside the built-in providers and others
    python3 dev.py soak     do harm to databases under load and count what is lost
    python3 dev.py wheel    build the wheel

What is missing is installed into `.venv` beside this file: Python 3.12 or later is looked for,
and downloaded where it is not there; uv comes from PyPI. Further arguments go to the command.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
TOOLS = ROOT / ".tools"
SCRIPTS = VENV / ("Scripts" if os.name == "nt" else "bin")

COMMANDS = {
    "demo": [["slack-agents-db", "demo"]],
    "test": [["pytest", "-n", "2"]],
    "lint": [["ruff", "check"], ["ruff", "format", "--check"], ["mypy"], ["lint-imports"]],
    "bench": [["python", "-m", "benchmarks"]],
    "soak": [["python", "-m", "tests.load"]],
    "wheel": [["uv", "build", "--wheel"]],
}
GROUPS = {"test": ["dev", "bench"], "bench": ["dev", "bench"]}


def main(task: str = "", *further: str) -> int:
    """Do what the first argument says, and return the exit status."""
    if task not in COMMANDS:
        print(__doc__)
        return 2
    os.chdir(ROOT)
    uv = find_uv()
    install(uv, GROUPS.get(task, ["dev"]))
    *before, last = COMMANDS[task]
    for program, *arguments in [*before, [*last, *further]]:
        command = uv if program == "uv" else [str(SCRIPTS / program)]
        status = subprocess.call([*command, *arguments])
        if status:
            return status
    return 0


def install(uv: list, groups: list) -> None:
    """Install the project and its tools into `.venv`, which takes a second when all is there."""
    create = [*uv, "venv", "--quiet", "--python", ">=3.12", str(VENV)]
    if not (VENV / "pyvenv.cfg").is_file() and subprocess.call(create):
        sys.exit("Python 3.12 or later is needed: install it, or let uv download it")
    target = ["--python", str(VENV), "--editable", ".[all]"]
    for group in groups:
        target += ["--group", group]
    subprocess.check_call([*uv, "pip", "install", "--quiet", *target])


def find_uv() -> list:
    """Return the command that runs uv, installed from PyPI into `.tools` where it is missing."""
    found = shutil.which("uv")
    if found:
        return [found]
    program = TOOLS / "bin" / ("uv.exe" if os.name == "nt" else "uv")
    if not program.is_file():
        print("installing uv from PyPI ...", file=sys.stderr)
        target = ["--quiet", "--disable-pip-version-check", "--target", str(TOOLS), "uv"]
        subprocess.check_call([sys.executable, "-m", "pip", "install", *target])
    return [str(program)]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
