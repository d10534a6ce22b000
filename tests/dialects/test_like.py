"""The portable condition of `query` on an unknown dialect: LIKE."""

from __future__ import annotations

import pytest
from sqlalchemy import Text, column
from sqlalchemy.dialects import mssql, mysql, oracle, postgresql, sqlite
from sqlalchemy.engine import Dialect

from slack_agents_sqlalchemy import Provider
from slack_agents_sqlalchemy.dialects import DialectAdapter
from slack_agents_sqlalchemy.dialects.like import LikePattern
from tests.conftest import NewProvider
from tests.dialects.test_unknown_dialects import plain
from tests.support.unknown_dialects import register

SPECIAL = ["%", "_", "[a]", "[^a]", "[", "]", "\\", "\\%", "/", "/_", "*", "?", "#", "{", "'", "!"]


@pytest.mark.parametrize(
    "dialect",
    [mssql.dialect(), oracle.dialect(), postgresql.dialect(), mysql.dialect(), sqlite.dialect()],
    ids=lambda dialect: dialect.name,
)
@pytest.mark.parametrize("text", SPECIAL)
def test_a_pattern_contains_only_the_wildcards_of_any_character(dialect: Dialect, text: str):
    compiled = DialectAdapter().contains(column("value", Text), "text").compile(dialect=dialect)
    assert "LIKE" in str(compiled)
    assert "ESCAPE" not in str(compiled)
    write = LikePattern().dialect_impl(dialect).bind_processor(dialect)
    assert write is not None
    pattern = write(f"a{text}b")
    assert pattern[:2] + pattern[-2:] == "%ab%"
    within = pattern[2:-2]
    assert len(within) == len(text)
    assert not set(within) & set("%[\\")


def test_of_a_character_class_each_special_character_becomes_any_character():
    assert LikePattern().process_bind_param("x[abc]_100%\\", sqlite.dialect()) == "%x_abc]_100__%"


@pytest.mark.durable
async def test_query_finds_every_text_on_a_dialect_that_is_not_known(
    fresh_url: str, new_provider: NewProvider
):
    register()
    storage: Provider = await new_provider(url=plain(fresh_url))
    for number, text in enumerate(SPECIAL):
        await storage.append("plugin", "list", {"text": f"a{text}b", "number": number})
        await storage.set("plugin", f"key {number}", {"text": f"a{text}b"})
    for number, text in enumerate(SPECIAL):
        item, value = await storage.query("plugin", {"text": f"a{text}b"})
        assert (item["number"], value) == (number, {"text": f"a{text}b"})
