"""SeekDB, an embedded OceanBase: a MySQL server without the character set ascii."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection

from slack_agents_sqlalchemy import Provider
from tests.support.sql import run


@pytest.fixture
def seekdb_url(tmp_path: Path) -> Iterator[str]:
    pylibseekdb = pytest.importorskip("pylibseekdb")
    instance = pylibseekdb.open(str(tmp_path / "seekdb"))
    socket = instance.connection_options()["unix_socket"]
    yield f"mysql://root@localhost/test?unix_socket={socket}"
    instance.close()


# SQLAlchemy does not know what it says of its indexes.
@pytest.mark.filterwarnings("ignore:Unknown schema content:sqlalchemy.exc.SAWarning")
async def test_without_the_character_set_ascii_keys_are_created_in_utf8mb4(seekdb_url: str):
    def table(connection: Connection) -> str:
        shown = connection.exec_driver_sql("SHOW CREATE TABLE slack_agents_conversations")
        return str(shown.one()[1])

    storage = Provider(url=seekdb_url)
    await storage.initialize()
    assert "`thread_digest` varchar(40) COLLATE utf8mb4_bin" in await run(storage, table)
    first = await storage.get_or_create_conversation("agent", "C1", "1.0")
    assert await storage.get_or_create_conversation("agent", "C1", "1.0") == first
    await storage.set("plugin", "key", {"a": 1})
    await storage.set("plugin", "KEY", {"a": 2})
    assert await storage.query("plugin", {}) == [{"a": 1}, {"a": 2}]
    await storage.close()
