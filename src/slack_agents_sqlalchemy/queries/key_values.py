"""Statements of the key-value and list primitives."""

from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import Any

import orjson
from sqlalchemy import (
    ColumnElement,
    Select,
    delete,
    insert,
    literal,
    select,
    type_coerce,
    union_all,
)
from sqlalchemy.sql import CompoundSelect, bindparam
from sqlalchemy.types import Text

from slack_agents_sqlalchemy.dialects import DialectAdapter, Upsert
from slack_agents_sqlalchemy.identifiers import digest
from slack_agents_sqlalchemy.models import KeyValue, ListItem
from slack_agents_sqlalchemy.queries import arguments
from slack_agents_sqlalchemy.types import exact

key_values, list_items = KeyValue.__table__, ListItem.__table__

_PATTERN_LENGTH = 500
_MOST_PAIRS = 4  # narrow enough, and few statements to keep

type Parameters = dict[str, Any]

GET = select(key_values.c.value, key_values.c.id).where(
    key_values.c.namespace_digest == bindparam("namespace_digest"),
    key_values.c.key_digest == bindparam("key_digest"),
)
DELETE = delete(key_values).where(
    key_values.c.namespace_digest == bindparam("namespace_digest"),
    key_values.c.key_digest == bindparam("key_digest"),
)
APPEND = insert(list_items)
GET_LIST = (
    select(list_items.c.id, list_items.c.value)
    .where(
        list_items.c.namespace_digest == bindparam("namespace_digest"),
        list_items.c.key_digest == bindparam("key_digest"),
    )
    .order_by(list_items.c.id)
)


@cache
def set_value(adapter: DialectAdapter) -> Upsert:
    """Build the operation that stores a value."""
    return adapter.upsert(key_values, ("value",))


def address(namespace: str, key: str) -> Parameters:
    """Find a value or a list by its namespace and key."""
    return {
        "namespace_digest": digest(arguments.text("namespace", namespace)),
        "key_digest": digest(arguments.text("key", key)),
    }


def entry(namespace: str, key: str, value: dict[str, Any]) -> Parameters:
    """Make the row of a list item or of a value, but for its id."""
    return {
        **address(namespace, key),
        "namespace": namespace,
        "key": key,
        "value": arguments.json_object("value", value),
    }


def query(
    adapter: DialectAdapter, namespace: str, filters: Mapping[str, Any]
) -> tuple[CompoundSelect[Any], Parameters]:
    """Build the statement that finds at least the values which match ``filters``.

    SQL narrows and Python decides: the rows hold every match, and maybe others.

    Returns:
        The statement, with columns ``is_value``, ``id`` and ``value``, and its parameters.
    """
    arguments.json_object("filters", filters)  # refuses a filter that JSON cannot hold
    parameters: Parameters = {"namespace_digest": digest(arguments.text("namespace", namespace))}
    if "id" in filters:  # an item's id is not in its stored value
        parameters["item_id"] = _item_id(filters["id"])
    pairs = [_as_stored(name, wanted) for name, wanted in filters.items() if name != "id"]
    narrowing = [pair for pair in pairs if pair is not None][:_MOST_PAIRS]
    parameters |= {f"pair_{number}": pair for number, pair in enumerate(narrowing)}
    return _query(adapter, len(narrowing), by_id="id" in filters), parameters


@cache
def _query(adapter: DialectAdapter, pairs: int, *, by_id: bool) -> CompoundSelect[Any]:
    items: Select[Any] = select(
        literal(0).label("is_value"),
        list_items.c.id.label("id"),
        list_items.c.value.label("value"),
    ).where(list_items.c.namespace_digest == bindparam("namespace_digest"))
    values: Select[Any] = select(literal(1), key_values.c.id, key_values.c.value).where(
        key_values.c.namespace_digest == bindparam("namespace_digest")
    )
    if by_id:
        items = items.where(list_items.c.id == bindparam("item_id"))
    for number in range(pairs):
        items = items.where(_may_hold(adapter, list_items.c.value, f"pair_{number}"))
        values = values.where(_may_hold(adapter, key_values.c.value, f"pair_{number}"))
    return union_all(items, values)


def _as_stored(name: str, wanted: object) -> str | None:
    """Return how the field stands in stored JSON, or None where it can be written in many ways.

    A text is written in one way only, also where the rest of the value needed another writer.

    The beginning is enough to narrow: patterns are limited, in SQLite to 50,000 bytes.
    """
    if not isinstance(wanted, str) or exact.has_mark(name + wanted):
        return None
    try:
        return orjson.dumps({name: wanted})[1:-1].decode()[:_PATTERN_LENGTH]
    except TypeError:  # surrogates
        return None


def _may_hold(adapter: DialectAdapter, column: Any, parameter: str) -> ColumnElement[bool]:
    return adapter.contains(type_coerce(column, Text), parameter)


def _item_id(wanted: object) -> int:
    if isinstance(wanted, str):
        with suppress(ValueError, LookupError):
            return arguments.identifier("item", wanted)
    return 0  # no item has it
