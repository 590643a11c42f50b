"""Keys of providers: the multihash of what is provided.

Peers that provide and peers that search have to mean the same key, whatever form of content id each of them was given: CIDs
of different versions and codecs have one multihash. js reads the key by the rules of CIDs, which SHA-256 always satisfies.

kad-dht r2, "Content provider advertisement and discovery"; multiformats multihash and CID.
"""

from __future__ import annotations

import re
import reprlib
from hashlib import sha256
from typing import Protocol

import base58
import multibase  # type: ignore[import-untyped]  # it ships no types
from multihash.constants import CODE_HASHES  # type: ignore[import-untyped]  # it ships no types

from p2pkad.errors import LocalProtocolError
from p2pkad.wire.framing import decode_varint

# As go, which refuses longer keys; a digest of 64 bytes makes 66 to 68.
MAX_PROVIDER_KEY = 80
"""Bytes of the longest key that has providers."""

# Such a key as a CID in base 2. Decoding takes quadratic time.
_MAX_TEXT = 8 * (MAX_PROVIDER_KEY + 10)


class HasMultihash(Protocol):
    """A CID of the py-cid library, or of any other that calls it so."""

    @property
    def multihash(self) -> bytes:
        """The multihash in binary."""
        ...


Content = bytes | str | HasMultihash
"""What is provided: a multihash, the text of a CID or of a multihash in hex, a CID."""


def content_key(data: bytes) -> bytes:
    """The key for the content itself: its SHA-256 as a multihash, 34 bytes. Every implementation takes it."""
    return b"\x12\x20" + sha256(data).digest()


def multihash_of(content: Content) -> bytes:
    """The key under which `content` has its providers, 3 to 80 bytes.

    Raises LocalProtocolError when it names none: of the content itself `content_key` makes one.
    """
    key: object
    if isinstance(content, str):
        key = _from_text(content)
    else:
        key = content if isinstance(content, bytes) else getattr(content, "multihash", None)
    if not isinstance(key, bytes) or not _is_multihash(key):
        raise LocalProtocolError(f"{reprlib.repr(content)} is neither a CID nor a multihash, which as text is in hex")
    return bytes(key)


def _from_text(text: str) -> bytes | None:
    if len(text) > _MAX_TEXT:
        return None
    # No CID looks like it: in hex they begin with f, and have an odd length.
    if re.fullmatch("(?:[0-9a-fA-F]{2})+", text):
        return bytes.fromhex(text)
    try:
        if text.startswith("Qm"):
            return base58.b58decode(text)
        cid: bytes = multibase.decode(text)
        version, at = decode_varint(cid, 0)
        _codec, at = decode_varint(cid, at)
    except ValueError:
        return None
    return cid[at:] if version == 1 else None


def _is_multihash(key: bytes) -> bool:
    try:
        code, at = decode_varint(key, 0)
        length, at = decode_varint(key, at)
    except ValueError:
        return False
    return code in CODE_HASHES and 0 < length == len(key) - at and len(key) <= MAX_PROVIDER_KEY
