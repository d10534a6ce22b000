"""Schemas of PostgreSQL: the one of the tables, its creation and its name."""

import re

from sqlalchemy.engine import URL, Connection
from sqlalchemy.schema import CreateSchema

from slack_agents_sqlalchemy.errors import AccessRefusedError, ConfigurationError


def _current_schema(connection: Connection) -> str | None:
    schema: str | None = connection.exec_driver_sql("SELECT current_schema()").scalar()
    return schema


def lasting_schema(connection: Connection) -> str:
    """Return the schema of the tables; create the one that the option ``schema`` names."""
    schema = _current_schema(connection) or _create_schema(connection)
    if schema.startswith("pg_temp"):
        raise ConfigurationError(
            f"the search path of the connections to {connection.info['url']!r} begins with "
            "pg_temp, whose tables go with the connection: name another schema first"
        )
    return schema


def _create_schema(connection: Connection) -> str:
    """Create the schema that the option ``schema`` names, and return its name."""
    url: URL = connection.info["url"]
    schema: str | None = connection.info["schema"]
    if schema is None:
        raise ConfigurationError(
            f"the search path of the connections to {url!r} names no schema that exists and that "
            "this user may use: create one, or name one in the storage option 'schema'"
        )
    connection.execute(CreateSchema(schema, if_not_exists=True))
    found = _current_schema(connection)
    if found is None:
        raise AccessRefusedError(
            f"the connections to {url!r} do not get into the schema {schema!r}: grant the user "
            "USAGE and CREATE on it; or a pooler ignores the search path that they ask for"
        )
    if found != schema:
        raise not_in_schema(url, schema, found)
    return schema


def not_in_schema(url: URL, schema: str, found: str) -> ConfigurationError:
    """Return the error of connections that are not in the schema that they asked for."""
    return ConfigurationError(
        f"the storage option 'schema' is {schema!r}, and the connections to {url!r} are in the "
        f"schema {found!r}: the server, or a pooler before it, ignores the search path that a "
        "connection asks for. Leave 'schema' out, and set it for the user: "
        "ALTER ROLE ... SET search_path"
    )


_LONGEST_NAME = 63  # bytes; PostgreSQL truncates a longer one


def check_schema_name(schema: str) -> None:
    """Raise :class:`ConfigurationError` where PostgreSQL cannot have a schema of that name."""
    size = len(schema.encode(errors="replace"))
    if size > _LONGEST_NAME:
        problem = f"has {size} bytes, and PostgreSQL's names have {_LONGEST_NAME} at most"
    elif schema == "information_schema" or schema.startswith("pg_"):
        problem = "is the name of a system schema of PostgreSQL: name another one"
    elif schema == "$user":
        problem = "is what PostgreSQL replaces by the name of the user: name the schema itself"
    elif re.search("[\0\ud800-\udfff]", schema):
        problem = "has a character that PostgreSQL's names cannot have"
    else:
        return
    raise ConfigurationError(f"storage option 'schema', {schema!r}, {problem}")
