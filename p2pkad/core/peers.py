"""Peers: who they are and where they can be reached.

A `PeerId` names a peer, an `Address` is one place to dial, a `PeerInfo` is both together as it travels in messages.
All are values. Bytes from the wire become addresses in `p2pkad.wire.addresses`, text becomes peer ids in `p2pkad.identity`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

# A marshalled key of up to so many bytes is its own peer id; of longer ones the id is the SHA-256.
_MAX_INLINE_KEY = 42


class PeerId(bytes):
    """The bytes of a peer id: the multihash of a public key (libp2p specification, "Peer Ids").

    It is bytes, so that it hashes, compares and goes into messages as it is. `str()` is base58, what people type.
    """

    __slots__ = ()

    # Written here rather than taken from the base58 package: core has the standard library only, and a printed form
    # that depends on which other module was imported would be a trap. Reading text is `identity.peer_id`.
    def __str__(self) -> str:
        number = int.from_bytes(self, "big")
        digits = []
        while number:
            number, digit = divmod(number, 58)
            digits.append(_BASE58[digit])
        zeros = len(self) - len(self.lstrip(b"\0"))
        return _BASE58[0] * zeros + "".join(reversed(digits))

    def __repr__(self) -> str:
        return f"<peer {str(self)[-6:]}>"

    @staticmethod
    def valid(raw: bytes) -> bool:
        """Whether bytes are a peer id: an identity multihash of 1 to 42 bytes, or a SHA-256 one ("Peer Ids")."""
        if raw[:1] == b"\x00":
            return len(raw) > 2 and raw[1] == len(raw) - 2 <= _MAX_INLINE_KEY
        return raw[:2] == b"\x12\x20" and len(raw) == 34


class Scope(IntEnum):
    """How far an address reaches; wider is larger."""

    LOOPBACK = 0
    PRIVATE = 1  # private, link-local, carrier-grade NAT, unique local
    PUBLIC = 2


@dataclass(frozen=True, slots=True)
class Address:
    """One place to dial, parsed once at the border. Equal when the bytes are.

    raw: the multiaddr in binary, without a trailing /p2p/<id>.
    text: the same as people write it.
    ip_group: what diversity limits count, the /16 of an IPv4 or the /32 of an IPv6 address, as text; None for a name.
    down_to: of a name, how near the addresses that it turns out to stand for may be. One that was typed may lead anywhere,
    one that was told no nearer than its teller is believed to know (`core.scope`).
    """

    raw: bytes
    text: str
    scope: Scope
    ip_group: str | None = None
    down_to: Scope = field(default=Scope.LOOPBACK, compare=False)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<{self.text}>"


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """A peer and the addresses it was heard of at, best first. Without addresses only a connected peer can be asked."""

    id: PeerId
    addresses: tuple[Address, ...] = ()
    _groups: tuple[str, ...] | None = field(default=None, init=False, repr=False, compare=False)
    """`public_groups`, once somebody has asked for them."""

    @property
    def public_groups(self) -> tuple[str, ...]:
        """What diversity limits count of it: the groups of its public addresses, each once."""
        if self._groups is None:  # worked out once: each reply that names the peer asks for it
            groups = [each.ip_group for each in self.addresses if each.scope is Scope.PUBLIC and each.ip_group is not None]
            object.__setattr__(self, "_groups", tuple(dict.fromkeys(groups)))
        return self._groups or ()

    def __repr__(self) -> str:
        return f"<peer {str(self.id)[-6:]} at {len(self.addresses)}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerDescription:
    """What a connected peer said of itself when it was asked to identify itself; nothing of it is proved.

    agent: the program and its version, as text of any kind. protocols: the ids that it answers. addresses: where it says it
    can be reached. observed: where it sees this node's end of the connection; None when it did not say.
    """

    agent: str
    protocols: frozenset[str]
    addresses: tuple[Address, ...]
    observed: Address | None = None


def merged(infos: Iterable[PeerInfo]) -> tuple[PeerInfo, ...]:
    """The same peers, each once, with all of its addresses in the order they were given in."""
    addresses: dict[PeerId, dict[Address, None]] = {}
    for info in infos:
        addresses.setdefault(info.id, {}).update(dict.fromkeys(info.addresses))
    return tuple(PeerInfo(peer, tuple(places)) for peer, places in addresses.items())
