"""The servers of a URL."""

import re
from collections.abc import Sequence
from itertools import zip_longest
from typing import TypedDict

from sqlalchemy.engine import URL

from slack_agents_sqlalchemy.errors import ConfigurationError

_PORTS = range(1, 2**16)


class Server(TypedDict):
    """The arguments of a driver's ``connect`` that name a server."""

    host: str
    port: int | None


def named_servers(url: URL, port: int | None) -> Sequence[Server]:
    """Return the servers in ``?host=one:5432&host=two:5432``.

    libpq's form ``?host=one,two&port=5432,5433`` means the same. An IPv6 address before a port has
    brackets.

    Args:
        url: The URL.
        port: The port of a server without one.

    Raises:
        ConfigurationError: A port is no number, or is not in the range of ports.
    """
    hosts, ports = (_listed(url.query.get(name, ())) for name in ("host", "port"))
    if len(ports) == 1:  # libpq: it applies to all
        ports = [*ports] * len(hosts)
    servers: list[Server] = []
    try:
        for host, its_port in zip_longest(hosts, ports[: len(hosts)]):
            name, own_port = _split(host)
            named = own_port or its_port
            servers.append({"host": name, "port": int(named) if named else url.port or port})
    except ValueError:
        raise ConfigurationError(
            "storage option 'url' names a host whose port is no number: "
            "write ?host=one:5432&host=two:5432"
        ) from None
    for server in servers:
        _require_port(server["port"])
    return servers


def require_ports(url: URL) -> None:
    """Raise :class:`ConfigurationError` for a port that is not in the range of ports."""
    _require_port(url.port)
    for port in _listed(url.query.get("port", ())):
        if re.fullmatch("-?[0-9]{1,9}", port):
            _require_port(int(port))


def _require_port(port: int | None) -> None:
    if port is not None and port not in _PORTS:
        raise ConfigurationError(
            f"storage option 'url' names the port {port}: a port is a number from 1 to 65535"
        )


def _split(host: str) -> tuple[str, str]:
    """Return a host and its port; the path of a socket and a plain IPv6 address have no port."""
    if host.startswith("["):
        address, _, port = host.removeprefix("[").partition("]")
        return address, port.removeprefix(":")
    if host.startswith("/") or host.count(":") > 1:
        return host, ""
    name, _, port = host.partition(":")
    return name, port


def _listed(values: str | Sequence[str]) -> Sequence[str]:
    return values.split(",") if isinstance(values, str) else values
