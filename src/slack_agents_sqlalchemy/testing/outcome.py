"""The progress and the result of a run of the contract suite."""

import logging
import sys
import warnings
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from slack_agents_sqlalchemy.interruption import Interruption

_PASSED, _FAILED, _WRONG_USAGE, _IN_PART = range(4)  # exit statuses
_MAX_SAME_ERRORS = 5  # in a row; each may have taken the time to connect


class Outcome:
    """Plug-in that shows the progress of the suite, and its result for each file of the suite."""

    def __init__(self, console: Console, interruption: Interruption) -> None:
        self._is_interrupted = False
        self._console = console
        self._interruption = interruption
        self._session: pytest.Session | None = None
        self._total = 0
        self._part = ""
        self._passed: Counter[str] = Counter()
        self._skipped: Counter[str] = Counter()
        self._failed: dict[str, dict[str, str]] = {}
        self._broken: list[str] = []
        self._same_errors: tuple[type[BaseException], int] | None = None
        self._stopped = ""
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[failed]}"),
            console=console,
            # Drawn between tests: during one, standard output belongs to pytest.
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
            transient=True,
            disable=not console.is_terminal,
        )
        self._bar = self._progress.add_task("", failed="")

    @property
    def _done(self) -> int:
        failed = sum(map(len, self._failed.values()))
        return self._passed.total() + self._skipped.total() + failed

    @property
    def counts(self) -> str:
        """How many of the tests were run; a part of a sentence."""
        return f"{self._done} of {self._total} tests were run"

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._session = session
        self._total = len(session.items)
        self._progress.update(self._bar, total=self._total)
        self._progress.start()

    def pytest_sessionfinish(self) -> None:
        self._progress.stop()

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Print nothing about interrupted work: the process ends soon."""
        if isinstance(excinfo.value, pytest.Session.Interrupted):
            return  # this class stopped the tests, not a signal
        self._is_interrupted = True
        warnings.simplefilter("ignore")
        logging.disable()
        sys.unraisablehook = lambda _: None

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._broken.append(str(report.longrepr))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        if (part := _part(nodeid)) == self._part:
            return
        self._part = part
        self._progress.update(self._bar, description=part, refresh=True)
        if self._progress.disable:
            self._console.print(f"{self._done + 1:>5} of {self._total}: {part}", markup=False)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        part = _part(report.nodeid)
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            reason = crash.message if crash else str(report.longrepr)
            name = report.nodeid.partition("::")[2]
            self._failed.setdefault(part, {})[name] = reason.splitlines()[0][:300]
        elif report.skipped:
            self._skipped[part] += 1
        elif report.when == "call":
            self._passed[part] += 1
            self._same_errors = None

    def pytest_exception_interact(
        self, call: pytest.CallInfo[object], report: pytest.CollectReport | pytest.TestReport
    ) -> None:
        """Stop after several equal errors in a row; a failed assertion is not an error."""
        if call.excinfo is None or isinstance(report, pytest.CollectReport):
            return
        kind = call.excinfo.type
        if issubclass(kind, AssertionError | pytest.fail.Exception):
            self._same_errors = None
            return
        before = self._same_errors
        times = before[1] + 1 if before is not None and before[0] is kind else 1
        self._same_errors = kind, times
        if times == _MAX_SAME_ERRORS and self._session is not None:
            self._stopped = f"stopped after {times} times the same error, {kind.__name__}"
            self._session.shouldstop = self._stopped

    def pytest_runtest_logfinish(self) -> None:
        failed = sum(map(len, self._failed.values()))
        self._progress.update(
            self._bar,
            completed=self._done,
            failed=f"[red]{failed} failed[/]" if failed else "",
            refresh=True,
        )
        self.raise_if_interrupted()  # a test that cancels may have caught the signal's exception

    def raise_if_interrupted(self) -> None:
        """Raise KeyboardInterrupt if a signal was received."""
        if self._is_interrupted or self._interruption.signal is not None:
            raise KeyboardInterrupt

    def show(self, status: int, left_out: int) -> int:
        """Print the result, and return the exit status of the command.

        Args:
            status: The exit status of pytest.
            left_out: The number of tests that cannot run on this database.
        """
        if status in (pytest.ExitCode.NO_TESTS_COLLECTED, pytest.ExitCode.USAGE_ERROR):
            no_match = status == pytest.ExitCode.NO_TESTS_COLLECTED
            reason = "no name matches the expression of -k" if no_match else "-k is no expression"
            self._console.print(f"[red]no test was run:[/] {reason}")
            return _WRONG_USAGE
        table = Table("part of the contract", "passed", "failed")
        for part in sorted(self._passed.keys() | self._failed.keys()):
            failed = len(self._failed.get(part, ()))
            table.add_row(part, str(self._passed[part]), f"[red]{failed}[/]" if failed else "0")
        self._console.print(table)
        for failures in self._failed.values():
            for name, reason in failures.items():
                self._console.print(
                    f"[red]failed:[/] {escape(name)}\n    {escape(reason)}", soft_wrap=True
                )
        for broken in self._broken:
            self._console.print(broken, markup=False)
        if self._failed or self._broken or not self._passed:
            stopped = f"; {self._stopped}" if self._stopped else ""
            self._console.print(
                f"[red]this database cannot be used[/]: {self.counts}{stopped}", soft_wrap=True
            )
            return _FAILED
        if self._done < self._total or status != pytest.ExitCode.OK:
            self._console.print(f"[red]not all tests ran:[/] {self.counts}")
            return _IN_PART
        skipped = f", {self._skipped.total()} skipped" if self._skipped else ""
        without_file = f", {left_out} left out, as they need a file" if left_out else ""
        self._console.print(
            f"[green]all {self._passed.total()} tests passed[/]{skipped}{without_file}",
            soft_wrap=True,
        )
        return _PASSED


def _part(nodeid: str) -> str:
    """Return the part of the contract that a file of the suite tests."""
    return Path(nodeid.partition("::")[0]).stem.removeprefix("test_").replace("_", " ")
