"""One call, one round trip: counted between the provider and the server."""

from __future__ import annotations

from typing import Any

import pytest

from slack_agents_sqlalchemy import Provider
from tests.support.calls import single_statement_calls
from tests.support.relay import Relay
from tests.support.sql import both_paths, run, watch_engine


@pytest.mark.parametrize("backend", ["postgresql", "mariadb", "mysql"], indirect=True)
@both_paths
async def test_a_call_of_one_statement_asks_the_server_once(
    relayed: Provider, relay: Relay, watch: bool
):
    if watch:
        watch_engine(relayed)
    calls = await single_statement_calls(relayed)
    for call in calls.values():
        await call()  # drivers prepare a statement when it is new to the connection

    asked = {}
    for name, call in calls.items():
        before = relay.requests
        await call()
        asked[name] = relay.requests - before

    assert asked == dict.fromkeys(calls, 1)


@pytest.mark.parametrize("backend", ["postgresql", "mariadb", "mysql"], indirect=True)
async def test_a_call_of_two_statements_is_seen_to_ask_twice(relayed: Provider, relay: Relay):
    def ask_twice(connection: Any) -> None:
        for _ in range(2):
            connection.exec_driver_sql("SELECT 1")

    await run(relayed, ask_twice)
    before = relay.requests
    await run(relayed, ask_twice)

    assert relay.requests == before + 2
