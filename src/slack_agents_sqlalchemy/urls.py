"""Database URLs: how they are parsed, and how they are shown without secrets."""

import re
from typing import override
from urllib.parse import quote_plus

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from slack_agents_sqlalchemy.dialects import adapter_for
from slack_agents_sqlalchemy.dialects.servers import require_ports
from slack_agents_sqlalchemy.errors import ConfigurationError, DriverMissingError

_EXAMPLES = "sqlite:///agents.db, postgresql://user:password@host/database, mysql://…, mariadb://…"


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
    parsed = adapter_for(parsed.get_backend_name()).complete_url(parsed)
    _require_driver(parsed)
    return _RedactedURL(*parsed)


# User and password as SQLAlchemy finds them: up to an @ that may also stand further on.
_USER_INFO = re.compile("(?P<user>[^:/]*)(?::(?P<password>[^@]*))?@")


def _is_ambiguous(url: str | URL, parsed: URL) -> bool:
    """Return whether a part of the password may have been read as something that is shown.

    Args:
        url: As it was given; a URL object may have been read from ambiguous text before.
        parsed: As SQLAlchemy reads it.
    """
    known = adapter_for(parsed.get_backend_name())
    is_path = not parsed.host and (known.has_single_connection or not known.is_supported)
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
    known = adapter_for(url.get_backend_name())
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


def redact(url: URL) -> str:
    """Show a URL without its password, and without what may be one in its query."""
    query = {name: value if name in _SHOWN else _HIDDEN for name, value in url.query.items()}
    shown = URL.render_as_string(url.set(query=query), hide_password=True)
    return shown.replace(quote_plus(_HIDDEN), _HIDDEN)


class _RedactedURL(URL):
    """A URL that an engine's ``repr`` shows without any secret; SQLAlchemy hides one place only."""

    @override
    def render_as_string(self, hide_password: bool = True) -> str:
        """Render the URL, with its secrets hidden or as it is."""
        return redact(self) if hide_password else super().render_as_string(hide_password=False)
