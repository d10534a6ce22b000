"""URLs of SQLite files: how SQLite reads them, and which ones are refused."""

import os
from urllib.parse import parse_qsl, unquote_to_bytes

from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

from slack_agents_sqlalchemy.errors import ConfigurationError

# Parameters of SQLite's URI filenames (https://www.sqlite.org/uri.html).
URI_PARAMETERS = ("cache", "immutable", "mode", "modeof", "nolock", "psow", "vfs")

# Arguments of the drivers that a URL may have; SQLAlchemy ignores others with a warning.
_DRIVER_ARGUMENTS = (
    "cached_statements",
    "check_same_thread",
    "detect_types",
    "isolation_level",
    "timeout",
    "uri",
)
_CIPHER_ARGUMENTS = ("cipher", "cipher_page_size", "cipher_use_hmac", "kdf_iter")  # pysqlcipher's


def opened_file(url: URL) -> tuple[str, dict[str, str]]:
    """Return the path that SQLite opens for a URL, and the parameters of its URI filename."""
    try:
        [name], options = url.get_dialect()().create_connect_args(url)
    except (ArgumentError, TypeError, ValueError):  # create_engine raises it again
        return "", {}
    if not (options.get("uri") and name.startswith("file:")):
        return name, {}
    path, _, query = name.removeprefix("file:").partition("#")[0].partition("?")
    if path.startswith("//"):
        path = "/" + path[2:].partition("/")[2]  # without the host, "" or "localhost"
    decoded = unquote_to_bytes(os.fsencode(path)).partition(b"\0")[0]
    return os.fsdecode(decoded), dict(parse_qsl(query))


def check_url(url: URL) -> None:
    """Raise where SQLite would not do what the URL asks for.

    Raises:
        ConfigurationError: It has a host, a user or unknown arguments, or parameters that SQLite
            would ignore or read as a part of the file's name.
    """
    if url.username or (url.password and url.get_driver_name() != "pysqlcipher"):
        raise ConfigurationError(
            "storage option 'url' has a user or a password, and SQLite has none: leave it out. An "
            "encrypted file is opened by sqlite+pysqlcipher://:passphrase@/agents.db"
        )
    if url.host and url.password:  # not shown: the host may be a part of the passphrase
        raise ConfigurationError(
            "storage option 'url' has a host after the passphrase, and SQLite has none: write "
            f"{url.drivername}://:passphrase@/agents.db, and percent-encode the characters of the "
            "passphrase (@ is %40, / is %2F)"
        )
    if url.host:
        path = "/".join(part for part in (url.host, url.database) if part)
        raise ConfigurationError(
            f"storage option 'url' has two slashes before {url.host!r}, which makes it the name of "
            f"a server, and SQLite has none: write {url.drivername}:///{path} (three slashes) for "
            "a file in the working directory, four slashes for an absolute path"
        )
    is_uri = "uri" in url.query and (url.database or "").startswith("file:")
    found = [name for name in URI_PARAMETERS if name in url.query]
    if found and not is_uri:
        raise ConfigurationError(
            f"storage option 'url' has {', '.join(found)}, which SQLite reads in a URI filename "
            f"only: write {url.drivername}:///file:agents.db?mode=ro&uri=true"
        )
    cipher = _CIPHER_ARGUMENTS if url.get_driver_name() == "pysqlcipher" else ()
    arguments = (*_DRIVER_ARGUMENTS, *cipher)
    unknown = sorted(set(url.query) - {*arguments, "plugin"})  # SQLAlchemy reads "plugin"
    if unknown and not is_uri:  # a VFS may read any parameter of a URI filename
        raise ConfigurationError(
            f"storage option 'url' has {', '.join(unknown)}, which is no argument of the driver: "
            f"it takes {', '.join(arguments)}"
        )
