"""Queries of the list primitives, and the search through lists and values by their fields."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from operator import itemgetter
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Select, insert, literal, select, type_coerce, union_all
from sqlalchemy.sql import CompoundSelect, bindparam
from sqlalchemy.types import Text

from slack_agents_sqlalchemy.dialects import DialectAdapter
from slack_agents_sqlalchemy.identifiers import digest
from slack_agents_sqlalchemy.models import KeyValue, ListItem
from slack_agents_sqlalchemy.queries import arguments
from slack_agents_sqlalchemy.types import exact

_PATTERN_LENGTH = 500
_MAX_PATTERNS = 4  # narrow enough, and few statements to keep

type Rows = Sequence[Sequence[Any]]
type Parameters = dict[str, Any]

APPEND = insert(ListItem)
GET = (
    select(ListItem.id, ListItem.value)
    .where(
        ListItem.namespace_digest == bindparam("namespace_digest"),
        ListItem.key_digest == bindparam("key_digest"),
    )
    .order_by(ListItem.id)
)


def to_items(rows: Rows) -> list[dict[str, Any]]:
    """Return the items of rows of ``GET``, each with its id."""
    return [{**value, "id": str(item_id)} for item_id, value in rows]


def search(
    adapter: DialectAdapter, namespace: str, filters: Mapping[str, Any]
) -> tuple[CompoundSelect[Any], Parameters]:
    """Return the statement that selects what may match ``filters``, and its parameters.

    The rows contain every match, and maybe others: SQL narrows, and :func:`to_matches` decides.
    """
    exact.write_object("filters", filters)  # refuses a filter that JSON cannot hold
    parameters: Parameters = {"namespace_digest": digest(namespace=namespace)}
    if "id" in filters:  # an item's id is not in its stored value
        parameters["item_id"] = _item_id(filters["id"])
    pairs = [_as_stored(name, wanted) for name, wanted in filters.items() if name != "id"]
    patterns = [pair for pair in pairs if pair is not None][:_MAX_PATTERNS]
    parameters |= {f"pair_{number}": pair for number, pair in enumerate(patterns)}
    return _search(adapter, len(patterns), by_id="id" in filters), parameters


@cache
def _search(adapter: DialectAdapter, patterns: int, *, by_id: bool) -> CompoundSelect[Any]:
    items: Select[*tuple[Any, ...]] = select(
        literal(0).label("is_value"), ListItem.id.label("id"), ListItem.value.label("value")
    ).where(ListItem.namespace_digest == bindparam("namespace_digest"))
    values: Select[*tuple[Any, ...]] = select(literal(1), KeyValue.id, KeyValue.value).where(
        KeyValue.namespace_digest == bindparam("namespace_digest")
    )
    if by_id:
        items = items.where(ListItem.id == bindparam("item_id"))
    for number in range(patterns):
        items = items.where(_may_contain(adapter, ListItem.value, f"pair_{number}"))
        values = values.where(_may_contain(adapter, KeyValue.value, f"pair_{number}"))
    return union_all(items, values)


def _as_stored(name: str, wanted: object) -> str | None:
    """Return the field as it is written in stored JSON, or None where it has several forms.

    A text has one form only, also where the rest of the value needed another writer.

    The beginning is enough to narrow: patterns are limited, in SQLite to 50,000 bytes.
    """
    if not isinstance(wanted, str) or exact.has_mark(name + wanted):
        return None
    try:
        return orjson.dumps({name: wanted})[1:-1].decode()[:_PATTERN_LENGTH]
    except TypeError:  # surrogates
        return None


def _may_contain(adapter: DialectAdapter, column: Any, parameter: str) -> ColumnElement[bool]:
    return adapter.contains(type_coerce(column, Text), parameter)


def _item_id(wanted: object) -> int:
    if isinstance(wanted, str):
        with suppress(ValueError, LookupError):
            return arguments.identifier("item", wanted)
    return 0  # no item has it


def to_matches(rows: Rows, filters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what matches of the rows of :func:`search`: items, then values, each oldest first.

    A field matches when it is equal to the filter as JSON; None matches null and absent.
    """
    by_place = {(is_value, row_id): value for is_value, row_id, value in rows}
    found = []
    for (is_value, row_id), value in sorted(by_place.items(), key=itemgetter(0)):
        candidate = value if is_value else {**value, "id": str(row_id)}
        if all(exact.json_equal(candidate.get(name), wanted) for name, wanted in filters.items()):
            found.append(candidate)
    return found
