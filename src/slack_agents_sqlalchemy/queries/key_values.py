"""Queries of the key-value primitives."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.sql import bindparam

from slack_agents_sqlalchemy.dialects import DialectAdapter, Upsert
from slack_agents_sqlalchemy.identifiers import digest
from slack_agents_sqlalchemy.models import KeyValue
from slack_agents_sqlalchemy.types import exact

type Parameters = dict[str, Any]

_IS_WANTED = (
    KeyValue.namespace_digest == bindparam("namespace_digest"),
    KeyValue.key_digest == bindparam("key_digest"),
)
GET = select(KeyValue.id, KeyValue.value).where(*_IS_WANTED)
DELETE = delete(KeyValue).where(*_IS_WANTED)


def address(namespace: str, key: str) -> Parameters:
    """Return the parameters that select the value or the list under a namespace and key."""
    return {
        "namespace_digest": digest(namespace=namespace),
        "key_digest": digest(key=key),
    }


def to_value(rows: Sequence[Sequence[Any]]) -> dict[str, Any] | None:
    """Return the value of a row of ``GET``, or None."""
    if not rows:
        return None
    value: dict[str, Any]
    [(_, value)] = rows
    return value


@cache
def upsert(adapter: DialectAdapter) -> Upsert:
    """Return the operation that stores a value."""
    return adapter.upsert(KeyValue.__table__, ("value",))


def entry(namespace: str, key: str, value: dict[str, Any]) -> Parameters:
    """Return the row of a value or of a list item, without its id."""
    return {
        "namespace_digest": digest(namespace=namespace),
        "key_digest": digest(key=key),
        "namespace": namespace,
        "key": key,
        "value": exact.write_object("value", value),
    }
