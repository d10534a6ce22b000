"""Digests of keys: stored in every database, so they must never change."""

from __future__ import annotations

from typing import Any, cast

import pytest

from slack_agents_sqlalchemy import InvalidTypeError
from slack_agents_sqlalchemy.identifiers import digest


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({"namespace": ""}, "379f02089b971a733fce80d3191d10025d114e0d"),
        ({"namespace": "a2a"}, "6b1dad95ee37891806f55e2d152ec2536cd3bc15"),
        ({"key": "a2a"}, "6b1dad95ee37891806f55e2d152ec2536cd3bc15"),
        ({"user_id": "U1", "server_id": "é\0\ud800"}, "5ba7b5a47049331dcfa6f7e7b76c1c5fd5227ef2"),
    ],
)
def test_a_digest_is_what_it_was_in_the_first_release(texts: dict[str, str], expected: str):
    assert digest(**texts) == expected


def test_the_order_and_the_number_of_the_parts_count():
    assert len({digest(a="1", b="2"), digest(a="2", b="1"), digest(a="12"), digest(a="1")}) == 4


def test_a_part_that_is_no_text_is_an_error_that_names_it():
    with pytest.raises(InvalidTypeError, match=r"^key must be a str, not int$"):
        digest(namespace="a", key=cast("Any", 1))
