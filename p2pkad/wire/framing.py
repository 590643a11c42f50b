"""Frames: the length of a message as an unsigned varint, then the message.

Also the varint itself, in which most of libp2p writes lengths and codes.

Sans-IO: the decoder is fed what arrives, split anywhere, and hands out frames. It holds what has arrived and not been
taken, never more: a length that was announced costs nothing. A varint that is too long or not minimal, and a length above
the limit, are refused by the first byte that shows it.

kad-dht r2, "RPC messages"; multiformats unsigned-varint.
"""

from __future__ import annotations

from p2pkad.errors import LocalProtocolError, RemoteProtocolError


def encode_varint(number: int) -> bytes:
    """A number, 0 or above, as an unsigned varint: seven bits a byte, the low ones first, the last without the high bit."""
    head = bytearray()
    while number > 0x7F:
        head.append(number & 0x7F | 0x80)
        number >>= 7
    head.append(number)
    return bytes(head)


def decode_varint(data: bytes, start: int) -> tuple[int, int]:
    """The number that begins at `start`, and where it ends. Raises ValueError when it is cut short, too long or not minimal."""
    number = 0
    # The specification allows nine bytes.
    for count, byte in enumerate(data[start : start + 9]):
        number |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            if byte == 0 and count:
                break
            return number, start + count + 1
    raise ValueError("a varint in it is cut short, too long or not minimal")


def encode_frame(payload: bytes, limit: int) -> bytes:
    """One frame, ready for one write. Raises LocalProtocolError when `payload` has more than `limit` bytes."""
    if len(payload) > limit:
        raise LocalProtocolError(f"a message of {len(payload)} bytes does not fit into a frame of {limit}")
    return encode_varint(len(payload)) + payload


class FrameDecoder:
    """Takes a stream apart. After a RemoteProtocolError the stream is of no use: every later call raises it again.

    limit: the largest frame accepted, in bytes, its length prefix not counted.
    """

    __slots__ = ("_buffer", "_length", "_limit", "_longest_prefix")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._longest_prefix = len(encode_varint(limit))
        self._buffer = bytearray()
        self._length: int | None = None  # of the frame whose prefix has been taken

    def __repr__(self) -> str:
        return f"<FrameDecoder {len(self._buffer)} of {self._length or '?'} bytes, limit {self._limit}>"

    @property
    def empty(self) -> bool:
        """Nothing has arrived that was not handed out."""
        return self._length is None and not self._buffer

    @property
    def held(self) -> int:
        """Bytes that have arrived and were not handed out."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Add what arrived. Take all frames before the next read: the decoder holds no more than a frame and a read."""
        self._buffer += data

    def next_frame(self) -> bytes | None:
        """The next whole frame, without its prefix; None while more bytes are needed. Raises RemoteProtocolError."""
        if self._length is None:
            self._length = self._take_prefix()
        length = self._length
        if length is None or len(self._buffer) < length:
            return None
        if len(self._buffer) == length:
            frame, self._buffer = bytes(self._buffer), bytearray()
        else:
            with memoryview(self._buffer) as view:
                frame = bytes(view[:length])
            del self._buffer[:length]
        self._length = None
        return frame

    def eof(self) -> None:
        """The stream ended. Raises RemoteProtocolError inside a frame; between frames it is a peer's way to say goodbye."""
        if self._length is not None:
            raise RemoteProtocolError(f"the stream ended after {len(self._buffer)} of the {self._length} bytes of a frame")
        if self._buffer:
            raise RemoteProtocolError("the stream ended inside the length of a frame")

    def _take_prefix(self) -> int | None:
        length = 0
        for count, byte in enumerate(self._buffer[: self._longest_prefix]):
            length |= (byte & 0x7F) << 7 * count
            if length > self._limit:
                raise RemoteProtocolError(f"a frame of more than {self._limit} bytes")
            if byte == 0 and count:
                raise RemoteProtocolError("the length of a frame is not a minimal varint")
            if byte < 0x80:
                del self._buffer[: count + 1]
                return length
        if len(self._buffer) >= self._longest_prefix:
            raise RemoteProtocolError("the length of a frame is a varint that does not end")
        return None
