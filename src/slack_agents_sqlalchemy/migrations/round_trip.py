"""What a database that nobody has looked at does with text, tried on new tables."""

import secrets
from typing import Any

from sqlalchemy import MetaData, Table, delete, insert, select
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import bindparam

from slack_agents_sqlalchemy.dialects import adapter_for, driver_error
from slack_agents_sqlalchemy.errors import UnsupportedDatabaseError
from slack_agents_sqlalchemy.identifiers import digest, next_id
from slack_agents_sqlalchemy.models import VERSION_TABLE, KeyValue, metadata

_SAMPLES = {
    "letters with accents": "é ß ł",
    "letters of all scripts": "你好 مرحبا",
    "emoji": "🙂",
    "an empty text": "",
    "spaces at an end": "  text  ",
    "line ends": "one\r\ntwo\nthree\r",
    "texts of 100,000 signs": "text " * 20_000,
}

_IS_OURS = KeyValue.namespace_digest == bindparam("the_namespace")
_READ = select(KeyValue.id, KeyValue.namespace, KeyValue.value).where(_IS_OURS)
_DELETE = delete(KeyValue).where(_IS_OURS)


def require_exact_text(connection: Connection) -> None:
    """Write, read and delete a row of each kind of text.

    Raises:
        UnsupportedDatabaseError: One did not come back as it went in. The tables are gone again.
    """
    refused = {
        kind: reason
        for kind, sample in _SAMPLES.items()
        if (reason := _refusal(connection, sample)) is not None
    }
    if not refused:
        return
    _drop_tables(connection)
    lacks = "; ".join(f"{kind} ({reason})" for kind, reason in refused.items())
    raise UnsupportedDatabaseError(
        f"the database does not keep text as it is: {lacks}. "
        "Use one whose character set is a Unicode one, as UTF-8. Its tables were removed again"
    )


def _refusal(connection: Connection, sample: str) -> str | None:
    """Return why a text is not kept, or None where it is."""
    ours = digest(
        kind="proof", token=secrets.token_hex()
    )  # other processes may try at the same moment
    row_id = next_id()
    row = {
        "namespace_digest": ours,
        "key_digest": ours,
        "id": row_id,
        "namespace": sample,
        "key": sample,
        "value": {sample: sample},
    }

    def keep(connection: Connection) -> tuple[Any, ...]:
        connection.execute(insert(KeyValue), row)
        found = connection.execute(_READ, {"the_namespace": ours}).one()
        connection.execute(_DELETE, {"the_namespace": ours})
        return tuple(found)

    try:
        found = adapter_for(connection.dialect.name).transact(connection, keep)
    except DBAPIError as exc:
        if connection.invalidated:
            raise
        connection.rollback()
        return type(driver_error(exc)).__name__
    return None if found == (row_id, sample, {sample: sample}) else "changed"


def _drop_tables(connection: Connection) -> None:
    version = Table(VERSION_TABLE, MetaData())
    for table in (version, *reversed(metadata.sorted_tables)):
        table.drop(connection, checkfirst=True)
    connection.commit()
