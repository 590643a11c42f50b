"""Who a node is: key pairs, public keys, signatures, and the text of peer ids.

`Identity` is a node's own key pair and the file it lives in; `PublicKey` is anybody's, for checking what they signed;
`peer_id` reads every form in which people and programs write a peer id. Spec: libp2p "Peer Ids and Keys" (peer-ids.md).

Public keys are read with `cryptography`: the py-libp2p of today reads no ECDSA keys, and takes half a second to import,
which neither validators nor the command line can afford. The private half is libp2p's own, because its host needs it;
libp2p is imported when the first one is made or loaded.
"""

from __future__ import annotations

import logging
import os
import stat
import tempfile
from dataclasses import dataclass, field
from errno import ENOSPC
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Self

import base58
import multibase  # type: ignore[import-untyped]  # it ships no types
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from p2pkad.core.peers import PeerId
from p2pkad.errors import ConfigError, LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:  # libp2p: half a second
    from libp2p.crypto.keys import KeyPair
    from libp2p.peer.id import ID

    AnyPeerId = str | bytes | ID

log = logging.getLogger(__name__)

KEY_FILE = "identity.key"
"""The name of the key file in a node's data directory."""

# A marshalled RSA key of 4096 bits takes 555 bytes, the largest ECDSA key 165.
_MAX_PUBLIC_KEY = 1024
# Likewise 2.4 KB for the private half. What is longer is some other file.
_MAX_KEY_FILE = 16 * 1024
# Up to here a peer id holds the key itself, above its hash (peer-ids.md, "Peer Ids").
_MAX_INLINE_KEY = 42
# Base58 takes 52 characters, base16 of the longest peer id 93. Decoding takes quadratic time.
_MAX_PEER_ID_TEXT = 128
# What go-libp2p accepts from 2048 bits on, and py-libp2p up to 4096; exponents as go's crypto/rsa.
_RSA_BITS = range(2048, 4096 + 1)
_RSA_MAX_EXPONENT = 2**31 - 1
# How a marshalled Ed25519 key begins, in either half: the kind (peer-ids.md, "Keys").
_ED25519 = b"\x08\x01"
# The curves that go reads; rust knows P-256 alone.
_ECDSA_CURVES = (ec.SECP224R1, ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)


