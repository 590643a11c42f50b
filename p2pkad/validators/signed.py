"""Values that somebody signed: libp2p's signed envelope (RFC 0002) around a value, its key, its age and its lifetime.

The bytes of a record, both messages in protobuf (protos/envelope.proto), each with this one encoding:

    Envelope                              SignedValue, the payload
    1 public_key    marshalled            1 key        the record's key, all of it
    2 payload_type  b"/p2pkad/…"          2 sequence   milliseconds since 1970, when it was signed
    3 payload                             3 lifetime   milliseconds from then on
    5 signature                           4 value      the application's

The signature is over the domain (which is not sent), the payload type and the payload, each behind its length as a varint.
The key inside keeps a record from being replayed under another one, the domain and the type keep what was signed for one
purpose from serving another. The larger sequence wins; since it is a time, nobody can sign a record that stands for ever.

Who may sign for a key is the application's rule; without one, anybody may, and the newest stands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from p2pkad.core.peers import PeerId
from p2pkad.errors import InvalidRecord, LocalProtocolError, RemoteProtocolError, key_text
from p2pkad.identity import Identity, PublicKey
from p2pkad.wire.envelope import (
    Envelope,
    SignedValue,
    decode_envelope,
    decode_signed_value,
    encode_envelope,
    encode_signed_value,
    signed_bytes,
)

DOMAIN = "p2pkad-signed-record"
"""The domain unless another is given: text that is unique to one purpose of signatures."""

PAYLOAD_TYPE = b"/p2pkad/signed-record"
"""The payload type unless another is given. A path is one of the forms that RFC 0002, "Type Hinting", has."""

# What fits into the fields.
_MAX_MILLISECONDS = 2**64 - 1

Rule = Callable[[bytes, PeerId], bool]
"""Given a record key and the peer that signed for it: may it?"""


@dataclass(frozen=True, slots=True)
class SignedRecord:
    """What was inside an envelope whose signature holds.

    sequence: when it was signed, in milliseconds since 1970. expires: when its lifetime ends, in wall seconds.
    """

    key: bytes
    value: bytes
    sequence: int
    expires: float
    signer: PeerId


def sign_record(
    identity: Identity,
    key: bytes,
    value: bytes,
    *,
    sequence: int,
    lifetime: float,
    domain: str = DOMAIN,
    payload_type: bytes = PAYLOAD_TYPE,
) -> bytes:
    """The bytes to put under `key`, and under no other.

    sequence: the time in milliseconds since 1970, and more than that of the record it replaces. lifetime: seconds.
    Raises LocalProtocolError when one of them is not above 0 or too large, or `key` or `payload_type` is empty.
    """
    if not key or not payload_type:
        raise LocalProtocolError("a signed record needs a key and a payload type")
    milliseconds = round(lifetime * 1000) if 0 < lifetime < float("inf") else 0
    for name, number in (("sequence", sequence), ("lifetime in milliseconds", milliseconds)):
        if not 0 < number <= _MAX_MILLISECONDS:
            raise LocalProtocolError(f"a signed record's {name} is 1 to 2**64 - 1, not {number}")
    payload = encode_signed_value(SignedValue(key, sequence, milliseconds, value))
    signature = identity.sign(signed_bytes(domain, payload_type, payload))
    return encode_envelope(Envelope(identity.public_key.to_protobuf(), payload_type, payload, signature))


def open_record(key: bytes, record: bytes, *, domain: str = DOMAIN, payload_type: bytes = PAYLOAD_TYPE) -> SignedRecord:
    """What is in a record from under `key`. Raises InvalidRecord unless it was signed, for this key, domain and type.

    Neither its age nor who signed it is judged: that is `SignedRecordValidator.validate`.
    """
    try:
        envelope = decode_envelope(record)
        if envelope.payload_type != payload_type:
            raise InvalidRecord(key, f"its payload type is {key_text(envelope.payload_type)}, not {key_text(payload_type)}")
        signer = PublicKey.from_protobuf(envelope.public_key)
        if not signer.verify(signed_bytes(domain, payload_type, envelope.payload), envelope.signature):
            raise InvalidRecord(key, f"the signature is not one of {signer.id} over this payload in the domain {domain!r}")
        signed = decode_signed_value(envelope.payload)
    except RemoteProtocolError as error:
        raise InvalidRecord(key, error.reason) from error
    if signed.key != key:
        raise InvalidRecord(key, f"it was signed for another key, {key_text(signed.key)}")
    return SignedRecord(key, signed.value, signed.sequence, _expires(signed), signer.id)


def anybody(key: bytes, signer: PeerId) -> bool:
    """The rule that has no rule."""
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRecordValidator:
    """Accepts signed records. The larger sequence wins, of equal ones the record with the larger bytes.

    domain, payload_type: as given to `sign_record`. max_ahead: seconds that a sequence may be ahead of the reader's clock.
    authorised: who may sign for a key.
    """

    domain: str = DOMAIN
    payload_type: bytes = PAYLOAD_TYPE
    max_ahead: float = 600.0
    authorised: Rule = anybody

    def validate(self, key: bytes, value: bytes, now: float) -> None:
        """Raises InvalidRecord, with what is wrong: the envelope, type, signature, key, signer, sequence or age."""
        record = open_record(key, value, domain=self.domain, payload_type=self.payload_type)
        if not self.authorised(key, record.signer):
            raise InvalidRecord(key, f"{record.signer} may not sign for this key")
        if record.sequence / 1000 > now + self.max_ahead:
            raise InvalidRecord(key, f"its sequence is a time more than {self.max_ahead:g} seconds ahead of the clock")
        if record.expires <= now:
            raise InvalidRecord(key, f"it expired {now - record.expires:.0f} seconds ago")

    def select(self, key: bytes, values: Sequence[bytes]) -> int:
        """The index of the newest of several valid values."""
        ranks = [(_content(key, value).sequence, value) for value in values]
        return ranks.index(max(ranks))

    def expires(self, key: bytes, value: bytes) -> float:
        """When a valid value is past its lifetime, in wall seconds."""
        return _expires(_content(key, value))


def _content(key: bytes, value: bytes) -> SignedValue:
    """What a valid value says, without checking its signature again."""
    try:
        return decode_signed_value(decode_envelope(value).payload)
    except RemoteProtocolError as error:
        raise InvalidRecord(key, error.reason) from error


def _expires(signed: SignedValue) -> float:
    return (signed.sequence + signed.lifetime) / 1000
