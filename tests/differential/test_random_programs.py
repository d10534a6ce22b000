"""Random programs of calls end alike on this package's provider and on the framework's code."""

import inspect
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from slack_agents.storage.base import BaseStorageProvider

from benchmarks.implementations import PrimitivesOnly
from slack_agents_sqlalchemy import Provider
from tests.differential.differences import BuiltInPostgreSQL, Defaults, comparable
from tests.differential.programs import (
    ANY_TEXT,
    COMMON_TEXT,
    Program,
    conversation_calls,
    oauth_calls,
    plugin_calls,
    programs,
)
from tests.differential.views import seen_after

# A program that fails is made small first, which takes minutes: it must not end in a time-out.
pytestmark = pytest.mark.timeout(900)

few = settings(
    max_examples=40,
    deadline=None,
    phases=[phase for phase in Phase if phase is not Phase.explain],
    derandomize=os.environ.get("CI") == "true",
    # One database serves all programs of a test: each uses names of its own.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@few
@given(program=programs(conversation_calls(COMMON_TEXT), oauth_calls(), plugin_calls()))
async def test_an_agent_and_an_operator_see_what_the_built_in_postgresql_provider_shows(
    program: Program, storage: Provider, built_in: BuiltInPostgreSQL, tmp_path: Path
) -> None:
    ours, theirs = await seen_after(program, storage, built_in, folder=tmp_path)

    assert comparable(ours) == comparable(theirs)


@few
@given(program=programs(conversation_calls(ANY_TEXT)))
async def test_the_overrides_answer_as_the_base_class_does_on_the_same_primitives(
    program: Program, storage: Provider, defaults: Defaults, tmp_path: Path
) -> None:
    ours, theirs = await seen_after(program, storage, defaults, folder=tmp_path)

    assert comparable(ours) == comparable(theirs)


def test_primitives_only_has_every_domain_method_of_the_base_class() -> None:
    defaults = {
        name: member
        for name, member in vars(BaseStorageProvider).items()
        if not name.startswith("_") and not getattr(member, "__isabstractmethod__", False)
    }
    for name in ("initialize", "close"):
        del defaults[name]

    assert {name: inspect.getattr_static(PrimitivesOnly, name) for name in defaults} == defaults
