"""Multiaddrs: binary or text <-> `Address`, parsed once at the border.

decode_address   from a message; None for what cannot be used
parse_multiaddr  from an option or a command line, for the library; ConfigError says what is wrong
parse_address    the same for our own use
parse_peer       the same with /p2p/<peer id> at the end
with_port        what people write, once it is read; ConfigError where the port is missing
address_text     what `parse_peer` reads

Every `Address` is made here. It begins with an IP address or a name, and has only protocols that go, rust and js all know:
js fails a whole reply for one address that it cannot read, so that an address we pass on must not be that one. Binary is
read by a walk of our own, strict (one encoding for one address) and quick; text is the multiaddr library's.

multiaddr specification, "Encoding", and its protocols.csv; libp2p specification, "Addressing".
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from ipaddress import ip_network
from socket import AF_INET, AF_INET6, inet_ntop
from typing import NamedTuple

from multiaddr import Multiaddr

from p2pkad.core.peers import Address, PeerId, PeerInfo, Scope
from p2pkad.errors import ConfigError, LocalProtocolError
from p2pkad.identity import peer_id
from p2pkad.wire.framing import decode_varint

# The longest honest address leads through a relay that is reached by WebTransport, with two certificate hashes: 200 bytes.
MAX_ADDRESS = 512
"""Bytes of the longest address that is read."""

# What one reply says the next one repeats. An entry takes some 400 bytes, 2 KB at worst: 3 MB as a rule when full.
_REMEMBERED = 8192


def decode_address(raw: bytes, owner: PeerId) -> Address | None:
    """The address that `raw` says `owner` has, without the /p2p/<owner> that it may end in.

    None when it cannot be read, has a protocol that not everybody knows, ends in another peer's id, or leads nowhere.
    A name leads to public addresses alone, until it is decided who is believed.
    """
    if len(raw) > MAX_ADDRESS:
        return None
    known = _remembered(raw)
    if known is None:
        return None
    address, named = known
    return address if named is None or named == owner else None


def parse_multiaddr(text: str) -> Multiaddr:
    """What the library makes of a text. Raises ConfigError with the text and what is wrong."""
    if not text.startswith("/"):  # the library would take it
        raise ConfigError(f"{text!r} is no multiaddr: it does not begin with a slash")
    try:
        return Multiaddr(text)
    except Exception as error:  # whatever the codec of a protocol happens to raise
        raise ConfigError(f"{text!r} is no multiaddr: {getattr(error, 'message', error)}") from error


def parse_address(text: str) -> Address:
    """The address that people write as /ip4/192.0.2.1/tcp/4001. Raises ConfigError with the text and what is wrong."""
    try:
        address, named = _split(parse_multiaddr(text).to_bytes())
    except ValueError as error:
        raise ConfigError(f"{text!r} cannot be used: {error}") from error
    if named is not None:
        raise ConfigError(f"{text!r} names a peer; leave out /p2p/{named}")
    return address


def parse_peer(text: str) -> PeerInfo:
    """A peer and where it is, as /ip4/192.0.2.1/tcp/4001/p2p/12D3Koo…. Raises ConfigError with the text and what is wrong."""
    place, _, name = text.rpartition("/p2p/")
    if not place:
        raise ConfigError(f"{text!r} does not say who and where; write /ip4/…/tcp/…/p2p/<peer id>")
    try:
        return PeerInfo(peer_id(name), (parse_address(place),))
    except LocalProtocolError as error:
        raise ConfigError(f"{text!r}: {error}") from error


def with_port(address: Address) -> Address:
    """An address that somebody wrote, which can be dialled. Raises ConfigError: it has no port, and is no name of addresses."""
    _, kind, place, *rest = address.text.split("/")
    if kind != "dnsaddr" and rest[:1] not in (["tcp"], ["udp"]):
        start = f"/{kind}/{place}"
        raise ConfigError(
            f"{address.text} has no port. Write it behind the address, as {start}/tcp/4001 or {start}/udp/4001/quic-v1"
        )
    return address


def address_text(address: Address, peer: PeerId) -> str:
    """An address with the peer that has it, as people type it."""
    return f"{address.text}/p2p/{peer}"


@lru_cache(maxsize=_REMEMBERED)
def _remembered(raw: bytes) -> tuple[Address, PeerId | None] | None:
    try:
        address, named = _split(raw)
    except ValueError:
        return None
    return address if address.ip_group else replace(address, down_to=Scope.PUBLIC), named


def _split(raw: bytes) -> tuple[Address, PeerId | None]:
    """An address, and the peer that it names at its end. Raises ValueError with the reason."""
    parts = list(_parts(raw))
    named = None
    if parts and parts[-1].protocol.name == "p2p":
        end = parts.pop()
        named, raw = _peer(end.value), raw[: end.start]
    if not parts or parts[0].protocol.name not in _PLACES:
        raise ValueError("it does not begin with an IP address or a name")
    if parts[-1].protocol.name == "p2p":
        raise ValueError("it names two peers, and no way from one to the other")
    place = _PLACES[parts[0].protocol.name]
    scope, ip_group = place(parts[0].value)
    return Address(raw, "".join(part.text() for part in parts), scope, ip_group), named


class _Protocol(NamedTuple):
    name: str
    size: int | None = 0  # bytes of the value; None: a varint in front of it says
    text: Callable[[bytes], str] | None = None  # of the value; ValueError when it is none


class _Part(NamedTuple):
    start: int
    protocol: _Protocol
    value: bytes

    def text(self) -> str:
        name, _, of_value = self.protocol
        return f"/{name}/{of_value(self.value)}" if of_value else f"/{name}"


def _parts(raw: bytes) -> Iterator[_Part]:
    at = 0
    while at < len(raw):
        start = at
        code, at = decode_varint(raw, at)
        protocol = _PROTOCOLS.get(code)
        if protocol is None:
            raise ValueError(f"not everybody knows protocol {code}")
        size = protocol.size
        if size is None:
            size, at = decode_varint(raw, at)
        value = raw[at : at + size]
        if len(value) < size:
            raise ValueError(f"the value of {protocol.name} is cut short")
        at += size
        yield _Part(start, protocol, value)


def _port(value: bytes) -> str:
    return str(int.from_bytes(value, "big"))


def _ip(value: bytes) -> str:
    return inet_ntop(AF_INET if len(value) == 4 else AF_INET6, value)


def _name(value: bytes) -> str:
    # An internationalised name travels as punycode. Anything else could hide a slash, and with it another address.
    if not re.fullmatch(rb"[A-Za-z0-9._-]{1,253}", value):
        raise ValueError(f"{value!r} is no domain name")
    return value.decode("ascii")


def _peer(value: bytes) -> PeerId:
    if not PeerId.valid(value):
        raise ValueError(f"{value.hex()} is no peer id")
    return PeerId(value)


def _certificate(value: bytes) -> str:
    if len(value) != 34 or not value.startswith(b"\x12\x20"):
        raise ValueError(f"{value.hex()} is no SHA-256 of a certificate")
    return "u" + urlsafe_b64encode(value).decode("ascii").rstrip("=")


# What go-multiaddr, rust-multiaddr and js-multiaddr have in common and a libp2p transport uses. Left out on purpose:
# /memory (js reads its value as text), /ip6zone (means something on one machine only), /unix, /onion and /garlic.
_PROTOCOLS = {
    4: _Protocol("ip4", 4, _ip),
    6: _Protocol("tcp", 2, _port),
    41: _Protocol("ip6", 16, _ip),
    53: _Protocol("dns", None, _name),
    54: _Protocol("dns4", None, _name),
    55: _Protocol("dns6", None, _name),
    56: _Protocol("dnsaddr", None, _name),
    273: _Protocol("udp", 2, _port),
    280: _Protocol("webrtc-direct"),
    281: _Protocol("webrtc"),
    290: _Protocol("p2p-circuit"),
    421: _Protocol("p2p", None, lambda value: str(_peer(value))),
    443: _Protocol("https"),
    448: _Protocol("tls"),
    449: _Protocol("sni", None, _name),
    454: _Protocol("noise"),
    460: _Protocol("quic"),
    461: _Protocol("quic-v1"),
    465: _Protocol("webtransport"),
    466: _Protocol("certhash", None, _certificate),
    477: _Protocol("ws"),
    478: _Protocol("wss"),
    480: _Protocol("http"),
}


def _ranges(*networks: str) -> dict[int, list[tuple[int, int]]]:
    """Masks and first addresses, by the bytes of an address: quicker to look through than networks."""
    ranges: dict[int, list[tuple[int, int]]] = {4: [], 16: []}
    for network in map(ip_network, networks):
        first = network.network_address
        ranges[len(first.packed)].append((int(network.netmask), int(first)))
    return ranges


# The unspecified address leads a dialler back to its own machine (RFC 1122, 3.2.1.3); 127/8 and ::1.
_OWN_MACHINE = _ranges("0.0.0.0/8", "127.0.0.0/8", "::/127")
# RFC 1918, RFC 6598 (carrier-grade NAT), RFC 3927 and RFC 4291 (link-local), RFC 4193 (unique local), RFC 8215 (NAT64 of
# one's own).
_OWN_NETWORK = _ranges(
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16"),
    *("fe80::/10", "fc00::/7", "64:ff9b:1::/48"),
)
# RFC 5771 and RFC 4291, 2.7 (multicast), RFC 1112, section 4 (reserved), and the broadcast address.
_NOBODY = _ranges("224.0.0.0/4", "240.0.0.0/4", "ff00::/8")
# RFC 4291, 2.5.5.2 (mapped), RFC 6052, 2.1 (NAT64) and RFC 3056, section 2 (6to4): what follows is an IPv4 address, and that
# is where a packet comes out, or may.
_BEFORE_IPV4 = (bytes(10) + b"\xff\xff", b"\x00\x64\xff\x9b" + bytes(8), b"\x20\x02")


def _place_of_ip(value: bytes) -> tuple[Scope, str]:
    if len(value) == 16:
        for start in _BEFORE_IPV4:
            if value.startswith(start):
                value = value[len(start) : len(start) + 4]
                break
    number, size = int.from_bytes(value, "big"), len(value)
    if any(number & mask == first for mask, first in _NOBODY[size]):
        raise ValueError(f"nobody can be dialled at {_ip(value)}")
    scope = Scope.PUBLIC
    if any(number & mask == first for mask, first in _OWN_MACHINE[size]):
        scope = Scope.LOOPBACK
    elif any(number & mask == first for mask, first in _OWN_NETWORK[size]):
        scope = Scope.PRIVATE
    leading = 2 if size == 4 else 4
    return scope, f"{_ip(value[:leading] + bytes(size - leading))}/{8 * leading}"


def _place_of_name(value: bytes) -> tuple[Scope, None]:
    # RFC 6761, 6.3 and RFC 6762, 3.
    last_label = _name(value).rstrip(".").rpartition(".")[2].lower()
    return {"localhost": Scope.LOOPBACK, "local": Scope.PRIVATE}.get(last_label, Scope.PUBLIC), None


_PLACES: dict[str, Callable[[bytes], tuple[Scope, str | None]]] = {
    "ip4": _place_of_ip,
    "ip6": _place_of_ip,
    "dns": _place_of_name,
    "dns4": _place_of_name,
    "dns6": _place_of_name,
    "dnsaddr": _place_of_name,
}
