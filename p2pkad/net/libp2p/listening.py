"""Addresses to listen on, and those to tell: checked before, expanded after.

    /ip4/…/tcp/…   /ip4/…/tcp/…/ws   /ip4/…/udp/…/quic-v1   and the same with ip6

py-libp2p never fails to listen. With a port that a stranger holds the host runs and listens on nothing; with one that
another py-libp2p host holds both listen (SO_REUSEPORT), and connections go to either. And it tells peers "0.0.0.0".
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from libp2p.utils.address_validation import expand_wildcard_address
from multiaddr import Multiaddr

from p2pkad.core.peers import PeerId
from p2pkad.errors import ConfigError
from p2pkad.wire.addresses import parse_address, parse_multiaddr, with_port

_ANYWHERE = {4: "/ip4/0.0.0.0", 6: "/ip6/::"}
_NOWHERE = (*(f"{address}/" for address in _ANYWHERE.values()), "/tcp/0/", "/udp/0/", "/p2p-circuit/")
"""Parts of addresses at which nobody reaches this node, which speaks with no relay."""
_LOOPBACK = {4: "127.0.0.1", 6: "::1"}


def parse(texts: Iterable[str], option: str) -> list[Multiaddr]:
    """The multiaddrs of an option. Raises ConfigError, which names it, the text, and what is wrong."""
    try:
        return [parse_multiaddr(str(text)) for text in texts]
    except ConfigError as error:
        example = _ANYWHERE[4] if option == "listen" else "/ip4/192.0.2.1"
        raise ConfigError(f"{option}: {error}. Write it as {example}/tcp/4001", option) from error


def announced(texts: Iterable[str], own: PeerId) -> list[Multiaddr]:
    """What is told to peers instead of where this node listens. Raises ConfigError for what leads nobody to it."""
    addresses = parse(texts, "announce")
    for address in addresses:
        try:
            text = with_port(parse_address(str(address).removesuffix(f"/p2p/{own}"))).text
        except ConfigError as error:
            raise ConfigError(f"announce: {error}", "announce") from error
        if any(part in f"{text}/" for part in _NOWHERE):
            raise ConfigError(f"announce: {address} leads nobody to this node; write /ip4/192.0.2.1/tcp/4001, say", "announce")
    return addresses


def unfit(address: Multiaddr, why: str) -> ConfigError:
    """What is raised where an address cannot be listened on."""
    return ConfigError(f"cannot listen on {address}: {why}", "listen")


def probe(addresses: Sequence[Multiaddr]) -> None:
    """Raise ConfigError if one of these cannot be listened on. Nothing stays open."""
    taken: dict[tuple[str, int, bool], Multiaddr] = {}
    for address in addresses:
        end = _endpoint(address)
        other = taken.setdefault((str(end.host), end.port, end.is_udp), address)
        if other is not address and end.port != 0:
            raise unfit(address, f"{other} has that port. Give each a port of its own")
        family = socket.AF_INET6 if end.host.version == 6 else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM if end.is_udp else socket.SOCK_STREAM) as probing:
            if end.is_udp and end.host.version == 6:
                probing.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            elif not end.is_udp:
                # Not SO_REUSEPORT: with it the port of another p2pkad would look free.
                probing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probing.bind((str(end.host), end.port))
            except OSError as error:
                raise unfit(address, _advice(error, end)) from error


def missing(addresses: Sequence[Multiaddr], bound: Sequence[Multiaddr]) -> Multiaddr | None:
    """The first address asked for that nothing is bound to, or None."""
    there = [_endpoint(each) for each in bound]
    for address in addresses:
        wanted = _endpoint(address)
        if not any(wanted._replace(port=end.port) == end and wanted.port in (0, end.port) for end in there):
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
        end = _endpoint(address)
    except ConfigError:
        return [address]
    if not end.host.is_unspecified:
        return [address]
    version = end.host.version
    # py-libp2p expands plain TCP only; what stands behind the IP address is the same for all.
    bare = Multiaddr(f"{_ANYWHERE[version]}/tcp/{end.port}")
    found = [_endpoint(each).host for each in expand_wildcard_address(bare)]
    hosts = [str(host) for host in found if not host.is_unspecified]
    return [Multiaddr(f"/ip{version}/{host}{end.rest}") for host in (*hosts, _LOOPBACK[version])]


class _Endpoint(NamedTuple):
    host: ipaddress.IPv4Address | ipaddress.IPv6Address
    port: int
    transport: str

    @property
    def is_udp(self) -> bool:
        return self.transport.startswith("udp")

    @property
    def rest(self) -> str:
        return "/" + self.transport.replace("/", f"/{self.port}/", 1) if "/" in self.transport else f"/tcp/{self.port}"


def _endpoint(address: Multiaddr) -> _Endpoint:
    family, *names = [protocol.name for protocol in address.protocols()]
    transport = "/".join(names)
    if family not in ("ip4", "ip6") or transport not in ("tcp", "tcp/ws", "udp/quic-v1"):
        raise unfit(
            address,
            "TCP, QUIC and WebSocket are supported, as /ip4/0.0.0.0/tcp/4001, /ip4/0.0.0.0/udp/4001/quic-v1 and "
            "/ip4/0.0.0.0/tcp/4002/ws",
        )
    host = address.value_for_protocol(family)
    port = address.value_for_protocol(names[0])
    assert host is not None
    assert port is not None
    return _Endpoint(ipaddress.ip_address(host), int(port), transport)


def _advice(error: OSError, end: _Endpoint) -> str:
    anywhere = _ANYWHERE[end.host.version] + end._replace(port=0).rest
    if error.errno == errno.EADDRINUSE:
        return f"address in use. Stop the other program or pass --listen {anywhere}"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"this machine has no such address. Pass --listen {anywhere}"
    if error.errno == errno.EACCES:
        return "ports below 1024 need the administrator's rights. Choose a higher one"
    return str(error.strerror or error)
