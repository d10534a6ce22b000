"""Run the demo or the tests from a fresh checkout; needs nothing but Python.

    python3 dev.py demo     replay agent threads into a database and show what was stored
    python3 dev.py test     run every test
    python3 dev.py lint     check style, types and the direction of imports
    python3 dev.py matrix   run the contract on further databases and versions
    python3 dev.py bench    measure the calls beside the built-in providers and others
    python3 dev.py soak     inject faults under load and count what is lost
    python3 dev.py docs     build the documentation's site
    python3 dev.py wheel    build the wheel

What is missing is installed into `.venv` beside this file, with uv, which comes from PyPI. An
installed Python 3.12 or later is used; otherwise uv downloads one. The packages are installed again
only when pyproject.toml changes. Further arguments go to the command.
"""

import difflib
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
TOOLS = ROOT / ".tools"
SCRIPTS = VENV / ("Scripts" if os.name == "nt" else "bin")
INSTALLED = ">=3.12"
DOWNLOADED = "3.13"

COMMANDS = {
    "demo": [["slack-agents-db", "demo"]],
    "test": [["pytest", "-n", "2", "--cov=slack_agents_sqlalchemy"]],
    "lint": [["ruff", "check"], ["ruff", "format", "--check"], ["mypy"], ["lint-imports"]],
    "matrix": [["python", "-m", "tests.support.matrix"]],
    "bench": [["python", "-m", "benchmarks"]],
    "soak": [["python", "-m", "tests.support.soak"]],
    "docs": [["mkdocs", "build", "--strict"]],
    "wheel": [["uv", "build", "--wheel"]],
}
GROUPS = {name: ["dev", "bench"] for name in ("lint", "test", "bench")} | {"docs": ["docs"]}


def main(task: str = "--help", *further: str) -> int:
    """Do what the first argument says, and return the exit status."""
    if task in ("-h", "--help", "help"):
        print(__doc__)
        return 0
    if task not in COMMANDS:
        near = difflib.get_close_matches(task, COMMANDS, n=1)
        meant = f": do you mean {near[0]!r}?" if near else ""
        print(f"dev.py knows no {task!r}{meant}\n\n{__doc__}", file=sys.stderr)
        return 2
    os.chdir(ROOT)
    # A proxy's certificate is among the system's.
    os.environ.setdefault("UV_SYSTEM_CERTS", "1")
    install(GROUPS.get(task, ["dev"]))
    *before, last = COMMANDS[task]
    for program, *arguments in [*before, [*last, *further]]:
        command = find_uv() if program == "uv" else [str(SCRIPTS / program)]
        status = subprocess.call([*command, *arguments])
        if status:
            return status
    return 0


def install(groups: list) -> None:
    """Install the project and its tools into `.venv`, unless they are there."""
    stamp = VENV / "installed.txt"
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    is_whole = starts([str(SCRIPTS / "python"), "-c", ""])
    there = stamp.read_text().split() if is_whole and stamp.is_file() else []
    if there[:1] == [wanted] and set(groups) <= set(there[1:]):
        return
    uv = find_uv()
    if not is_whole:
        create_environment(uv)
    kept = there[1:] if there[:1] == [wanted] else []
    named = sorted({*kept, *groups})
    target = ["--python", str(VENV), "--editable", ".[all]"]
    for group in named:
        target += ["--group", group]
    print("installing the project and its tools (some 500 MB at first) ...", file=sys.stderr)
    if subprocess.call([*uv, "pip", "install", *target]):
        sys.exit("dev.py: the packages could not be installed: is there a way to PyPI from here?")
    stamp.write_text(" ".join([wanted, *named]))


def create_environment(uv: list) -> None:
    """Create `.venv` with Python 3.12 or later, downloaded where it is not installed."""
    wanted = INSTALLED
    if not starts([*uv, "python", "find", "--no-project", "--no-python-downloads", INSTALLED]):
        wanted = DOWNLOADED
        print(f"Python 3.12 or later is not here: uv downloads {DOWNLOADED} ...", file=sys.stderr)
    if subprocess.call([*uv, "venv", "--clear", "--no-project", "--python", wanted, str(VENV)]):
        sys.exit(
            "dev.py: Python 3.12 or later is needed, and uv could not provide it: "
            "install it (apt-get install python3.12 python3.12-venv, or pyenv install 3.12)"
        )


def find_uv() -> list:
    """Return the command that runs uv, installed from PyPI into `.tools` where it is missing."""
    own = str(TOOLS / "bin" / ("uv.exe" if os.name == "nt" else "uv"))
    for program in (shutil.which("uv"), own):
        if program and starts([program, "--version"]):
            return [program]
    if not starts([sys.executable, "-m", "pip", "--version"]):
        sys.exit(
            "dev.py: uv is needed, and this Python has no pip to install it with: "
            "apt-get install python3-pip, or install uv, and run this again"
        )
    print("installing uv from PyPI ...", file=sys.stderr)
    target = ["--disable-pip-version-check", "--upgrade", "--target", str(TOOLS), "uv"]
    if subprocess.call([sys.executable, "-m", "pip", "install", "--quiet", *target]):
        sys.exit("dev.py: uv could not be installed: is there a way to PyPI from here?")
    return [own]


def starts(command: list) -> bool:
    """Return whether a command is there and ends well; a shim may be there and not work."""
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
