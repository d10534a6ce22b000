"""Network namespaces of Linux: hosts of their own, whose links can go down."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network

import pytest

from tests.support.servers import ServerMissingError
from tests.support.servers.process import Place, find_programs

# Set aside for tests of networks (RFC 2544).
_LINKS = list(IPv4Network("198.18.0.0/16").subnets(new_prefix=30))
_LANS = list(IPv4Network("198.19.0.0/16").subnets(new_prefix=28))
_numbers = itertools.count()


class Link:
    """A cable from this host to another.

    Attributes:
        address: Of the other end.
    """

    def __init__(self, host: Host) -> None:
        self._host = host.name
        number = next(_numbers)
        self._name = f"sa_{os.getpid()}_{number}"
        self._far = f"far{number}"
        subnet = _LINKS[(8 * os.getpid() + number) % len(_LINKS)]
        near, far = subnet.hosts()
        self.address = str(far)
        _ip("link", "add", self._name, "type", "veth", "peer", self._far, "netns", self._host)
        _ip("address", "add", f"{near}/30", "dev", self._name)
        _ip("-n", self._host, "address", "add", f"{far}/30", "dev", self._far)
        _ip("-n", self._host, "link", "set", self._far, "up")
        _ip("link", "set", self._name, "up")
        # Else this host notices that the other does not answer, and reports it unreachable.
        hardware = _ip("-n", self._host, "-brief", "link", "show", self._far).split()[2]
        _ip(
            *("neighbour", "replace", self.address, "lladdr", hardware),
            *("dev", self._name, "nud", "permanent"),
        )

    def go_down(self) -> None:
        """Drop every packet, in both directions, without an error."""
        _ip("-n", self._host, "link", "set", self._far, "down")

    def come_up(self) -> None:
        """Forward packets again."""
        _ip("-n", self._host, "link", "set", self._far, "up")

    def remove(self) -> None:
        _ip("link", "delete", self._name)


class Socket:
    """A host's end of a network of several.

    Attributes:
        address: Of the host in that network.
    """

    def __init__(self, host: Host, switch: Host, address: str) -> None:
        self._host = host.name
        self.address = address
        number = next(_numbers)
        self._name, port = f"lan{number}", f"port{number}"
        _ip(
            *("-n", switch.name, "link", "add", port, "type", "veth"),
            *("peer", self._name, "netns", host.name),
        )
        _ip("-n", switch.name, "link", "set", port, "master", "switch", "up")
        _ip("-n", host.name, "address", "add", f"{address}/28", "dev", self._name)
        _ip("-n", host.name, "link", "set", self._name, "up")

    def go_down(self) -> None:
        """Drop every packet, in both directions, without an error."""
        _ip("-n", self._host, "link", "set", self._name, "down")


class Lan:
    """A network of hosts, with a switch between them.

    Attributes:
        hosts: All of them, with a link to each from this host.
        sockets: Of the hosts.
    """

    def __init__(self, hosts: int) -> None:
        """Make the network.

        Raises:
            ServerMissingError: See `Host`.
        """
        self._switch = Host(links=0)
        self.hosts: list[Host] = []
        try:
            _ip("-n", self._switch.name, "link", "add", "switch", "type", "bridge")
            _ip("-n", self._switch.name, "link", "set", "switch", "up")
            subnet = _LANS[(os.getpid() + next(_numbers)) % len(_LANS)]
            self.hosts += [Host() for _ in range(hosts)]
            self.sockets = [
                Socket(host, self._switch, str(address))
                for host, address in zip(self.hosts, subnet.hosts(), strict=False)
            ]
        except BaseException:
            self.remove()
            raise

    def remove(self) -> None:
        """Remove it, with its hosts."""
        for host in (*self.hosts, self._switch):
            host.remove()


class Host:
    """A host with a network of its own, in which server programs can run.

    Attributes:
        name: Of the namespace.
        links: From this host.
    """

    def __init__(self, links: int = 1) -> None:
        """Make the host.

        Args:
            links: How many cables lead to it.

        Raises:
            ServerMissingError: The program that makes one is missing; if this user may not make
                one, the test is skipped, under CI too.
        """
        if not sys.platform.startswith("linux") or os.geteuid() != 0:
            pytest.skip("network namespaces are for root on Linux")
        if find_programs("ip") is None:
            raise ServerMissingError("`ip` is not installed: apt-get install iproute2")
        self.name = f"sa_{os.getpid()}_{next(_numbers)}"
        self.links: list[Link] = []
        try:
            _ip("netns", "add", self.name)
        except subprocess.CalledProcessError as exc:
            pytest.skip(f"network namespaces are not permitted here: {exc.stderr.strip()}")
        try:
            _ip("-n", self.name, "link", "set", "lo", "up")
            for _ in range(links):
                self.links.append(Link(self))
        except BaseException:
            self.remove()
            raise

    @property
    def place(self) -> Place:
        """Where the servers of this host run; administrators come by the last link."""
        return Place(self.links[-1].address, self._entered)

    def remove(self) -> None:
        """Remove it, with its links."""
        for link in self.links:
            link.remove()
        _ip("netns", "delete", self.name)

    @contextmanager
    def _entered(self) -> Iterator[None]:
        """Have what this thread starts run there."""
        here = os.open(f"/proc/{os.getpid()}/task/{threading.get_native_id()}/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        os.setns(there, os.CLONE_NEWNET)
        try:
            yield
        finally:
            os.setns(here, os.CLONE_NEWNET)
            os.close(here)
            os.close(there)


def _ip(*arguments: str) -> str:
    done = subprocess.run(("ip", *arguments), check=True, capture_output=True, text=True)
    return done.stdout
