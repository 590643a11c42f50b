"""The key space: where peers and records live, and how far apart.

A key is an integer of `bits` bits. Peers and records are mapped into the space by a hash; the distance of two keys is
their XOR, read as an integer. Paper: Maymounkov and Mazieres, "Kademlia", section 2; kad-dht r2, "Kademlia keyspace".

The width is a parameter: tests use spaces of 8 bits, in which each case can be enumerated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

Key = int
"""A point of the key space: 0 <= key < 2**bits."""


@dataclass(frozen=True, slots=True)
class KeySpace:
    """A width in bits, and the hash that maps names (peer ids, record keys: bytes) to keys."""

    bits: int
    key: Callable[[bytes], Key]

    def common_prefix(self, a: Key, b: Key) -> int:
        """How many leading bits two keys share: 0 to `bits`. The further down, the nearer."""
        return self.bits - (a ^ b).bit_length()


# Each reply names twenty peers, and the same ones again and again: hashing them took more time than all else about them,
# and even asking whether they were hashed before is worth doing by a look into a dict and nothing else.
_REMEMBERED = 10_000
# A peer id has 34 to 42 bytes; what is longer may be very long, and is not kept.
_SHORT = 64


class _Keys(dict[bytes, Key]):
    """The keys of names, worked out when they are asked for. Those of short names stay until there are too many."""

    def __missing__(self, name: bytes) -> Key:
        key = int.from_bytes(sha256(name).digest(), "big")
        if len(name) <= _SHORT:
            if len(self) >= _REMEMBERED:
                self.clear()
            self[name] = key
        return key


sha256_key: Callable[[bytes], Key] = _Keys().__getitem__
"""The key of a peer id or of a record key: SHA-256 of its bytes, big-endian."""


def distance(a: Key, b: Key) -> int:
    """The XOR metric: 0 for equal keys, symmetric, and for each key and distance there is exactly one other key."""
    return a ^ b


SHA256 = KeySpace(bits=256, key=sha256_key)
"""The space that every libp2p Kademlia network uses."""
