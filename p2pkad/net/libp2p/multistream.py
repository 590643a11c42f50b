"""multistream-select 1.0: which protocol a stream speaks, without a round trip of its own.

A token is a length (unsigned varint), the text and a newline. Each side sends the header first; the initiator proposes
protocols until one is echoed. The initiator here sends header, proposal and its first request in one write, as go does;
the responder accepts whatever came in the same packet and hands it on.
Specification: libp2p "connections", "multistream-select".
"""

from __future__ import annotations

from p2pkad.errors import RemoteProtocolError
from p2pkad.net.libp2p.pipe import Pipe, StreamLost
from p2pkad.wire.framing import encode_varint

HEADER = b"/multistream/1.0.0"
NOT_AVAILABLE = b"na"
LIST = b"ls"
MAX_TOKEN = 1024
"""Bytes of a token. go accepts 64 KiB, rust 16 KiB; protocol ids in use have some dozens."""
MAX_PROPOSALS = 32
"""Proposals that a responder listens to. Real initiators send one to five."""


def token(text: bytes) -> bytes:
    """A token as it travels."""
    return encode_varint(len(text) + 1) + text + b"\n"


def opening(protocol: str) -> bytes:
    """What an initiator sends first: the header and its proposal."""
    return token(HEADER) + token(protocol.encode())


class Tokens:
    """Bytes in, tokens out; what follows them is left over."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> None:
        """Add what has arrived."""
        self._data += data

    def next(self) -> bytes | None:
        """The next token without its newline, or None until more arrives. Raises RemoteProtocolError."""
        data = self._data
        if not data:
            return None
        size, start = data[0], 1
        if size >= 0x80:
            if len(data) < 2:
                return None
            size, start = size & 0x7F | data[1] << 7, 2
        if not 0 < size <= MAX_TOKEN or (start == 2 and size < 0x80):
            raise RemoteProtocolError("multistream: a token of a length that nobody uses")
        if len(data) < start + size:
            return None
        if data[start + size - 1] != 0x0A:
            raise RemoteProtocolError("multistream: a token without its newline")
        self._data = data[start + size :]
        return data[start : start + size - 1]

    def rest(self) -> bytes:
        """What came after the last token."""
        rest, self._data = self._data, b""
        return rest


class Proposal:
    """An initiator's side: feed what arrives until `done`; then `rest` is the first of the peer's own bytes."""

    def __init__(self, protocol: str) -> None:
        self._expected = [HEADER, protocol.encode()]
        self._tokens = Tokens()
        self.done = False

    def feed(self, data: bytes) -> bytes:
        """Take bytes in; returns what belongs to the protocol. Raises StreamLost when it is refused."""
        self._tokens.feed(data)
        while self._expected:
            said = self._tokens.next()
            if said is None:
                return b""
            if said == NOT_AVAILABLE:
                raise StreamLost(f"does not speak {self._expected[-1].decode()}")
            if said != self._expected.pop(0):
                raise RemoteProtocolError("multistream: an answer that was not asked for")
        self.done = True
        return self._tokens.rest()


class Refused(Exception):
    """A responder knows nothing of what was proposed, and has said so."""


class Responder:
    """A responder's side, on a stream that a peer opened. protocols: those there are handlers for."""

    def __init__(self, pipe: Pipe, protocols: list[str]) -> None:
        self._pipe = pipe
        self._known = {protocol.encode(): protocol for protocol in protocols}
        self._tokens = Tokens()
        self._unsent = b""
        self._refused = False

    async def negotiate(self) -> tuple[str, bytes]:
        """Returns the protocol agreed on, and the bytes that came after the negotiation. The caller brings the deadline.

        Raises Refused: the stream is to be closed, so that the refusal arrives. RemoteProtocolError, StreamLost: to be reset.
        """
        if await self._next() != HEADER:
            raise RemoteProtocolError("multistream: it does not begin with the header")
        self._unsent = token(HEADER)
        for _ in range(MAX_PROPOSALS):
            proposed = await self._proposed()
            if proposed in self._known:
                self._unsent += token(proposed)
                await self._flush()
                return self._known[proposed], self._tokens.rest()
            if proposed == LIST:
                self._unsent += token(b"\n".join(self._known) + b"\n")
            else:
                self._refused = True
                self._unsent += token(NOT_AVAILABLE)
        raise RemoteProtocolError("multistream: too many proposals")

    async def _proposed(self) -> bytes:
        try:
            return await self._next()
        except RemoteProtocolError as error:
            if not self._refused:
                raise
            # What follows a refused proposal in the same packet is the request that was meant for it.
            await self._flush()
            raise Refused from error

    async def _next(self) -> bytes:
        while (said := self._tokens.next()) is None:
            # The initiator may wait for what we have to say before it says more.
            await self._flush()
            data = await self._pipe.read()
            if not data:
                raise StreamLost("it ended during negotiation")
            self._tokens.feed(data)
        return said

    async def _flush(self) -> None:
        if self._unsent:
            unsent, self._unsent = self._unsent, b""
            await self._pipe.write(unsent)
