"""The ratios to reach, compared with the results."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OURS, DEFAULTS = "this provider", "primitives only"
DATABASES = ("postgresql", "mariadb", "sqlite")

type Result = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """A ratio to reach: of this provider's time to the first implementation's.

    Args:
        what: It is called.
        suite: Whose result is compared.
        limits: The largest ratio, by database.
        cases: Names of cases, or prefixes that end with a comma; by default all.
    """

    what: str
    suite: str
    limits: dict[str, float]
    cases: Sequence[str] = ()

    def reached(self, result: Result) -> dict[str, float]:
        """Return the ratio of each case."""
        return {
            one["case"]: one["implementations"][OURS]["median_ratio_to_first"]
            for one in result["comparisons"]
            if not self.cases or any(_is(one["case"], case) for case in self.cases)
        }


class Ahead(Target):
    """How much of the time of the defaults this provider takes, the results being the inverse."""

    def reached(self, result: Result) -> dict[str, float]:
        """Return the ratio of each case."""
        return {
            one["case"]: 1 / one["implementations"][DEFAULTS]["median_ratio_to_first"]
            for one in result["comparisons"]
        }


class Growth(Target):
    """How a call's time grows from the smallest database to the largest."""

    def reached(self, result: Result) -> dict[str, float]:
        """Return the growth of each call."""
        largest = max(one["at"] for one in result["comparisons"])
        return {
            one["case"]: one["implementations"][OURS]["growth"]
            for one in result["comparisons"]
            if one["at"] == largest
        }


def _is(case: str, wanted: str) -> bool:
    return case.startswith(wanted) if wanted.endswith(",") else case == wanted


def _built_in(what: str, postgresql: float, sqlite: float, *cases: str) -> Target:
    limits = {"postgresql": postgresql, "sqlite": sqlite}
    return Target(what, "built_in", limits, cases or (what,))


def _raw_driver(what: str, postgresql: float, mariadb: float, *cases: str) -> Target:
    limits = {"postgresql": postgresql, "mariadb": mariadb}
    return Target(f"{what}, to the bare driver", "raw_driver", limits, cases or (what,))


_READS = ("get", "has_conversation", "get_tool_call,", "get_oauth_token", "get_heartbeat")
_WRITES = (
    "set",
    "append",
    "create_message",
    "append_text_block",
    "append_tool_block",
    "append_usage_block",
    "upsert_heartbeat",
    "put_oauth_token",
)
TARGETS = [
    _built_in("point reads", 0.70, 0.60, *_READS),
    _built_in("writes", 0.90, 0.35, *_WRITES),
    _built_in("append_file_block, 100 KB", 0.45, 0.30),
    _built_in("get_or_create_conversation, existing", 0.40, 0.50),
    _built_in("get_message_blocks, 10 blocks", 0.65, 0.35),
    _built_in("get_message_blocks, 100 blocks", 0.60, 0.35),
    _built_in("get_message_blocks, 1,000 blocks", 0.55, 0.35),
    _built_in("get_messages_with_blocks, 10 blocks", 0.45, 0.45),
    _built_in("get_messages_with_blocks, 100 blocks", 0.55, 0.45),
    _built_in("get_messages_with_blocks, 1,000 blocks", 0.75, 0.45),
    _built_in("query, one of 10,000", 0.50, 0.30),
    _built_in("exports", 0.80, 1.0, "get_conversations_for_export,"),
    _built_in("agent turn", 0.80, 0.30),
    _built_in("agent turn, 20 at once", 0.70, 0.35),
    _built_in("full export of 1,000 conversations", 0.40, 0.45),
    _built_in("initialize, existing schema", 1.6, 2.5),
    *(
        Target(case, "cold_start", {"postgresql": limit, "sqlite": limit}, (case,))
        for case, limit in (
            ("slack-agents healthcheck, a process", 1.7),
            ("peak memory of import", 1.9),
        )
    ),
    _raw_driver("point reads", 1.25, 1.20, *_READS),
    _raw_driver("writes", 1.15, 1.15, *_WRITES),
    _raw_driver("get_message_blocks, 10 blocks", 1.25, 1.15),
    _raw_driver("get_message_blocks, 100 blocks", 1.35, 1.15),
    _raw_driver("get_message_blocks, 1,000 blocks", 1.40, 1.15),
    _raw_driver("get_messages_with_blocks, 10 blocks", 1.30, 1.20),
    _raw_driver("get_messages_with_blocks, 100 blocks", 1.40, 1.20),
    _raw_driver("get_messages_with_blocks, 1,000 blocks", 1.50, 1.20),
    _raw_driver("exports", 1.50, 1.20, "get_conversations_for_export,"),
    Ahead("each call beside the primitives alone", "overrides", {"mariadb": 1.0}),
    Growth("growth to 1,000,000 blocks, each call", "growth", dict.fromkeys(DATABASES, 1.5)),
]


def rows(folder: Path) -> Iterator[tuple[str, ...]]:
    """Return what, the database, the limit, what was reached, and the cases that missed it."""
    for target in TARGETS:
        for database, limit in target.limits.items():
            files = sorted(folder.glob(f"{target.suite}-{database}-*.json"))
            reached = target.reached(json.loads(files[0].read_text("utf-8"))) if files else {}
            if not reached:
                yield target.what, database, f"{limit:.2f}", "not measured", ""
                continue
            best, worst = min(reached.values()), max(reached.values())
            shown = f"{worst:.2f}" if len(reached) == 1 else f"{best:.2f} to {worst:.2f}"
            missed = (f"{case} {ratio:.2f}" for case, ratio in reached.items() if ratio > limit)
            yield target.what, database, f"{limit:.2f}", shown, "; ".join(missed)
