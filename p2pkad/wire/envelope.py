"""Signed envelopes <-> bytes (libp2p RFC 0002), and the signed value that p2pkad puts into one. No cryptography here.

Both have one encoding only, the fields in order and nothing else: a stranger must not be able to make a second record, with
another rank among its equals, out of a record that somebody signed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from google.protobuf.message import DecodeError

from p2pkad.errors import RemoteProtocolError
from p2pkad.wire.framing import encode_varint
from p2pkad.wire.pb import envelope_pb2 as pb


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload, what kind of payload it is, who signed it (a marshalled public key), and the signature."""

    public_key: bytes
    payload_type: bytes
    payload: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class SignedValue:
    """A value and the key it is for. sequence: when it was signed, lifetime: from then on; both in milliseconds."""

    key: bytes
    sequence: int
    lifetime: int
    value: bytes


def signed_bytes(domain: str, payload_type: bytes, payload: bytes) -> bytes:
    """What an envelope's signature is made over. RFC 0002, "Signature Production / Verification"."""
    return b"".join(encode_varint(len(part)) + part for part in (domain.encode(), payload_type, payload))


def encode_envelope(envelope: Envelope) -> bytes:
    """The bytes of an envelope."""
    return pb.Envelope(**asdict(envelope)).SerializeToString()


def decode_envelope(data: bytes) -> Envelope:
    """Read an envelope; nothing in it is checked. Raises RemoteProtocolError when it is not exactly one, and complete."""
    try:
        read = pb.Envelope.FromString(data)
    except DecodeError as error:
        raise RemoteProtocolError("envelope: not readable") from error
    envelope = Envelope(read.public_key, read.payload_type, read.payload, read.signature)
    if encode_envelope(envelope) != data:
        raise RemoteProtocolError("envelope: not in its canonical encoding")
    if not all((envelope.public_key, envelope.payload_type, envelope.payload, envelope.signature)):
        raise RemoteProtocolError("envelope: incomplete")
    return envelope


def encode_signed_value(signed: SignedValue) -> bytes:
    """The payload for a value. Its numbers are 0 to 2**64 - 1."""
    return pb.SignedValue(**asdict(signed)).SerializeToString()


def decode_signed_value(data: bytes) -> SignedValue:
    """Read a payload. Raises RemoteProtocolError when it is not exactly one, and complete; the value may be empty."""
    try:
        read = pb.SignedValue.FromString(data)
    except DecodeError as error:
        raise RemoteProtocolError("signed value: not readable") from error
    signed = SignedValue(read.key, read.sequence, read.lifetime, read.value)
    if encode_signed_value(signed) != data:
        raise RemoteProtocolError("signed value: not in its canonical encoding")
    if not all((signed.key, signed.sequence, signed.lifetime)):
        raise RemoteProtocolError("signed value: incomplete")
    return signed
