"""Outbound streams of one protocol: opened once, used again, given up in time.

A stream carries one request at a time (rust and js promise no more), so a peer that is asked several things at once has
several. What happens to the stream of a request:

    answered                          | back into the pool, most recently used first out
    stale: reset or ended while idle  | one retry, on a fresh stream; the peer saw no second request on the old one
    the connection was lost           | the same, over another connection, dialled if need be; the second time PeerBusy
    failed otherwise, late, cancelled | reset, never used again
    idle for IDLE_AFTER               | closed; the last idle one to a peer later, after LAST_IDLE_AFTER
    the largest of too many bytes     | reset: of replies that arrive there is so much at a time (intake.py)

What has no reply, ADD_PROVIDER, goes out with a question behind it in the same write. Peers deal with one message after the
other: who answers has dealt with the first, and who takes that amiss has reset the stream. How a stream ends says less: js
resets one that is closed behind an announcement that it took, and closes in good order what it has not read yet.

A retry never follows a reply that had begun, and never another retry: a peer that resets a stream twice has answered.
One that closes the connection has not: it makes room for others, as every peer does at its limit.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import trio
from libp2p.custom_types import TProtocol
from libp2p.network.connection.swarm_connection import SwarmConn

from p2pkad.core.messages import AnyRequest
from p2pkad.core.peers import PeerId, PeerInfo
from p2pkad.errors import NetworkError, PeerBusy, RequestFailed
from p2pkad.net.base import MAX_STREAMS
from p2pkad.net.connections import Held
from p2pkad.net.libp2p.border import FOREIGN, hung_up, reason
from p2pkad.net.libp2p.intake import SMALL, Arrival, Intake
from p2pkad.net.libp2p.multistream import Proposal, opening
from p2pkad.net.libp2p.pipe import Pipe, StreamLost
from p2pkad.wire.framing import FrameDecoder

IDLE_AFTER = 20.0
"""Seconds after which an unused stream is closed: what a burst has opened is not kept for the next one."""
LAST_IDLE_AFTER = 45.0
"""Seconds for the last one: to open a stream takes as long as two requests. go resets it after 60."""


class Channel:
    """One outbound stream. The negotiation travels with the first request."""

    __slots__ = ("_decoder", "_intake", "_pipe", "_proposal", "_protocol", "began", "held", "idle_since", "over")

    def __init__(self, pipe: Pipe, held: Held[SwarmConn], protocol: str, limit: int, intake: Intake) -> None:
        self.held = held
        self.began = False
        self.idle_since = 0.0
        self.over = False
        self._pipe = pipe
        self._protocol = protocol
        self._proposal: Proposal | None = Proposal(protocol)
        self._decoder = FrameDecoder(limit)
        self._intake = intake

    @property
    def stale(self) -> bool:
        """Known to be of no use any more: ended, or with bytes on it that answer no request."""
        return self._pipe.stale or not self._decoder.empty

    async def ask(self, frame: bytes) -> bytes:
        """Send a request and return the reply, both without their frame.

        Raises StreamLost, RemoteProtocolError. LocalLimit: the reply was the largest of too much that arrives.
        """
        self.began = False
        await self._pipe.write(frame if self._proposal is None else opening(self._protocol) + frame)
        while (reply := self._decoder.next_frame()) is None:
            if self._decoder.held > SMALL:
                return await self._large_reply()
            self._feed(await self._pipe.read())
        return reply

    async def reset(self) -> None:
        """Give the stream up."""
        await self._pipe.reset()

    async def close(self) -> None:
        """End the stream in good order."""
        await self._pipe.finish()

    async def _large_reply(self) -> bytes:
        with trio.CancelScope() as scope:
            arrival = Arrival(self.held.peer, scope)
            try:
                while (reply := self._decoder.next_frame()) is None:
                    self._intake.hold(arrival, self._decoder.held)
                    self._feed(await self._pipe.read())
                return reply
            finally:
                self._intake.let_go(arrival)
        raise self._intake.limit

    def _feed(self, data: bytes) -> None:
        if not data:
            raise StreamLost("the stream was closed")
        if self._proposal is not None:
            data = self._proposal.feed(data)
            if not self._proposal.done:
                return
            self._proposal = None
        if data:
            self.began = True
            self._decoder.feed(data)


def alive(connection: SwarmConn) -> bool:
    """Whether streams can be opened on a connection, as far as this end knows."""
    return not connection.is_closed and connection.muxed_conn.is_established


def connection_lost(held: Held[SwarmConn], error: StreamLost) -> bool:
    """Whether a stream is lost because its connection is; a broken pipe shows that before the multiplexer knows."""
    return not alive(held.handle) or (error.__cause__ is not None and hung_up(error.__cause__))


def failure(held: Held[SwarmConn], error: StreamLost) -> NetworkError:
    """What the loss of a stream says about the peer: PeerBusy when the connection went with it, RequestFailed otherwise."""
    if connection_lost(held, error):
        return PeerBusy(held.peer, [("", str(error))])
    return RequestFailed(held.peer, str(error))


Connect = Callable[[PeerInfo, float], Awaitable[Held[SwarmConn]]]
"""The connection to a peer, dialled where there is none, by a deadline."""
Result = TypeVar("Result")
Read = Callable[[Channel, AnyRequest, bytes], Result]
"""What the reply to a request says. It may mark the stream as `over`: that is not used again then."""


@dataclass(frozen=True, slots=True)
class Way:
    """How the streams of one protocol are opened, to whomever, and given up.

    limit: bytes of a message. discard: ends a stream in the background. intake: bounds what arrives.
    """

    protocol: str
    limit: int
    connect: Connect
    discard: Callable[[Callable[[], Awaitable[None]]], None]
    intake: Intake


class Pool:
    """The streams of one protocol to one peer."""

    __slots__ = ("_idle", "_peer", "_waiting", "_way", "in_use")

    def __init__(self, peer: PeerId, way: Way) -> None:
        self._peer = peer
        self._way = way
        self._idle: list[Channel] = []
        """Those used last at the end."""
        self._waiting: trio.lowlevel.ParkingLot | None = None
        """Those who came while MAX_STREAMS were in use: there are seldom any."""
        self.in_use = 0

    def __len__(self) -> int:
        return len(self._idle) + self.in_use

    def __repr__(self) -> str:
        return f"<Pool {self._peer!r} idle={len(self._idle)} in_use={self.in_use}>"

    # Of what a request takes until its answer comes, each coroutine, closure and cell is something that the garbage collector
    # counts: what can be said by arguments is, and there is no function for a part of this.
    async def ask(
        self, peer: PeerInfo, frames: bytes, question: AnyRequest, read: Read[Result], deadline: float
    ) -> tuple[Held[SwarmConn], Result]:
        """Send frames, of which the last is `question`, on one stream; once more on a fresh one if it turns out stale.

        peer: where it is dialled, if need be. Returns the connection that it took, and what `read` made of the reply. Raises
        RequestFailed, PeerBusy, RemoteProtocolError, and what `connect` raises. The caller ends it at the deadline.
        """
        again = False
        if self.in_use < MAX_STREAMS:
            self.in_use += 1
        else:
            if self._waiting is None:
                self._waiting = trio.lowlevel.ParkingLot()
            await self._waiting.park()  # whoever is woken has the place of the one that woke it: `in_use` stays
        try:
            while True:
                channel = None if again else self._take()
                pooled = channel is not None
                held = channel.held if channel else await self._way.connect(peer, deadline)
                try:
                    channel = channel or await self._open(held)
                    result = read(channel, question, await channel.ask(frames))
                except StreamLost as error:
                    self._give_up(channel)
                    began = channel is not None and channel.began
                    if again or began or not (pooled or connection_lost(held, error)):
                        raise failure(held, error) from error
                    again = True
                except BaseException:
                    self._give_up(channel)
                    raise
                else:
                    self._keep(channel)
                    return held, result
        finally:
            if self._waiting:
                self._waiting.unpark()
            else:
                self.in_use -= 1

    def sweep(self, now: float) -> None:
        """Close what has been idle for too long, and drop what is known to be stale."""
        longest = LAST_IDLE_AFTER
        for _ in range(len(self._idle)):  # around in place: a new list for each peer would be as many as there are streams
            channel = self._idle.pop()
            if not channel.stale and now - channel.idle_since <= longest:
                self._idle.insert(0, channel)
                longest = IDLE_AFTER
            else:
                self._put_away(channel)

    def empty(self) -> None:
        """Close every idle stream."""
        while self._idle:
            self._put_away(self._idle.pop())

    def _put_away(self, channel: Channel) -> None:
        self._way.discard(channel.reset if channel.stale else channel.close)

    def _take(self) -> Channel | None:
        while self._idle:
            channel = self._idle.pop()
            if not channel.stale and alive(channel.held.handle):
                return channel
            self._way.discard(channel.reset)
        return None

    async def _open(self, held: Held[SwarmConn]) -> Channel:
        try:
            stream = await held.handle.new_stream()
        except FOREIGN as error:
            raise StreamLost(reason(error)) from error
        stream.set_protocol(TProtocol(self._way.protocol))
        return Channel(Pipe(stream), held, self._way.protocol, self._way.limit, self._way.intake)

    def _give_up(self, channel: Channel | None) -> None:
        if channel is not None:
            self._way.discard(channel.reset)

    def _keep(self, channel: Channel) -> None:
        channel.idle_since = channel.held.used = trio.current_time()
        if channel.over:
            self._way.discard(channel.close)
        else:
            self._idle.append(channel)
