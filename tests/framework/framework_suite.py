"""The framework's own test suite, as its release on the package index carries it."""

import os
import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

DISTRIBUTION = "python-slack-agents"


class SuiteUnavailableError(Exception):
    """The release could not be fetched; the message says what each installer answered."""


@dataclass(frozen=True)
class Run:
    """What one run of the suite came to: the outcome of every test by its name, and the output."""

    outcomes: dict[str, str]
    output: str

    def counts(self) -> Counter[str]:
        """Return how many tests had which outcome."""
        return Counter(self.outcomes.values())


def fetched(cache: Path) -> Path:
    """Return the folder of the installed release's sources, fetching it by name where it is absent.

    Raises:
        SuiteUnavailableError: No installer could fetch it.
    """
    release = version(DISTRIBUTION)
    folder = cache / f"{DISTRIBUTION.replace('-', '_')}-{release}"
    if not folder.is_dir():
        download = cache / "download"
        _download(f"{DISTRIBUTION}=={release}", download)
        (archive,) = download.glob("*.tar.gz")
        with tarfile.open(archive) as sources:
            sources.extractall(download, filter="data")
        (download / folder.name).rename(folder)
        shutil.rmtree(download)
    return folder


def run(folder: Path, report: Path, *plugins: Path) -> Run:
    """Run the suite in a process of its own, with ``plugins`` loaded before its tests."""
    environment = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    environment["PYTHONPATH"] = os.pathsep.join(str(plugin.parent) for plugin in plugins)
    command = [sys.executable, "-m", "pytest", "tests", "-p", "no:cacheprovider"]
    command += [f"--junitxml={report}", *(f"-p{plugin.stem}" for plugin in plugins)]
    finished = _finished(command, cwd=folder, env=environment)
    output = finished.stdout + finished.stderr
    if not report.exists():
        raise RuntimeError(f"the framework's suite did not run:\n{output}")
    return Run(_outcomes(report), output)


def _download(requirement: str, target: Path) -> None:
    uv = os.environ.get("UV") or shutil.which("uv")
    installers = [[sys.executable, "-m", "pip"]]
    if uv:
        installers.append([uv, "tool", "run", "--python", sys.executable, "pip"])
    answers = []
    for installer in installers:
        shutil.rmtree(target, ignore_errors=True)
        options = ["--no-deps", f"--no-binary={DISTRIBUTION}", f"--dest={target}"]
        finished = _finished([*installer, "download", *options, requirement])
        if finished.returncode == 0:
            return
        answers.append(finished.stderr.strip().rpartition("\n")[2])
    raise SuiteUnavailableError(f"{requirement} cannot be fetched: {'; '.join(answers)}")


def _finished(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=False, capture_output=True, text=True, **options)


def _outcomes(report: Path) -> dict[str, str]:
    outcomes = {}
    for case in ET.parse(report).iter("testcase"):
        found = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        name = f"{case.get('classname')}::{case.get('name')}"
        outcomes[name] = found[0] if found else "passed"
    return outcomes