class Identity:
    """A node's key pair. Its `repr` shows the end of the peer id and nothing of the private key."""

    __slots__ = ("key_pair", "public_key")

    def __init__(self, key_pair: KeyPair) -> None:
        self.key_pair = key_pair
        self.public_key = PublicKey.from_protobuf(key_pair.public_key.serialize())

    @classmethod
    def generate(cls) -> Self:
        """A new Ed25519 key pair, the kind that every implementation reads. It is written nowhere."""
        from libp2p.crypto.ed25519 import create_new_key_pair  # noqa: PLC0415  # see the head

        return cls(create_new_key_pair())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """The identity in a key file: a marshalled private key, Ed25519, Secp256k1 or RSA, as go-libp2p and kubo write it.

        A file that other users can read is reported through logging, not refused: mounted secrets in containers often
        have group permissions that nobody inside can change.
        Raises ConfigError when there is no such file or no usable key in it; the file is left as it is.
        """
        path = Path(path)
        encoded, mode = _read(path)
        if not encoded:
            raise ConfigError(f"{path}: the key file is empty. Restore it, or delete it to get a new identity")
        try:
            identity = cls(_key_pair(encoded))
        except Exception as error:  # each of the libraries below has its own
            raise ConfigError(
                f"{path}: no private key in libp2p's format that this node can use ({error}). "
                "Restore the file, or move it away to get a new identity"
            ) from error
        if mode & 0o077:
            log.warning("%s: others can read or replace this key file (mode %03o); chmod 600 mends it", path, mode)
        return identity

    @classmethod
    def load_or_create(cls, path: str | os.PathLike[str]) -> Self:
        """The identity in a key file, made when there is none: mode 600, in a directory of mode 700 where that is new.

        The file appears whole or not at all, and never replaces another: of several processes that start at once, all
        end with the same key. Raises ConfigError as `load`, and when the file cannot be made.
        """
        path = Path(path)
        if os.path.lexists(path):
            return cls.load(path)
        identity = cls.generate()
        try:
            identity._write(path)
        except FileExistsError:  # somebody was quicker
            return cls.load(path)
        return identity

    @classmethod
    def in_directory(cls, directory: str | os.PathLike[str]) -> Self:
        """The identity of a data directory, made when there is none. Raises ConfigError as `load_or_create`.

        The key alone is touched: a node may be running on the directory.
        """
        return cls.load_or_create(Path(directory) / KEY_FILE)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the key file: mode 600, in a directory of mode 700 where that is new; whole or not at all.

        Raises ConfigError when there is a file already, which stays as it is, or none can be made.
        """
        try:
            self._write(Path(path))
        except FileExistsError as error:
            raise ConfigError(f"{path}: there is a file already, which may be another identity. Move it away first") from error

    @property
    def id(self) -> PeerId:
        """The peer id that belongs to the key."""
        return self.public_key.id

    def sign(self, data: bytes) -> bytes:
        """The signature over `data`, as `public_key.verify` checks it."""
        return self.key_pair.private_key.sign(data)

    def __repr__(self) -> str:
        return f"<identity {str(self.id)[-6:]}>"

    def _write(self, path: Path) -> None:
        """Raises FileExistsError; ConfigError for anything else that is in the way."""
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _create(path, self._marshalled())
        except FileExistsError:
            raise
        except OSError as error:
            help_ = "Make room" if error.errno == ENOSPC else "Make its directory writable"
            raise ConfigError(
                f"{path}: cannot create the key file ({error.strerror}). {help_}, or name another place"
            ) from error

    def _marshalled(self) -> bytes:
        if self.public_key.to_protobuf()[:2] != _ED25519:
            return self.key_pair.private_key.serialize()
        # 64 bytes, private then public half (peer-ids.md, "Ed25519"). py-libp2p marshals the private half alone, which
        # go refuses.
        return b"\x08\x01\x12\x40" + self.key_pair.private_key.to_bytes() + self.key_pair.public_key.to_bytes()


_Key = Ed25519PublicKey | ec.EllipticCurvePublicKey | RSAPublicKey


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key: Ed25519, Secp256k1, RSA or ECDSA. Equal when the encodings are, of which each key has one."""

    _encoded: bytes
    _key: _Key = field(compare=False)

    @classmethod
    def from_protobuf(cls, encoded: bytes) -> Self:
        """Read a marshalled key. Raises RemoteProtocolError for anything but a usable key in its canonical encoding.

        Canonical, because a peer id is made of these bytes: with a second encoding a key would have a second id.
        """
        if len(encoded) > _MAX_PUBLIC_KEY:
            raise RemoteProtocolError(f"public key: {len(encoded)} bytes, the largest key takes {_MAX_PUBLIC_KEY}")
        try:
            key = _unmarshalled(encoded)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise RemoteProtocolError("public key: not readable") from error
        if _marshalled(key) != encoded:
            raise RemoteProtocolError("public key: not in its canonical encoding")
        return cls(encoded, key)

    def to_protobuf(self) -> bytes:
        """The marshalled key."""
        return self._encoded

    def verify(self, data: bytes, signature: bytes) -> bool:
        """Whether `signature` is this key's over `data`. A malformed signature is a wrong one."""
        try:
            match self._key:
                case Ed25519PublicKey() as key:
                    key.verify(signature, data)
                case RSAPublicKey() as key:
                    key.verify(signature, data, PKCS1v15(), SHA256())
                case key:
                    key.verify(signature, data, ec.ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True

    @property
    def id(self) -> PeerId:
        """The peer id, a multihash: of the encoded key itself where that is short, else of its SHA-256."""
        if len(self._encoded) <= _MAX_INLINE_KEY:
            return PeerId(bytes((0x00, len(self._encoded))) + self._encoded)
        return PeerId(b"\x12\x20" + sha256(self._encoded).digest())

    def __repr__(self) -> str:
        return f"<public key of {str(self.id)[-6:]}>"


def peer_id(value: AnyPeerId) -> PeerId:
    """The peer id that is meant: base58 (12D3Koo…, Qm…), the CIDv1 of a libp2p key in any base, its bytes, or libp2p's ID.

    Raises LocalProtocolError, with the text, for anything else. peer-ids.md, "String representation".
    """
    if isinstance(value, str):
        return _from_text(value)
    if not isinstance(value, bytes) and (isinstance(value, int) or not hasattr(value, "to_bytes")):
        raise LocalProtocolError(f"a {type(value).__name__} is no peer id; give it as text, as bytes or as libp2p's ID")
    raw = value if isinstance(value, bytes) else value.to_bytes()
    if not PeerId.valid(raw):
        raise LocalProtocolError(f"hex:{raw[:_MAX_PEER_ID_TEXT].hex()}: no peer id; expected the multihash of a public key")
    return PeerId(raw)


def _from_text(text: str) -> PeerId:
    # A CIDv1 begins with the letter of its base, b or k as a rule; a base58 id always with one of these two.
    as_cid = not text.startswith(("1", "Qm"))
    try:
        if len(text) > _MAX_PEER_ID_TEXT:
            raise ValueError("too long")
        raw: bytes = multibase.decode(text) if as_cid else base58.b58decode(text)
    except ValueError as error:
        raise _no_peer_id(text) from error
    if as_cid:
        # CID version 1, multicodec libp2p-key.
        if not raw.startswith(b"\x01\x72"):
            raise _no_peer_id(text)
        raw = raw[2:]
    if not PeerId.valid(raw):
        raise _no_peer_id(text)
    return PeerId(raw)


def _no_peer_id(text: str) -> LocalProtocolError:
    shown = text if len(text) <= _MAX_PEER_ID_TEXT else f"{text[:_MAX_PEER_ID_TEXT]}…"
    return LocalProtocolError(
        f"{shown!r}: no peer id; expected base58 (12D3Koo…, Qm…) or the CID of a libp2p key (k51q…, bafz…)"
    )


def _unmarshalled(encoded: bytes) -> _Key:
    # A tag, the kind, a tag, the length of the rest in one or two bytes. Only the kind is looked at here: if a byte of the
    # others is wrong, so is the comparison with what `_marshalled` makes.
    kind, data = encoded[1:2], encoded[4:] if len(encoded) < 4 + 0x80 else encoded[5:]
    match kind:
        case b"\x01":
            return Ed25519PublicKey.from_public_bytes(data)
        case b"\x02":
            return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), data)
        case b"\x00" | b"\x03":
            return _usable(load_der_public_key(data))
    raise RemoteProtocolError(f"public key: of unknown kind {kind.hex() or 'none'}")


