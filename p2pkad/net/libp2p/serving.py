"""The inbound streams of one protocol: requests in, replies out, until the peer has had enough.

    a whole request            | its reply; none when the handler returns None; and on to the next one
    the end, between requests  | close
    everything else            | reset: a frame too long, cut off or undecodable, a handler that raises,
                               | no whole request for `idle_timeout`, a reply that the peer does not take
    one stream too many        | reset, or one of a peer that has more (net/inbound.py)
    too many bytes in requests | of those that are not whole yet the largest is reset (intake.py)

Half-close is fine: a peer that closes its side right after the request (rust does) still gets the reply.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio
from libp2p.abc import INetStream
from libp2p.network.stream.net_stream import NetStream

from p2pkad.errors import P2pkadError, without_content
from p2pkad.net.inbound import InboundStreams
from p2pkad.net.libp2p.ids import peer_of
from p2pkad.net.libp2p.intake import SMALL, Arrival, Intake
from p2pkad.net.libp2p.pipe import Pipe, StreamLost
from p2pkad.wire.framing import FrameDecoder, encode_frame

log = logging.getLogger(__name__)

SLACK = 1 / 16
"""Part of `idle_timeout` by which a stream may be idle for longer."""

Answer = Callable[[INetStream, bytes], Awaitable[bytes | None]]
"""Decodes a request, has it handled, encodes the reply. Raises P2pkadError to have the stream reset."""


class Server:
    """Answers one protocol's streams. limit: bytes of a request at most. idle_timeout: seconds.

    streams: bounds how many there are. intake: bounds what arrives.
    """

    def __init__(
        self,
        answer: Answer,
        *,
        limit: int,
        idle_timeout: float,
        streams: InboundStreams,
        intake: Intake,
    ) -> None:
        self._answer = answer
        self._limit = limit
        self._idle_timeout = idle_timeout
        self._streams = streams
        self._intake = intake

    def __len__(self) -> int:
        return len(self._streams)

    async def serve(self, stream: INetStream) -> None:
        """The handler to register for the protocol. Never raises."""
        assert isinstance(stream, NetStream)
        pipe, peer = Pipe(stream), peer_of(stream.muxed_conn)
        if not self._streams.make_room(peer):
            await pipe.reset()
            return
        with trio.CancelScope(deadline=trio.current_time() + self._idle_timeout * (1 + SLACK)) as scope:
            self._streams.open(scope, peer)
            try:
                await self._until_the_end(stream, pipe, scope)
                await pipe.close()
                pipe.forget()
                return
            except (P2pkadError, StreamLost) as error:
                log.debug("%s: reset: %s", peer, without_content(error))
            except Exception:
                log.exception("a handler failed")
            finally:
                self._streams.close(scope)
        await pipe.reset()

    def reset_all(self) -> None:
        """End every open stream: this end is no server any more."""
        self._streams.cancel_all()

    async def _until_the_end(self, stream: INetStream, pipe: Pipe, scope: trio.CancelScope) -> None:
        decoder, arrival = FrameDecoder(self._limit), None
        try:
            while True:
                if scope.deadline < (due := trio.current_time() + self._idle_timeout):
                    scope.deadline = due + self._idle_timeout * SLACK  # to move it takes long: not for each request
                while (frame := decoder.next_frame()) is None:
                    data = await pipe.read()
                    if not data:
                        decoder.eof()
                        return
                    decoder.feed(data)
                    if decoder.held > SMALL:
                        arrival = arrival or Arrival(peer_of(stream.muxed_conn), scope)
                        self._intake.hold(arrival, decoder.held)
                reply = await self._answer(stream, frame)
                if arrival is not None:
                    self._intake.let_go(arrival)
                    arrival = None
                if reply is not None:
                    await pipe.write(encode_frame(reply, self._limit))
                if not decoder.empty:
                    await trio.lowlevel.checkpoint()  # whoever sends many requests at once is not answered all at once
        finally:
            if arrival is not None:
                self._intake.let_go(arrival)
