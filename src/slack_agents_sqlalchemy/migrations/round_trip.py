"""Check whether a database returns texts as they were written, on the new tables of a schema."""

import secrets
from collections.abc import Iterator
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import bindparam

from slack_agents_sqlalchemy.dialects import adapter_for, driver_error
from slack_agents_sqlalchemy.identifiers import next_id
from slack_agents_sqlalchemy.models import KeyValue

_SAMPLES = {
    "letters with accents": "é ß ł",
    "letters of all scripts": "你好 مرحبا",
    "emoji": "🙂",
    "an empty text": "",
    "spaces at the start and the end": "  text  ",
    "line ends": "one\r\ntwo\nthree\r",
    "texts of 100,000 characters": "text " * 20_000,
}

_HAS_NAMESPACE = KeyValue.namespace_digest == bindparam("the_namespace")
_READ = select(KeyValue.id, KeyValue.namespace, KeyValue.value).where(_HAS_NAMESPACE)
_DELETE = delete(KeyValue).where(_HAS_NAMESPACE)


def changed_texts(connection: Connection) -> Iterator[str]:
    """Yield the kinds of text that the database changes or refuses, each with the reason.

    A row of each kind is written, read and deleted.
    """
    for kind, sample in _SAMPLES.items():
        try:
            is_changed = _is_changed(connection, sample)
        except DBAPIError as exc:
            if connection.invalidated:
                raise
            connection.rollback()
            yield f"{kind} ({type(driver_error(exc)).__name__})"
        else:
            if is_changed:
                yield f"{kind} (changed)"


def _is_changed(connection: Connection, sample: str) -> bool:
    """Write, read and delete a text, and return whether another one was read."""
    namespace = secrets.token_hex(20)  # other processes may check at the same time
    row_id = next_id()
    row = {
        "namespace_digest": namespace,
        "key_digest": namespace,
        "id": row_id,
        "namespace": sample,
        "key": sample,
        "value": {sample: sample},
    }

    def write_and_read(connection: Connection) -> tuple[Any, ...]:
        connection.execute(insert(KeyValue), row)
        found = connection.execute(_READ, {"the_namespace": namespace}).one()
        connection.execute(_DELETE, {"the_namespace": namespace})
        return tuple(found)

    found = adapter_for(connection.dialect.name).run_in_transaction(connection, write_and_read)
    return found != (row_id, sample, {sample: sample})
