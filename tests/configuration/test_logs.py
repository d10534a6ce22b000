"""What a process writes to its logs: no value of a call, and nothing at its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.support.sql import with_driver

DRIVERS = [
    ("postgresql", "asyncpg"),
    ("postgresql", "psycopg"),
    ("postgresql", "psycopg2"),
    ("mariadb", "aiomysql"),
    ("mariadb", "asyncmy"),
    ("mariadb", "pymysql"),
    ("mysql", "aiomysql"),
    ("sqlite-file", "pysqlite"),
    ("sqlite-file", "aiosqlite"),
]

drivers = pytest.mark.parametrize(("backend", "driver"), DRIVERS, indirect=["backend"])


EVERY_STEP_IS_SLOW = """
import asyncio, logging, sys
from slack_agents_sqlalchemy import Provider

logging.basicConfig(level=logging.DEBUG)

async def main(url):
    asyncio.get_running_loop().slow_callback_duration = 0.0
    storage = Provider(url=url)
    await storage.initialize()
    await storage.set("namespace", "key", {"token": "not-to-be-seen"})
    await storage.append("namespace", "key", {"token": "not-to-be-seen"})
    assert await storage.get("namespace", "key")
    assert await storage.get_list("namespace", "key")
    assert await storage.query("namespace", {})
    await storage.close()

asyncio.run(main(sys.argv[1]), debug=True)
"""


@drivers
def test_the_debug_mode_of_asyncio_logs_no_value(fresh_url: str, driver: str):
    done = subprocess.run(
        [sys.executable, "-c", EVERY_STEP_IS_SLOW, with_driver(fresh_url, driver)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "asyncio:Executing" in done.stderr  # it has logged each step
    assert "not-to-be-seen" not in done.stdout + done.stderr


NEVER_CLOSED = """
import asyncio, logging, sys
from slack_agents_sqlalchemy import Provider

logging.basicConfig(level=logging.WARNING)
storage = Provider(url=sys.argv[1])

async def main():
    await storage.initialize()
    await asyncio.gather(*(storage.set("namespace", str(n), {"n": n}) for n in range(9)))
    print("ready", flush=True)
    await asyncio.Event().wait() if sys.argv[2] == "interrupted" else None

try:
    asyncio.run(main())
except KeyboardInterrupt:
    sys.exit(3)
"""


@drivers
@pytest.mark.parametrize("end", ["by itself", "interrupted"])
def test_a_process_that_never_closes_its_storage_ends_without_output(
    database_url: str, driver: str, end: str
):
    with subprocess.Popen(
        [
            sys.executable,
            "-W",
            "default",
            "-c",
            NEVER_CLOSED,
            with_driver(database_url, driver),
            end,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        if end == "interrupted":
            os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (3 if end == "interrupted" else 0, "")
