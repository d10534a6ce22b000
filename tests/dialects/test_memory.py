"""SQLite in memory: a database for each provider, which ends with it."""

from __future__ import annotations

import pytest

from slack_agents_sqlalchemy import Provider
from tests.conftest import NewProvider


async def test_only_a_storage_in_memory_does_not_support_export(storage: Provider, backend: str):
    assert storage.supports_export is (backend != "sqlite-memory")


@pytest.mark.parametrize("backend", ["sqlite-memory"], indirect=True)
async def test_databases_in_memory_are_separate_and_end_with_their_provider(
    new_provider: NewProvider,
):
    one, two = await new_provider(), await new_provider()
    await one.set("plugin", "key", {"a": 1})
    assert await one.query("plugin", {}) == [{"a": 1}]
    assert await two.query("plugin", {}) == []
    await one.close()
    restarted = await new_provider()
    assert await restarted.query("plugin", {}) == []
