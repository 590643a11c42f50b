"""IPNS records <-> bytes (IPNS specification, "Record Serialization Format"). No cryptography here.

    IpnsEntry, in protobuf (protos/ipns.proto)         IpnsData, in DAG-CBOR
    1, 3-6  a copy of the data, for readers            Value         bytes
            from before 2021 (v1)                      Validity      bytes, a time as RFC 3339 writes it
    2       signatureV1, for the same readers          ValidityType  0: good until then
    7       pubKey                                     Sequence      0 to 2**64 - 1
    8       signatureV2, over the data                 TTL           nanoseconds, likewise
    9       data

Further keys in the data and further fields in the entry are skipped, as the specification asks. The data have one encoding.
An entry has many, and anybody on the way can change it outside of the data: go and js read them all, so they are read here,
else whoever changes the copy on a go peer would keep it from readers of ours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from google.protobuf.message import DecodeError

from p2pkad.errors import RemoteProtocolError
from p2pkad.wire.dag_cbor import decode_dag_cbor, encode_dag_cbor
from p2pkad.wire.pb import ipns_pb2 as pb

EOL = 0
"""The one ValidityType: `validity` is the end of life."""

MAX_UNSIGNED = 2**64 - 1
"""The largest Sequence and TTL."""

_NANO = 10**9
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# RFC 3339, "date-time", in capitals and without leap seconds: what go reads.
_CLOCK = rb"(?:[01]\d|2[0-3]):[0-5]\d"
_TIME = re.compile(rb"(\d{4}-\d\d-\d\dT%b:[0-5]\d)(?:\.(\d{1,9})\d*)?(Z|[+-]%b)" % (_CLOCK, _CLOCK))


@dataclass(frozen=True, slots=True)
class IpnsData:
    """What a record says. validity: until when, as text. ttl: nanoseconds that a reader may use it without asking again."""

    value: bytes
    validity: bytes
    sequence: int
    ttl: int
    validity_type: int = EOL

    @property
    def eol(self) -> int:
        """The end of life, in nanoseconds since 1970. Raises RemoteProtocolError when `validity` is no time."""
        return read_time(self.validity)


@dataclass(frozen=True, slots=True)
class IpnsEntry:
    """A record: its data in DAG-CBOR, the signature over them, and what else is around them.

    public_key: marshalled; empty where the name says it. copy: of the data, for old readers, as is signature_v1.
    """

    data: bytes
    signature: bytes
    public_key: bytes = b""
    copy: IpnsData | None = None
    signature_v1: bytes = b""


def signed_bytes(data: bytes) -> bytes:
    """What signatureV2 is made over. IPNS specification, "Record Creation", 5."""
    return b"ipns-signature:" + data


def signed_bytes_v1(data: IpnsData) -> bytes:
    """What signatureV1 is made over. IPNS specification, "Record Creation with Legacy SignatureV1", 6."""
    return data.value + data.validity + b"EOL"


def encode_entry(entry: IpnsEntry) -> bytes:
    """The bytes of an entry."""
    written = pb.IpnsEntry(signatureV2=entry.signature, data=entry.data)
    if entry.public_key:
        written.pubKey.MergeFromString(entry.public_key)
    if entry.copy is not None:
        written.value, written.signatureV1 = entry.copy.value, entry.signature_v1
        written.validityType, written.validity = pb.IpnsEntry.EOL, entry.copy.validity
        written.sequence, written.ttl = entry.copy.sequence, entry.copy.ttl
    return written.SerializeToString()


def decode_entry(record: bytes) -> IpnsEntry:
    """Read an entry; nothing in it is checked. Raises RemoteProtocolError when it is none, or has no v2 signature.

    Its copy counts when a v1 signature or a value is there ("Record Verification", 7); its missing parts are zero and empty.
    """
    try:
        read = pb.IpnsEntry.FromString(record)
    except DecodeError as error:
        raise RemoteProtocolError("ipns entry: not readable") from error
    if not read.signatureV2 or not read.data:
        raise RemoteProtocolError("ipns entry: without data and a v2 signature; those of v1 do not count")
    read.pubKey.DiscardUnknownFields()
    copy = None
    if read.signatureV1 or read.value:
        copy = IpnsData(read.value, read.validity, read.sequence, read.ttl, read.validityType)
    return IpnsEntry(read.data, read.signatureV2, read.pubKey.SerializeToString(), copy, read.signatureV1)


def encode_data(data: IpnsData) -> bytes:
    """The data in DAG-CBOR. Its numbers are 0 to MAX_UNSIGNED."""
    return encode_dag_cbor(
        {
            "Value": data.value,
            "Validity": data.validity,
            "ValidityType": data.validity_type,
            "Sequence": data.sequence,
            "TTL": data.ttl,
        }
    )


def decode_data(encoded: bytes) -> IpnsData:
    """Read the data. Raises RemoteProtocolError when they are not canonical, incomplete, or no end of life is in them."""
    read = decode_dag_cbor(encoded)
    if not isinstance(read, dict):
        raise RemoteProtocolError("ipns data: not a map")
    value, validity = (_bytes(read, name) for name in ("Value", "Validity"))
    kind, sequence, ttl = (_unsigned(read, name) for name in ("ValidityType", "Sequence", "TTL"))
    if kind != EOL:
        raise RemoteProtocolError(f"ipns data: of the unknown ValidityType {kind}")
    read_time(validity)
    return IpnsData(value, validity, sequence, ttl)


def _bytes(read: dict[str, object], name: str) -> bytes:
    found = read.get(name)
    if not isinstance(found, bytes):
        raise RemoteProtocolError(f"ipns data: {name} is not bytes")
    return found


def _unsigned(read: dict[str, object], name: str) -> int:
    found = read.get(name)
    # bool is a kind of int. go writes a sequence of 2**63 and more as a negative number.
    if not isinstance(found, int) or isinstance(found, bool) or found < 0:
        raise RemoteProtocolError(f"ipns data: {name} is not a number, 0 or more")
    return found


def read_time(text: bytes) -> int:
    """A time as RFC 3339 writes it, in nanoseconds since 1970; digits beyond those are cut. Raises RemoteProtocolError."""
    found = _TIME.fullmatch(text)
    try:
        if found is None:
            raise ValueError("another form")
        whole = datetime.fromisoformat((found[1] + found[3]).decode()) - _EPOCH
    except ValueError as error:  # or there is no such day
        raise RemoteProtocolError("ipns data: Validity is not a time as RFC 3339 writes it") from error
    return whole // timedelta(seconds=1) * _NANO + int((found[2] or b"").ljust(9, b"0"))


def write_time(nanoseconds: int) -> bytes:
    """A time since 1970 and before the year 10000, in UTC and with all nine digits: what the specification shows."""
    seconds, fraction = divmod(nanoseconds, _NANO)
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{fraction:09}Z".encode()
