"""The options under ``storage:`` in an agent's ``config.yaml``."""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from slack_agents_sqlalchemy.errors import ConfigurationError

type Migrate = Literal["auto", "verify", "off"]
type Synchronous = Literal["NORMAL", "FULL"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of the provider.

    Attributes:
        migrate: What ``initialize()`` does with the schema: ``auto`` creates or upgrades it,
            ``verify`` refuses an old one, ``off`` does not check it.
        pool_size: Maximum number of connections; each call uses one.
        connect_timeout: Seconds to wait for a new connection, and seconds after which a server that
            does not respond is given up.
        command_timeout: Maximum duration of a call, in seconds.
        schema: PostgreSQL's schema for the tables, created if it is missing; by default the first
            one of the user's search path.
        prepared_statements: Whether the driver may use prepared statements; false behind a pooler
            that shares connections by transaction, as PgBouncer.
        synchronous: SQLite's durability: after a power failure, ``FULL`` (the default) has lost no
            acknowledged write, ``NORMAL`` may have lost the last ones.
        echo: Log each statement, without its parameters.
        engine_options: Further arguments of ``sqlalchemy.create_engine``.
        connect_args: Further arguments of the driver's ``connect``.
    """

    migrate: Migrate = "auto"
    pool_size: int = 10
    connect_timeout: float = 10.0
    command_timeout: float = 60.0
    schema: str | None = None
    prepared_statements: bool = True
    synchronous: Synchronous | None = None
    echo: bool = False
    engine_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    connect_args: Mapping[str, Any] = field(default_factory=dict, repr=False)  # may hold secrets


_KINDS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "pool_size": (int, "a whole number of at least 1"),
    "connect_timeout": ((int, float), "a number of seconds above 0"),
    "command_timeout": ((int, float), "a number of seconds above 0"),
    "schema": (str, "the name of a schema"),
    "prepared_statements": (bool, "true or false"),
    "echo": (bool, "true or false"),
    "engine_options": (Mapping, "a mapping"),
    "connect_args": (Mapping, "a mapping"),
}


# Arguments of create_engine that the provider sets: others would lose writes, or show secrets.
_FIXED = {
    "connect_args",  # an option of its own
    "execution_options",  # may contain an isolation level
    "hide_parameters",
    "isolation_level",
    "pool_reset_on_return",
    "skip_autocommit_rollback",
}

# Arguments of create_engine that must be numbers: SQLAlchemy reports others late.
_NUMBERS = (
    "insertmanyvalues_page_size",
    "label_length",
    "max_identifier_length",
    "pool_recycle",
    "pool_timeout",
    "query_cache_size",
)


def parse_options(options: Mapping[str, Any]) -> Options:
    """Return the options of the provider.

    Raises:
        ConfigurationError: An option is unknown (the message lists the known ones), or its value is
            invalid.
    """
    known = [option.name for option in fields(Options)]
    for name in options:
        if name not in known:
            close = difflib.get_close_matches(str(name), ["url", *known], n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise ConfigurationError(
                f"unknown storage option {name!r}.{hint} The options are: url, {', '.join(known)}"
            )
    given = {name: value for name, value in options.items() if value is not None}
    if given.get("migrate") is False:  # YAML reads the bare word `off` as false
        given["migrate"] = "off"
    if given.get("migrate", "auto") not in get_args(Migrate.__value__):
        raise ConfigurationError(
            f"storage option 'migrate' must be auto, verify or off, not {given['migrate']!r}"
        )
    if given.get("synchronous", "FULL") not in get_args(Synchronous.__value__):
        raise ConfigurationError(
            f"storage option 'synchronous' must be NORMAL or FULL, not {given['synchronous']!r}"
        )
    for name in _KINDS.keys() & given.keys():
        _require_fit(name, given[name])
    _check_engine_options(given.get("engine_options", {}))
    return Options(**given)


def _check_engine_options(options: Mapping[str, Any]) -> None:
    if sizes := {"pool_size", "max_overflow"} & set(options):
        raise ConfigurationError(
            f"storage option 'engine_options' may not hold {', '.join(sorted(sizes))}: "
            "use the storage option 'pool_size', which is how many connections there are at most"
        )
    if fixed := _FIXED & set(options):
        raise ConfigurationError(
            f"storage option 'engine_options' may not hold {', '.join(sorted(fixed))}: "
            "the provider relies on its own"
        )
    for name in _NUMBERS:
        value = options.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ConfigurationError(
                f"storage option 'engine_options' holds {name}, which must be a number, "
                f"not {type(value).__name__}"
            )


def _require_fit(name: str, value: object) -> None:
    kind, description = _KINDS[name]
    fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if fits and isinstance(value, int | float) and kind is not bool:
        fits = 0 < value < math.inf
    if not fits or value == "":
        may_be_secret = kind is Mapping or not isinstance(value, str | int | float)
        shown = "" if may_be_secret else f", not {value!r}"
        raise ConfigurationError(f"storage option {name!r} must be {description}{shown}")


def rename_option(message: str, **names: str) -> str:
    """Return an error's message with a storage option named as the user wrote it.

    Args:
        message: The message of a `ConfigurationError`.
        names: What the user wrote, as ``schema="--schema"``, by the name of the storage option.
    """
    for option, name in names.items():
        prefix = f"storage option {option!r}"
        if message.startswith(prefix):
            return name + message.removeprefix(prefix)
    return message
