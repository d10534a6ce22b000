"""Writes to an SQLite file that wait together share one transaction, each with its own result."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from typing import Any

import pytest

from slack_agents_sqlalchemy import DatabaseFullError, NotFoundError, Provider
from tests.conftest import NewProvider
from tests.faults.test_sqlite import held_by_another_process, limit_pages, path_of

pytestmark = pytest.mark.parametrize("backend", ["sqlite-file"], indirect=True)

WRITES = 40


def connection_of(storage: Provider) -> sqlite3.Connection:
    """Return the one connection to the file."""
    pooled = storage.engine.raw_connection()
    file = pooled.driver_connection
    assert isinstance(file, sqlite3.Connection)
    pooled.close()
    return file


async def observed(storage: Provider) -> list[str]:
    """Make the first insertion, and return the statements that the file is asked from now on."""
    await storage.append("other", "key", {})
    statements: list[str] = []
    connection_of(storage).set_trace_callback(statements.append)
    return statements


async def test_writes_that_wait_together_share_a_transaction(
    database_url: str, new_provider: NewProvider
):
    storage = await new_provider()
    statements = await observed(storage)
    with held_by_another_process(path_of(database_url)) as release:
        writing = [
            asyncio.create_task(storage.append("namespace", "key", {"n": n})) for n in range(WRITES)
        ]
        done, _ = await asyncio.wait(writing, timeout=0.3)
        assert not done
        statements.clear()
        release()
        await asyncio.gather(*writing)
    assert 0 < statements.count("COMMIT") < WRITES / 2
    stored = await storage.get_list("namespace", "key")
    assert [item["n"] for item in stored] == list(range(WRITES))


async def test_a_write_alone_needs_no_transaction(new_provider: NewProvider):
    storage = await new_provider()
    statements = await observed(storage)
    await storage.set("namespace", "key", {"n": 1})
    assert [statement.split()[0] for statement in statements] == ["INSERT"]


async def test_a_write_that_fails_does_not_fail_the_others_of_its_transaction(
    new_provider: NewProvider,
):
    storage = await new_provider()
    conversation = await storage.get_or_create_conversation("agent", "C1", "1.0", "general")
    message = await storage.create_message(conversation, "U1", "Ada", "ada")
    missing = message + 1
    results = await asyncio.gather(
        *(
            storage.append_text_block(missing if n % 3 == 0 else message, str(n))
            for n in range(WRITES)
        ),
        return_exceptions=True,
    )
    failed = [n for n, result in enumerate(results) if isinstance(result, NotFoundError)]
    assert failed == list(range(0, WRITES, 3))
    assert [result for result in results if result is not None] == [results[n] for n in failed]
    [(_, blocks)] = await storage.get_message_blocks(conversation)
    texts = [block["content"]["text"] for block in blocks]
    assert sorted(texts, key=int) == [str(n) for n in range(WRITES) if n % 3]


async def test_a_full_disk_refuses_only_the_writes_that_do_not_fit(
    database_url: str, new_provider: NewProvider
):
    storage = await new_provider()
    other = await new_provider()
    await storage.append("namespace", "key", {"n": -1})
    for _ in range(3):
        # Room for the small ones; a large one rolls the whole transaction back.
        pages = (path_of(database_url).stat().st_size // 4096) + 60
        await limit_pages(storage, pages)
        before = len(await other.get_list("namespace", "key"))
        results = await asyncio.gather(
            *(
                storage.append("namespace", "key", {"n": n, "text": "x" * (n % 7 == 3) * 1_000_000})
                for n in range(WRITES)
            ),
            return_exceptions=True,
        )
        for n, result in enumerate(results):
            assert isinstance(result, DatabaseFullError if n % 7 == 3 else str), (n, result)
        stored = {item["id"] for item in (await other.get_list("namespace", "key"))[before:]}
        assert stored == {result for result in results if isinstance(result, str)}


async def test_writes_that_were_cancelled_are_not_stored_after_later_ones(
    new_provider: NewProvider,
):
    storage, other = await new_provider(), await new_provider()
    for number in range(20):
        writing = [
            asyncio.create_task(storage.set("namespace", "key", {"given up": n}))
            for n in range(WRITES)
        ]
        await asyncio.sleep(0)
        for task in writing[::2]:
            task.cancel()
        await asyncio.gather(*writing, return_exceptions=True)
        await storage.set("namespace", "key", {"n": number})
        assert await other.get("namespace", "key") == {"n": number}


async def test_a_connection_that_is_in_use_elsewhere_is_not_put_into_a_transaction(
    database_url: str, new_provider: NewProvider
):
    storage = await new_provider()
    statements = await observed(storage)
    with storage.engine.begin(), held_by_another_process(path_of(database_url)) as release:
        writing = [
            asyncio.create_task(storage.append("namespace", "key", {"n": n})) for n in range(WRITES)
        ]
        await asyncio.wait(writing, timeout=0.3)
        release()
        await asyncio.gather(*writing)
    assert "BEGIN IMMEDIATE" not in statements
    assert len(await storage.get_list("namespace", "key")) == WRITES


async def test_statements_of_others_do_not_end_a_transaction(new_provider: NewProvider):
    storage = await new_provider()
    await storage.append("other", "key", {})
    file = connection_of(storage)
    others: list[threading.Thread] = []

    def use_engine() -> None:
        with storage.engine.begin() as connection:
            connection.exec_driver_sql("SELECT 1")

    def start_another_within_a_transaction(_statement: str) -> None:
        if file.in_transaction and not others:
            others.append(threading.Thread(target=use_engine))
            others[0].start()
            others[0].join(0.3)  # it waits for the transaction

    file.set_trace_callback(start_another_within_a_transaction)
    while not others:
        before = len(await storage.get_list("namespace", "key"))
        await asyncio.gather(*(storage.append("namespace", "key", {}) for _ in range(WRITES)))
    others[0].join()
    assert len(await storage.get_list("namespace", "key")) == before + WRITES


class Unreliable(sqlite3.Connection):
    """A connection on which these statements fail."""

    failing: tuple[str, ...] = ()
    closes = False

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        if sql in self.failing:
            if self.closes:
                self.close()
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(sql, *arguments)


async def unreliable(new_provider: NewProvider) -> tuple[Provider, Unreliable]:
    storage = await new_provider(connect_args={"factory": Unreliable})
    await storage.append("other", "key", {})
    file = connection_of(storage)
    assert isinstance(file, Unreliable)
    return storage, file


async def test_writes_whose_commit_fails_are_retried_separately(new_provider: NewProvider):
    storage, file = await unreliable(new_provider)
    file.failing = ("COMMIT",)
    ids = await asyncio.gather(
        *(storage.append("namespace", "key", {"n": n}) for n in range(WRITES))
    )
    other = await new_provider()
    assert [item["id"] for item in await other.get_list("namespace", "key")] == ids


@pytest.mark.parametrize("closes", [False, True], ids=["open", "closed"])
async def test_writes_whose_transaction_cannot_be_ended_are_stored_by_another_connection(
    new_provider: NewProvider, closes: bool
):
    storage, file = await unreliable(new_provider)
    file.failing, file.closes = ("COMMIT", "ROLLBACK"), closes
    results = await asyncio.gather(
        *(storage.append("namespace", "key", {"n": n}) for n in range(WRITES)),
        return_exceptions=True,
    )
    acknowledged = sum(isinstance(result, str) for result in results)
    assert acknowledged == WRITES  # the connection was replaced, and each write was run again
    await storage.close()
    await storage.initialize()
    assert len(await storage.get_list("namespace", "key")) == acknowledged
    await storage.set("namespace", "key", {"n": 1})
    assert await storage.get("namespace", "key") == {"n": 1}
