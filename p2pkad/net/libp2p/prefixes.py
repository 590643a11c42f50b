"""Inbound connections, counted by where they come from: nobody fills a host from one corner of the internet.

Peer ids cost nothing, addresses do. Whoever has one has all of the network that a provider gives out at a time, a /24 or a
/48 as a rule. Loopback and private networks are not counted: who is there was let in by somebody else, and all of a home or
a data centre may share one. go's `rcmgr` counts so, too, with other bounds (see `HostConfig.max_connections_per_prefix`).
"""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_network

from p2pkad.core.peers import Scope
from p2pkad.errors import ConfigError
from p2pkad.wire.addresses import parse_address

IPV4_BITS = 24
IPV6_BITS = 48


def public_prefix(host: str | None) -> str | None:
    """The network of a public IP address, as 192.0.2.0/24; None for every other text, and for what is unknown."""
    if host is None:
        return None
    family, bits = ("ip6", IPV6_BITS) if ":" in host else ("ip4", IPV4_BITS)
    try:
        scope = parse_address(f"/{family}/{host}/tcp/1").scope
    except ConfigError:  # with a zone, which is never public
        return None
    return str(ip_network((host, bits), strict=False)) if scope is Scope.PUBLIC else None


class Prefixes:
    """How many connections there are from each. most: at a time from one."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._counts: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many prefixes somebody is connected from."""
        return len(self._counts)

    def enter(self, prefix: str | None) -> bool:
        """One more from there, until it leaves; False when there are enough."""
        if prefix is None:
            return True
        if self._counts[prefix] >= self._most:
            return False
        self._counts[prefix] += 1
        return True

    def leave(self, prefix: str | None) -> None:
        """One that had entered is gone."""
        if prefix is not None:
            self._counts[prefix] -= 1
            if not self._counts[prefix]:
                del self._counts[prefix]
