"""Addresses to listen on, and those to tell: checked before, expanded after.

py-libp2p never fails to listen. With a port that a stranger holds the host runs and listens on nothing; with one that
another py-libp2p host holds both listen (SO_REUSEPORT), and connections go to either. And it tells peers "0.0.0.0".
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Iterable, Sequence

from libp2p.utils.address_validation import expand_wildcard_address
from multiaddr import Multiaddr

from p2pkad.errors import ConfigError

_ANY_PORT = {4: "/ip4/0.0.0.0/tcp/0", 6: "/ip6/::/tcp/0"}
_LOOPBACK = {4: "127.0.0.1", 6: "::1"}


def parse(texts: Iterable[str]) -> list[Multiaddr]:
    """Multiaddrs from text. Raises ConfigError, which names the text."""
    parsed = []
    for text in texts:
        try:
            parsed.append(Multiaddr(text))
        except Exception as error:  # multiaddr raises many kinds
            raise ConfigError(f"{text!r} is no multiaddr; write it as /ip4/0.0.0.0/tcp/4001") from error
    return parsed


def probe(addresses: Sequence[Multiaddr]) -> None:
    """Raise ConfigError if one of these cannot be listened on. Nothing stays open."""
    for address in addresses:
        host, port = _endpoint(address)
        family = socket.AF_INET6 if host.version == 6 else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probing:
            # Not SO_REUSEPORT: with it the port of another p2pkad would look free.
            probing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probing.bind((str(host), port))
            except OSError as error:
                raise ConfigError(f"cannot listen on {address}: {_advice(error, host.version)}") from error


def missing(addresses: Sequence[Multiaddr], bound: Sequence[Multiaddr]) -> Multiaddr | None:
    """The first address asked for that nothing is bound to, or None."""
    endpoints = [_endpoint(each) for each in bound]
    for address in addresses:
        host, port = _endpoint(address)
        if not any(host == here and port in (0, there) for here, there in endpoints):
            return address
    return None


def expand(addresses: Iterable[Multiaddr]) -> list[Multiaddr]:
    """Addresses as peers can use them: a wildcard becomes one address for each interface, loopback included."""
    expanded: dict[str, Multiaddr] = {}
    for address in addresses:
        for concrete in _interfaces(address):
            expanded.setdefault(str(concrete), concrete)
    return list(expanded.values())


def _interfaces(address: Multiaddr) -> list[Multiaddr]:
    try:
        host, port = _endpoint(address)
    except ConfigError:
        return [address]
    if not host.is_unspecified:
        return [address]
    found = [each for each in expand_wildcard_address(address) if not _endpoint(each)[0].is_unspecified]
    return [*found, Multiaddr(f"/ip{host.version}/{_LOOPBACK[host.version]}/tcp/{port}")]


def _endpoint(address: Multiaddr) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]:
    names = [protocol.name for protocol in address.protocols()]
    if len(names) != 2 or names[0] not in ("ip4", "ip6") or names[1] != "tcp":
        raise ConfigError(f"cannot listen on {address}: only TCP is supported, as /ip4/0.0.0.0/tcp/4001")
    host = address.value_for_protocol(names[0])
    port = address.value_for_protocol("tcp")
    assert host is not None
    assert port is not None
    return ipaddress.ip_address(host), int(port)


def _advice(error: OSError, version: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"address in use. Stop the other program or pass --listen {_ANY_PORT[version]}"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"this machine has no such address. Pass --listen {_ANY_PORT[version]}"
    if error.errno == errno.EACCES:
        return "ports below 1024 need the administrator's rights. Choose a higher one"
    return str(error.strerror or error)