def _usable(key: object) -> RSAPublicKey | ec.EllipticCurvePublicKey:
    match key:
        case RSAPublicKey() if key.key_size in _RSA_BITS and key.public_numbers().e <= _RSA_MAX_EXPONENT:
            return key
        case ec.EllipticCurvePublicKey() if isinstance(key.curve, _ECDSA_CURVES):
            return key
    raise RemoteProtocolError("public key: its size, exponent or curve is not one that libp2p uses")


def _marshalled(key: _Key) -> bytes:
    """The canonical encoding (peer-ids.md, "Keys"): both fields, in order, with the shortest length."""
    match key:
        case RSAPublicKey():
            kind, data = 0, key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        case Ed25519PublicKey():
            kind, data = 1, key.public_bytes_raw()
        case ec.EllipticCurvePublicKey(curve=ec.SECP256K1()):
            kind, data = 2, key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        case _:
            kind, data = 3, key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    size = len(data)
    length = bytes((size,)) if size < 0x80 else bytes((size & 0x7F | 0x80, size >> 7))
    return bytes((0x08, kind, 0x12)) + length + data


def _key_pair(encoded: bytes) -> KeyPair:
    """Read a marshalled private key. Raises whatever the libraries raise for one that they cannot use."""
    from libp2p.crypto.ed25519 import Ed25519PrivateKey  # noqa: PLC0415  # see the head
    from libp2p.crypto.keys import KeyPair, KeyType, PrivateKey  # noqa: PLC0415
    from libp2p.crypto.serialization import deserialize_private_key  # noqa: PLC0415

    message = PrivateKey.deserialize_from_protobuf(encoded)
    if message.key_type != KeyType.Ed25519.value:
        private = deserialize_private_key(encoded)
        return KeyPair(private, private.get_public_key())
    # Two halves, in old files the second one twice (peer-ids.md, "Ed25519"). py-libp2p knows the first half alone; such a
    # file is refused, as by go: it looks like a public key, and a published key must never become a private one.
    private = Ed25519PrivateKey.from_bytes(message.data[:32])
    public = private.get_public_key()
    if message.data[32:] not in (public.to_bytes(), 2 * public.to_bytes()):
        raise ValueError("an Ed25519 key is its private half and the public half that belongs to it, 64 bytes")
    return KeyPair(private, public)


def _read(path: Path) -> tuple[bytes, int]:
    """What is in it, and its mode."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(_MAX_KEY_FILE)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: there is no key file. Check the path; a node with a data_dir makes its own") from error
    except NotADirectoryError as error:
        raise ConfigError(f"{path.parent}: not a directory. Name another one") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the key file ({error.strerror}). Make it readable, or name another") from error
    return content, mode


def _create(path: Path, content: bytes) -> None:
    """Make a file of mode 600 that is whole or not there. Raises FileExistsError, with nothing changed, when it exists."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)  # a rename would replace the key of a process that was quicker
    finally:
        os.unlink(temporary)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)  # the name, too, survives a power cut
    finally:
        os.close(directory)
