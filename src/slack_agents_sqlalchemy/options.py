"""What a user writes under ``storage:``, read into a URL and settings, or a clear error."""

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args, override
from urllib.parse import quote_plus

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from slack_agents_sqlalchemy.dialects import backend
from slack_agents_sqlalchemy.dialects.servers import require_ports
from slack_agents_sqlalchemy.errors import ConfigurationError, DriverMissingError

type Migrate = Literal["auto", "verify", "off"]
type Synchronous = Literal["NORMAL", "FULL"]

_EXAMPLES = "sqlite:///agents.db, postgresql://user:password@host/database, mysql://…, mariadb://…"


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of the provider, with defaults that need no thought.

    Attributes:
        migrate: What ``initialize()`` does about the schema: ``auto`` creates and upgrades it,
            ``verify`` refuses an old one, ``off`` trusts.
        pool_size: Connections to keep at most; each call uses one.
        connect_timeout: Seconds to wait for a connection, and for a server's next sign of life.
        command_timeout: Seconds that a call may take.
        schema: PostgreSQL's schema for the tables, made where it is missing; by default the first
            of the user's search path.
        prepared_statements: Whether the driver may keep prepared statements; false behind a pooler
            that shares connections by transaction, as PgBouncer.
        synchronous: What a power cut may take from an SQLite file: with ``FULL``, its default,
            nothing that was acknowledged; with ``NORMAL`` the last writes.
        echo: Log every statement, without its parameters.
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


# What the provider relies on: with other values it would lose writes, or show secrets.
_FIXED = {
    "connect_args",  # an option of its own
    "execution_options",  # may hold an isolation level
    "hide_parameters",
    "isolation_level",
    "pool_reset_on_return",
    "skip_autocommit_rollback",
}


