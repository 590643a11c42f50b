"""Addresses with a name in them, resolved when they are dialled: each time anew, within bounds.

    /dns/NAME/…  /dns4/…  /dns6/…   the same address with each IP address of the name in its place
    /dnsaddr/NAME                    what the TXT records of _dnsaddr.NAME say of the peer, resolved further

Whoever owns a name can let it lead anywhere, into the network of whoever dials it, too: no nearer than its teller is believed.

multiaddr specification, "DNS" and "dnsaddr".
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from functools import partial
from ipaddress import ip_address
from typing import Protocol

import dns.asyncresolver
import dns.exception
import dns.resolver
import trio

from p2pkad.core.peers import Address, PeerId
from p2pkad.errors import ConfigError
from p2pkad.wire.addresses import parse_address, parse_peer

MAX_DEPTH = 4
"""TXT records that may lead to one another. libp2p's own bootstrap list has two."""
MAX_QUESTIONS = 32
"""Questions that one address may cause. As go."""
MAX_FOUND = 32
"""Addresses that one address may stand for."""
MAX_THREADS = 8
"""Names that a resolver asks this machine for at a time. A thread goes on after its deadline, for as long as the machine looks:
those that strangers told have a resolver of their own, so that whoever typed one need not wait for them."""
_VERSIONS = {"dns": (4, 6), "dns4": (4,), "dns6": (6,)}


class NameFailed(Exception):
    """A name leads nowhere. The text names it and says why."""


class Resolver(Protocol):
    """Who knows names. Both raise NameFailed; the caller brings the deadline."""

    async def addresses(self, name: str, version: int) -> list[str]:
        """The IP addresses of a name; version is 4 or 6."""
        ...

    async def texts(self, name: str) -> list[str]:
        """The TXT records of a name."""
        ...


class SystemResolver:
    """Asks as every program of this machine does: its hosts file included. TXT records come from its name servers."""

    def __init__(self) -> None:
        # Of its own: names may take long, and the process has other use for its threads.
        self._threads = trio.CapacityLimiter(MAX_THREADS)

    async def addresses(self, name: str, version: int) -> list[str]:
        """See `Resolver`."""
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        try:
            found = await trio.to_thread.run_sync(
                partial(socket.getaddrinfo, name, None, family=family, type=socket.SOCK_STREAM),
                abandon_on_cancel=True,  # type: ignore[call-arg]  # trio-typing, which libp2p brings, has the older name
                limiter=self._threads,
            )
        except (OSError, UnicodeError) as error:
            raise NameFailed(f"{name}: {getattr(error, 'strerror', None) or error}") from error
        return [str(entry[4][0]) for entry in found]

    async def texts(self, name: str) -> list[str]:
        """See `Resolver`."""
        try:
            # Each time anew: a machine that has moved has other name servers.
            return await ServerResolver(dns.asyncresolver.Resolver()).texts(name)
        except dns.resolver.NoResolverConfiguration as error:
            raise NameFailed(f"{name}: this machine knows no name server") from error


class ServerResolver:
    """Asks the name servers of a dnspython resolver, and nobody else."""

    def __init__(self, asked: dns.asyncresolver.Resolver) -> None:
        self._asked = asked

    async def addresses(self, name: str, version: int) -> list[str]:
        """See `Resolver`."""
        return [record.to_text() for record in await self._ask(name, "A" if version == 4 else "AAAA")]

    async def texts(self, name: str) -> list[str]:
        """See `Resolver`."""
        return [b"".join(record.strings).decode("ascii", "replace") for record in await self._ask(name, "TXT")]

    async def _ask(self, name: str, kind: str) -> dns.resolver.Answer:
        try:
            return await self._asked.resolve(name, kind)
        except dns.resolver.NXDOMAIN as error:
            raise NameFailed(f"{name}: there is no such name") from error
        except dns.resolver.NoAnswer as error:
            raise NameFailed(f"{name}: it has no {kind} record") from error
        except (dns.exception.DNSException, OSError) as error:
            raise NameFailed(f"{name}: no name server has an answer") from error


def is_name(address: Address) -> bool:
    """Whether an address has to be resolved before it can be dialled."""
    return address.text.split("/")[1] in (*_VERSIONS, "dnsaddr")


async def resolve(
    address: Address, peer: PeerId, resolver: Resolver, leads_on: Callable[[Address], bool] = is_name
) -> list[Address]:
    """The addresses that `address` of `peer` stands for, MAX_FOUND at most, none nearer than it may lead.

    leads_on: says which are to be resolved; other names stay as they are. The caller brings the deadline. Raises NameFailed
    when there are none.
    """
    search = _Search(peer, resolver, leads_on)
    found = [each async for each in search.follow(address, 0)]
    believed = [each for each in found if each.scope >= address.down_to]
    if believed:
        return believed[:MAX_FOUND]
    name = address.text.split("/")[2]
    if found:
        ip = found[0].text.split("/")[2]
        raise NameFailed(f"{name}: it leads to {ip}, which is nearer than those who told of it are believed to know")
    raise search.failure or NameFailed(f"{name}: it says nothing of this peer")


class _Search:
    def __init__(self, peer: PeerId, resolver: Resolver, leads_on: Callable[[Address], bool]) -> None:
        self._peer = peer
        self._resolver = resolver
        self._leads_on = leads_on
        self._questions = 0
        self.failure: NameFailed | None = None

    async def follow(self, address: Address, depth: int) -> AsyncIterator[Address]:
        if not self._leads_on(address):
            yield address
            return
        _, kind, name, *rest = address.text.split("/")
        if kind != "dnsaddr":
            for version in _VERSIONS[kind]:
                for ip in await self._addresses(name, version):
                    try:
                        found = parse_address("/".join(("", f"ip{version}", ip, *rest)))
                    except ConfigError:
                        self.failure = self.failure or NameFailed(f"{name}: it leads to {ip}, where nobody can be dialled")
                        continue
                    yield found
        elif depth < MAX_DEPTH:
            for text in await self._texts(f"_dnsaddr.{name}"):
                further = self._told(text)
                if further is not None:
                    async for each in self.follow(further, depth + 1):
                        yield each

    def _told(self, text: str) -> Address | None:
        # Other peers' records, and those of transports that nobody here knows, stand beside ours.
        key, _, value = text.partition("=")
        if key != "dnsaddr":
            return None
        try:
            info = parse_peer(value)
        except ConfigError:
            return None
        return info.addresses[0] if info.id == self._peer else None

    async def _addresses(self, name: str, version: int) -> list[str]:
        if not self._may_ask():
            return []
        try:
            found = await self._resolver.addresses(name, version)
        except NameFailed as error:
            self.failure = self.failure or error
            return []
        return [each for each in found if ip_address(each.partition("%")[0]).version == version and "%" not in each]

    async def _texts(self, name: str) -> list[str]:
        if not self._may_ask():
            return []
        try:
            return await self._resolver.texts(name)
        except NameFailed as error:
            self.failure = self.failure or error
            return []

    def _may_ask(self) -> bool:
        self._questions += 1
        return self._questions <= MAX_QUESTIONS
