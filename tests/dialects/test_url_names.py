"""A URL's scheme may be MySQL's or MariaDB's for the same server."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize("backend", ["mariadb", "mysql"], indirect=True)
@pytest.mark.parametrize("scheme", ["mysql", "mariadb"])
async def test_the_scheme_may_be_that_of_mysql_or_mariadb(
    fresh_url: str, new_provider: Any, scheme: str
) -> None:
    _, _, rest = fresh_url.partition("://")
    storage = await new_provider(url=f"{scheme}://{rest}")
    await storage.set("plugin", "a ", {"a": 1})
    assert await storage.get("plugin", "a ") == {"a": 1}
    assert await storage.get("plugin", "a") is None
    other = {"mysql": "mariadb", "mariadb": "mysql"}[scheme]
    same_database = await new_provider(url=f"{other}://{rest}")
    assert await same_database.query("plugin", {}) == [{"a": 1}]
