"""Names that lead to content: the namespace `ipns`, whose records are signed by the key that the name is made of.

The key is `/ipns/` and the bytes of a peer id, not its text. The value is an entry of the form that `p2pkad.wire.ipns`
describes. What counts in it are the data that the v2 signature covers: where the name leads to, a sequence, an end of life.
The signature of v1 proves nothing (it covers neither sequence nor ttl), so entries that have no other are refused.

The larger sequence wins, then the later end of life, then the larger bytes, as in go. Unlike the sequence of a signed record
this one is a plain number, and nobody else can write it: it is not compared with a clock.
IPNS specification, "Record Verification"; boxo (go) and js ipns agree with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from p2pkad.core.peers import PeerId
from p2pkad.errors import InvalidRecord, LocalProtocolError, RemoteProtocolError
from p2pkad.identity import Identity, PublicKey
from p2pkad.wire.ipns import (
    IpnsData,
    IpnsEntry,
    decode_data,
    decode_entry,
    encode_data,
    encode_entry,
    signed_bytes,
    signed_bytes_v1,
    write_time,
)

_PREFIX = b"/ipns/"

# IPNS specification, "Record Size Limit".
_MAX_RECORD = 10 * 1024
# The specification has 64 bits; go reads these as signed.
_MAX_NUMBER = 2**63 - 1
# RFC 3339 has years of four digits: 9999-12-31T23:59:59Z.
_LAST_SECOND = 253_402_300_799
_NANO = 10**9


@dataclass(frozen=True, slots=True)
class IpnsRecord:
    """What a record says whose signature holds.

    name: whose name it is. value: where it leads, a content path as a rule. expires: its end of life, in wall seconds.
    ttl: seconds that a reader may go on using it without asking again; it is a hint.
    """

    name: PeerId
    value: bytes
    sequence: int
    expires: float
    ttl: float


def sign_ipns_record(identity: Identity, value: bytes, *, sequence: int, expires: float, ttl: float = 300.0) -> bytes:
    """The bytes to put under `b"/ipns/" + identity.id`, readable with v1 and v2, as go makes them.

    value: a content path, as b"/ipfs/bafy…". sequence: more than that of the record it replaces; the first one is 0.
    expires: wall seconds. ttl: seconds; five minutes are what the specification proposes.
    Raises LocalProtocolError when `value` is no path, one of the others cannot be written, or the record takes over 10 KiB.
    """
    if not value.startswith(b"/"):
        raise LocalProtocolError("the value of an IPNS record is a content path, as /ipfs/bafy…")
    if not 0 <= expires <= _LAST_SECOND:
        raise LocalProtocolError(f"an IPNS record expires between 1970 and the year 9999, not {expires:g} seconds after 1970")
    nanoseconds = _nanoseconds(ttl) if 0 <= ttl < float("inf") else -1
    for name, number in (("sequence", sequence), ("ttl in nanoseconds", nanoseconds)):
        if not 0 <= number <= _MAX_NUMBER:
            raise LocalProtocolError(f"an IPNS record's {name} is 0 to 2**63 - 1, not {number}")
    record = _signed(identity, IpnsData(value, write_time(_nanoseconds(expires)), sequence, nanoseconds))
    if len(record) > _MAX_RECORD:
        raise LocalProtocolError(f"the IPNS record takes {len(record)} bytes, {_MAX_RECORD} are allowed")
    return record


def open_ipns_record(key: bytes, record: bytes) -> IpnsRecord:
    """What is in a record from under `key`. Raises InvalidRecord unless the key of that name signed it.

    Its end of life is not judged: that is `IpnsValidator.validate`.
    """
    name = key.removeprefix(_PREFIX)
    if not key.startswith(_PREFIX) or not PeerId.valid(name):
        raise InvalidRecord(key, "the key is not /ipns/ and the bytes of a peer id")
    if len(record) > _MAX_RECORD:
        raise InvalidRecord(key, f"the record has {len(record)} bytes, {_MAX_RECORD} are allowed")
    try:
        entry = decode_entry(record)
        signer = _signer(key, PeerId(name), entry)
        if not signer.verify(signed_bytes(entry.data), entry.signature):
            raise InvalidRecord(key, f"the v2 signature is not one of {signer.id} over these data")
        data = decode_data(entry.data)
    except RemoteProtocolError as error:
        raise InvalidRecord(key, error.reason) from error
    if entry.copy is not None:
        _compare(key, entry.copy, data)
    return IpnsRecord(signer.id, data.value, data.sequence, data.eol / _NANO, data.ttl / _NANO)


class IpnsValidator:
    """Accepts the records of a name until their end of life."""

    def validate(self, key: bytes, value: bytes, now: float) -> None:
        """Raises InvalidRecord, with what is wrong: the key, entry, size, public key, signature, data, copy or age."""
        record = open_ipns_record(key, value)
        if record.expires <= now:
            raise InvalidRecord(key, f"it expired {now - record.expires:.0f} seconds ago")

    def select(self, key: bytes, values: Sequence[bytes]) -> int:
        """The index of the one that stands among several valid values."""
        contents = [_content(key, value) for value in values]
        ranks = [(data.sequence, data.eol, value) for data, value in zip(contents, values, strict=True)]
        return ranks.index(max(ranks))

    def expires(self, key: bytes, value: bytes) -> float:
        """The end of life of a valid value, in wall seconds."""
        return _content(key, value).eol / _NANO


def _signed(identity: Identity, data: IpnsData) -> bytes:
    encoded = encode_data(data)
    inline = identity.id.startswith(b"\x00")
    return encode_entry(
        IpnsEntry(
            data=encoded,
            signature=identity.sign(signed_bytes(encoded)),
            public_key=b"" if inline else identity.public_key.to_protobuf(),
            copy=data,
            signature_v1=identity.sign(signed_bytes_v1(data)),
        )
    )


def _signer(key: bytes, name: PeerId, entry: IpnsEntry) -> PublicKey:
    """The key that must have signed, from the entry or from the name. "Record Verification", 3."""
    if entry.public_key:
        found = PublicKey.from_protobuf(entry.public_key)
        if found.id != name:
            raise InvalidRecord(key, f"the public key in it belongs to {found.id}, not to {name}")
        return found
    if not name.startswith(b"\x00"):
        raise InvalidRecord(key, "its public key is missing, and the name has only the hash of it")
    return PublicKey.from_protobuf(name[2:])


def _compare(key: bytes, copy: IpnsData, data: IpnsData) -> None:
    """Raises InvalidRecord when old readers would read something else. "Record Verification", 7."""
    differing = [each.name for each in fields(data) if getattr(copy, each.name) != getattr(data, each.name)]
    if differing:
        raise InvalidRecord(key, f"its copy for v1 says something else in {', '.join(differing)}")


def _content(key: bytes, value: bytes) -> IpnsData:
    """What a valid value says, without checking its signature again."""
    try:
        return decode_data(decode_entry(value).data)
    except RemoteProtocolError as error:
        raise InvalidRecord(key, error.reason) from error


def _nanoseconds(seconds: float) -> int:
    """Exact for what a float can say: its two parts apart, since the product would be rounded."""
    whole, fraction = divmod(seconds, 1)
    return int(whole) * _NANO + round(fraction * _NANO)
