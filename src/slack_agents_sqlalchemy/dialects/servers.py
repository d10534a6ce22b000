"""The servers that one URL names."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from sqlalchemy.engine import URL

from slack_agents_sqlalchemy.errors import ConfigurationError


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
    servers = []
    try:
        for host, its_port in zip_longest(hosts, ports[: len(hosts)]):
            name, own_port = _split(host)
            named = own_port or its_port
            servers.append({"host": name, "port": int(named) if named else url.port or port})
    except ValueError as exc:
        raise ConfigurationError(
            "storage option 'url' names a host whose port is no number: "
            "write ?host=one:5432&host=two:5432"
        ) from exc
    return servers


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
