"""DAG-CBOR <-> values: the one encoding of CBOR that signatures are made over. No more of it than IPNS records need.

Values are dict with text keys, list, str, bytes, int from -2**64 to 2**64 - 1, finite float, bool, None, and `CBORTag(42)`
for a link. The cbor2 package reads and writes; what DAG-CBOR forbids beyond that is refused here: other tags before anything
is made of them (shared references could make gigabytes out of a record), the rest by encoding again and comparing.
Spec: IPLD, "DAG-CBOR", "Strictness".
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any, NoReturn

from cbor2 import CBOREncoder, CBORError, CBORTag, dumps, loads

from p2pkad.errors import RemoteProtocolError

_LINK = 42
# Maps and lists within each other. Known records have one level, and the specification advises two.
_MAX_DEPTH = 16


def encode_dag_cbor(value: object) -> bytes:
    """The bytes of a value. Map keys are sorted by length, then bytewise; floats take 64 bits."""
    return dumps(value, canonical=True, encoders={float: _encode_float})


def decode_dag_cbor(data: bytes) -> object:
    """Read a value. Raises RemoteProtocolError unless `data` is exactly one, in its only encoding."""
    try:
        value = loads(
            data,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            strict_hashable_types=True,
            max_depth=_MAX_DEPTH,
            semantic_decoders=_TAGS,
        )
    except CBORError as error:
        raise RemoteProtocolError("DAG-CBOR: not readable") from error
    if not _is_in_the_model(value) or encode_dag_cbor(value) != data:
        raise RemoteProtocolError("DAG-CBOR: not in its canonical encoding")
    return value


class _Tags(dict[int, Callable[[Any, bool], object]]):
    """What is made of tags: nothing, for those that are not here."""

    def __missing__(self, tag: int) -> Callable[[Any, bool], NoReturn]:
        return _refuse


def _refuse(value: object, immutable: bool) -> NoReturn:
    raise ValueError("a tag that DAG-CBOR does not have")


def _link(value: object, immutable: bool) -> CBORTag:
    return CBORTag(_LINK, value)


_TAGS = _Tags({_LINK: _link})


def _is_in_the_model(value: object) -> bool:
    match value:
        case dict():
            return all(isinstance(key, str) and _is_in_the_model(inner) for key, inner in value.items())
        case list():
            return all(map(_is_in_the_model, value))
        case float():
            return math.isfinite(value)
        case CBORTag(value=inner):  # the bytes of a CID behind a zero
            return isinstance(inner, bytes) and inner.startswith(b"\x00")
        case _:
            return value is None or isinstance(value, (bool, int, str, bytes))


def _encode_float(encoder: CBOREncoder, number: float) -> None:
    encoder.write(struct.pack(">Bd", 0xFB, number))