def parse_options(options: Mapping[str, Any]) -> Options:
    """Read the options of the provider.

    Raises:
        ConfigurationError: A key is unknown (the message lists the known ones), or a value is of
            no use.
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
    if sizes := {"pool_size", "max_overflow"} & set(given.get("engine_options", ())):
        raise ConfigurationError(
            f"storage option 'engine_options' may not hold {', '.join(sorted(sizes))}: "
            "use the storage option 'pool_size', which is how many connections there are at most"
        )
    if fixed := _FIXED & set(given.get("engine_options", ())):
        raise ConfigurationError(
            f"storage option 'engine_options' may not hold {', '.join(sorted(fixed))}: "
            "the provider relies on its own"
        )
    return Options(**given)


def _require_fit(name: str, value: object) -> None:
    kind, description = _KINDS[name]
    fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if fits and isinstance(value, int | float) and kind is not bool:
        fits = 0 < value < math.inf
    if not fits or value == "":
        may_be_secret = kind is Mapping or not isinstance(value, str | int | float)
        shown = "" if may_be_secret else f", not {value!r}"
        raise ConfigurationError(f"storage option {name!r} must be {description}{shown}")


def parse_url(url: object) -> URL:
    """Read a database URL and choose the driver where it names none.

    Returns:
        The URL with the driver that this package is best with; one that names its driver is taken
        at its word.

    Raises:
        ConfigurationError: It is missing, no URL, or of an unknown dialect.
        DriverMissingError: The driver is not installed; the message says what to install.
    """
    if url is None or url == "":
        raise ConfigurationError(
            f"storage option 'url' is missing: set it to a database URL, as {_EXAMPLES}"
        )
    if not isinstance(url, str | URL):
        raise ConfigurationError(
            f"storage option 'url' must be text, not {type(url).__name__}; examples: {_EXAMPLES}"
        )
    try:
        parsed = make_url(url)
    except (ArgumentError, TypeError, ValueError):
        # Neither its text nor the cause is shown: each may hold the password.
        raise ConfigurationError(
            "storage option 'url' is not a database URL: percent-encode the characters of the "
            f"password that mean something in a URL (@ is %40, / is %2F); examples: {_EXAMPLES}"
        ) from None
    if _is_ambiguous(url, parsed):
        raise ConfigurationError(
            "storage option 'url' can be read in two ways, so that a part of the password could be "
            "taken for something else: percent-encode the characters of the user, the password and "
            "what follows the ? that mean something in a URL (@ is %40, / is %2F, ? is %3F)"
        )
    require_ports(parsed)
    parsed = backend(parsed.get_backend_name()).complete(parsed)
    _require_driver(parsed)
    return _DiscreetURL(*parsed)


# User and password as SQLAlchemy finds them: up to an @ that may also stand further on.
_USER_INFO = re.compile("(?P<user>[^:/]*)(?::(?P<password>[^@]*))?@")


def _is_ambiguous(url: str | URL, parsed: URL) -> bool:
    """Return whether a part of the password may have been read as something that is shown.

    Args:
        url: As it was given; a URL object may have been read from ambiguous text before.
        parsed: As SQLAlchemy reads it.
    """
    known = backend(parsed.get_backend_name())
    is_path = not parsed.host and (known.keeps_one_connection or not known.is_known)
    if isinstance(url, URL):
        place = url.host or ""
        path = "" if is_path else url.database or ""
        in_path = "@" in path or (not place and ":" in path)
        return in_path or "@" in place or "?" in (url.username or "")
    rest = url.partition("://")[2]
    if (found := _USER_INFO.match(rest)) is not None:
        return (
            "@" in rest[found.end() :]
            or "?" in found["user"]  # host?name=value@...
            or re.match("[0-9]*[/?]", found["password"] or "") is not None  # host:port/...@...
        )
    path = "" if is_path else rest.partition("?")[0]
    return "@" in path or (rest.startswith("/") and ":" in path)


def _require_driver(url: URL) -> None:
    known = backend(url.get_backend_name())
    driver = url.drivername.partition("+")[2]
    try:
        url.get_dialect().import_dbapi()
    except NoSuchModuleError as exc:
        raise ConfigurationError(
            f"SQLAlchemy knows no dialect {url.drivername!r}: correct the beginning of the URL, or "
            f"install the package that provides it; examples: {_EXAMPLES}"
        ) from exc
    except ModuleNotFoundError as exc:
        ours = driver == known.default_driver
        install = f"slack-agents-sqlalchemy[{known.extra}]" if ours else _package(exc, driver)
        raise DriverMissingError(
            f"the driver for {url.drivername!r} is not installed: pip install '{install}'"
        ) from exc
    except ImportError as exc:
        reason = (str(exc).splitlines() or [type(exc).__name__])[0]
        raise DriverMissingError(
            f"the driver for {url.drivername!r} is installed and cannot be loaded: {reason}. "
            "Install what it lacks, as the system's library of the database"
        ) from exc


def _package(error: ImportError, driver: str) -> str:
    module = error.name or driver
    return {
        "MySQLdb": "mysqlclient",
        "mysql": "mysql-connector-python",
        "psycopg": "psycopg[binary]",
        "psycopg2": "psycopg2-binary",
        "pysqlcipher3": "sqlcipher3-binary",  # the one that SQLAlchemy tries last
    }.get(module, module)


_HIDDEN = "***"

# Of the rest nobody knows which driver takes a secret under that name.
_SHOWN = {
    "host",
    "port",
    "unix_socket",
    "charset",
    "mode",
    "uri",
    "cache",
    "driver",
    "application_name",
    "connect_timeout",
    "timeout",
    "target_session_attrs",
    "ssl",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslcrl",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "ssl_ca",
    "ssl_capath",
    "ssl_cert",
    "ssl_check_hostname",
}


def describe(url: URL) -> str:
    """Show a URL without its password, and without what may be one in its query."""
    query = {name: value if name in _SHOWN else _HIDDEN for name, value in url.query.items()}
    shown = URL.render_as_string(url.set(query=query), hide_password=True)
    return shown.replace(quote_plus(_HIDDEN), _HIDDEN)


class _DiscreetURL(URL):
    """A URL that an engine's ``repr`` shows without any secret; SQLAlchemy hides one place only."""

    @override
    def render_as_string(self, hide_password: bool = True) -> str:
        """Render the URL, with its secrets hidden or as it is."""
        return describe(self) if hide_password else super().render_as_string(hide_password=False)
