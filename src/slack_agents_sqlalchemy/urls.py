"""Parse database URLs, and redact them for messages."""

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
    """Return a database URL with its driver, and with its secrets hidden in its ``repr``.

    Args:
        url: Text or SQLAlchemy's URL. White space around the text is removed: a secret that is read
            from a file may end with a newline. A URL without a driver gets the default one.

    Raises:
        ConfigurationError: The URL is missing or malformed, or its dialect is unknown.
        DriverMissingError: The driver is not installed; the message says what to install.
    """
    if isinstance(url, str):
        url = url.strip()
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
        # Neither the text nor the cause is shown: each may hold the password.
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


# User and password as SQLAlchemy finds them: up to an @.
_USER_INFO = re.compile("(?P<user>[^:/]*)(?::(?P<password>[^@]*))?@")


def _is_ambiguous(url: str | URL, parsed: URL) -> bool:
    """Return whether a part of the password may have been read as a part that is shown.

    Args:
        url: The argument of :func:`parse_url`; a URL object may have been read from such a text.
        parsed: What SQLAlchemy read.
    """
    adapter = adapter_for(parsed.get_backend_name())
    is_path = not parsed.host and (adapter.has_single_connection or not adapter.is_supported)
    if isinstance(url, URL):
        host = url.host or ""
        path = "" if is_path else url.database or ""
        in_path = "@" in path or (not host and ":" in path)
        return in_path or "@" in host or "?" in (url.username or "")
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
    adapter = adapter_for(url.get_backend_name())
    driver = url.drivername.partition("+")[2]
    try:
        url.get_dialect().import_dbapi()
    except NoSuchModuleError as exc:
        raise ConfigurationError(
            f"SQLAlchemy knows no dialect {url.drivername!r}: correct the beginning of the URL, or "
            f"install the package that provides it; examples: {_EXAMPLES}"
        ) from exc
    except ModuleNotFoundError as exc:
        is_default = driver == adapter.default_driver
        default = f"slack-agents-sqlalchemy[{adapter.extra}]"
        install = default if is_default else _package(exc, driver)
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
        "pysqlcipher3": "sqlcipher3-binary",  # SQLAlchemy tries pysqlcipher3 last
    }.get(module, module)


_HIDDEN = "***"

# Another parameter may be a secret of some driver.
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
    """Return the text of a URL, with its password and its unknown parameters hidden."""
    query = {name: value if name in _SHOWN else _HIDDEN for name, value in url.query.items()}
    shown = URL.render_as_string(url.set(query=query), hide_password=True)
    return shown.replace(quote_plus(_HIDDEN), _HIDDEN)


class _RedactedURL(URL):
    """A URL whose ``repr`` shows no secret; SQLAlchemy's own hides the password only."""

    @override
    def render_as_string(self, hide_password: bool = True) -> str:
        """Return the text of the URL, by default with its secrets hidden."""
        return redact(self) if hide_password else super().render_as_string(hide_password=False)
