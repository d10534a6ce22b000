"""A server program that the tests start for themselves, in a temporary directory."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple

START_SECONDS = 60
STOP_SECONDS = 30


class ServerBrokenError(Exception):
    """A private server was started and did not start; the text ends with what it printed."""


class Place(NamedTuple):
    """Where a private server runs.

    Attributes:
        address: That it is reached by.
        entered: Context in which a program is to be started to run there.
    """

    address: str
    entered: Callable[[], AbstractContextManager[None]]

    @property
    def listens_on(self) -> str:
        """The address that the server binds to."""
        return self.address if self is LOOPBACK else "0.0.0.0"


LOOPBACK = Place("127.0.0.1", nullcontext)


class PrivateProcess:
    """A server program with a temporary directory of its own; `stop` ends one, removes the other.

    Server programs refuse to run as root: root runs them as the first of `owners` that exists.
    """

    def __init__(self, owners: tuple[str, ...], place: Place = LOOPBACK) -> None:
        self._place = place
        self.directory = Path(tempfile.mkdtemp(prefix="sa_test_"))
        self._output = self.directory / "output.txt"
        self._output.touch()
        self._server: subprocess.Popen[bytes] | None = None
        self._stop_signal = signal.SIGTERM
        self._command: tuple[str, ...] = ()
        self._identity: dict[str, Any] = {}
        if os.geteuid() == 0:
            account = next(account_of(owners))
            os.chown(self.directory, account.pw_uid, account.pw_gid)
            self._identity = {
                "user": account.pw_uid,
                "group": account.pw_gid,
                "extra_groups": [],
            }

    def run(self, *command: str) -> None:
        """Run a command of the server to its end."""
        with self._output.open("ab") as output, self._place.entered():
            done = subprocess.run(command, check=False, **self._settings(output))
        if done.returncode != 0:
            raise ServerBrokenError(self.output)

    def serve(self, *command: str, stop_signal: signal.Signals) -> None:
        """Start the server itself; it is ready once it answers."""
        self._stop_signal, self._command = stop_signal, command
        with self._output.open("ab") as output, self._place.entered():
            self._server = subprocess.Popen(command, **self._settings(output))

    def kill(self) -> None:
        """End the server and the processes it started at once, as when its machine dies."""
        self._signal(signal.SIGKILL)
        assert self._server is not None
        self._server.wait()

    def end(self) -> None:
        """End the server in good order; its directory stays."""
        assert self._server is not None
        self._server.send_signal(self._stop_signal)
        self._server.wait(STOP_SECONDS)

    def begin_again(self) -> None:
        """Start the server again that was killed or ended."""
        self.serve(*self._command, stop_signal=self._stop_signal)

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Have the server do nothing meanwhile, as when its machine stands still."""
        self._signal(signal.SIGSTOP)
        yield
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        """Send a signal to the server and the processes it started."""
        assert self._server is not None
        pid = self._server.pid
        os.kill(pid, number)  # first, so that it starts no further one meanwhile
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(child), number)

    @property
    def is_running(self) -> bool:
        """Whether the server has neither failed nor been stopped."""
        return self._server is not None and self._server.poll() is None

    @property
    def output(self) -> str:
        """The last that the programs printed."""
        return self._output.read_text(errors="replace")[-4000:]

    def stop(self) -> None:
        """End the server, by force when it does not listen, and remove its directory."""
        if self._server is not None:
            self._server.send_signal(self._stop_signal)
            try:
                self._server.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _settings(self, output: Any) -> dict[str, Any]:
        return {
            "stdin": subprocess.DEVNULL,
            "stdout": output,
            "stderr": subprocess.STDOUT,
            "cwd": self.directory,
            # A terminal's Ctrl-C is for pytest, which then stops the server in good order.
            "start_new_session": True,
            **self._identity,
        }


def account_of(owners: tuple[str, ...]) -> Iterator[pwd.struct_passwd]:
    """Yield the accounts of this machine that have one of these names."""
    for name in owners:
        with suppress(KeyError):
            yield pwd.getpwnam(name)


def stopped_on_error(process: PrivateProcess) -> ExitStack:
    """Return a context that stops the process when its body raises."""
    stack = ExitStack()

    def stop(error: type[BaseException] | None, *_: object) -> None:
        if error is not None:
            process.stop()

    stack.push(stop)
    return stack


def find_programs(*names: str, folders: tuple[str, ...] = ()) -> list[str] | None:
    """Return the paths of these programs, or None unless all are installed."""
    usual = (os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin")
    search = os.pathsep.join((*folders, *usual))
    paths = [shutil.which(name, path=search) for name in names]
    return None if None in paths else [str(path) for path in paths]


def free_port() -> int:
    """Return a loopback port without a listener."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def signing_command(certificate: Path) -> tuple[str, ...]:
    """Return the words that make a self-signed certificate, and its key beside it."""
    return (
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
        *("-subj", "/CN=agents", "-addext", "subjectAltName=IP:127.0.0.1"),
        *("-keyout", str(certificate.with_suffix(".key")), "-out", str(certificate)),
    )


def make_certificate(process: PrivateProcess, data: Path) -> Path:
    """Create a certificate for a server beside its data; return a copy for the clients."""
    certificate = data / "server.crt"
    process.run(*signing_command(certificate))
    copy = process.directory / "ca.crt"
    shutil.copyfile(certificate, copy)
    process.directory.chmod(0o755)
    return copy
