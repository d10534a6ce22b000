"""The servers that one URL names."""

import re
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from sqlalchemy.engine import URL

from slack_agents_sqlalchemy.errors import ConfigurationError

_PORTS = range(1, 2**16)


def named_servers(url: URL, port: int | None) -> Sequence[dict[str, Any]]:
    """Return host and port of each server in ``?host=one:5432&host=two:5432``.

    libpq's form ``?host=one,two&port=5432,5433`` means the same. An IPv6 address stands in brackets
    where its port follows.

    Args:
        url: The URL.
        port: Of a server whose port it does not name.
    """
    hosts, ports = (_listed(url.query.get(name, ())) for name in ("host", "port"))
    if len(ports) == 1:  # as libpq has it
        ports = [*ports] * len(hosts)
    servers: list[dict[str, Any]] = []
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
    """Raise :class:`ConfigurationError` where a URL has a port that there cannot be."""
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
    """Tell a host from its port; the path of a socket has none, nor an address of colons."""
    if host.startswith("["):
        address, _, port = host.removeprefix("[").partition("]")
        return address, port.removeprefix(":")
    if host.startswith("/") or host.count(":") > 1:
        return host, ""
    name, _, port = host.partition(":")
    return name, port


def _listed(values: str | Sequence[str]) -> Sequence[str]:
    return values.split(",") if isinstance(values, str) else values
