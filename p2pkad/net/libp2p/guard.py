"""What stands between a stream that a peer opens and the handlers: negotiation, bounds, and an end to every error.

    Guard        around any handler: bounds, and an end to every error
    Dispatcher   negotiates, and calls the handler of the protocol agreed on

In py-libp2p an exception that leaves a stream's handler ends the task that accepts the connection's streams, and then the
host. Here nothing leaves, whatever a name or a message looks like: the stream is reset, everybody else is served on. And
what a muxer keeps of a stream that its handler has ended is put away.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable

import trio
from libp2p.abc import INetStream
from libp2p.custom_types import TProtocol
from libp2p.host.basic_host import BasicHost
from libp2p.network.stream.net_stream import NetStream

from p2pkad.core.peers import PeerId
from p2pkad.errors import RemoteProtocolError
from p2pkad.net.libp2p.deadlines import Deadlines
from p2pkad.net.libp2p.ids import peer_of
from p2pkad.net.libp2p.multistream import Refused, Responder
from p2pkad.net.libp2p.pipe import Pipe, PushedBack, StreamLost

log = logging.getLogger(__name__)

NEGOTIATION_TIMEOUT = 10.0
"""Seconds in which a peer that opened a stream must have said what for. As go and py-libp2p."""


class Guard:
    """Hands inbound streams to `handle`. per_peer: streams that one peer may have open.

    crowded: told of a peer that wanted more.
    """

    def __init__(
        self, handle: Callable[[NetStream], Awaitable[None]], per_peer: float, crowded: Callable[[PeerId], None]
    ) -> None:
        self._handle = handle
        self._per_peer = per_peer
        self._crowded = crowded
        self._open: Counter[PeerId] = Counter()

    def __repr__(self) -> str:
        return f"<Guard streams={self._open.total()} peers={len(self._open)}>"

    async def __call__(self, stream: INetStream) -> None:
        """A handler of inbound streams. Raises nothing but Cancelled."""
        assert isinstance(stream, NetStream)
        peer = peer_of(stream.muxed_conn)
        if self._open[peer] >= self._per_peer:
            self._crowded(peer)
            await Pipe(stream).reset()
            return
        self._open[peer] += 1
        try:
            await self._handle(stream)
            # Only what the handler has ended: it may as well have handed an open stream to another task.
            if stream.is_closed:
                await Pipe(stream).linger()
        except Refused:
            await Pipe(stream).finish()
        except (RemoteProtocolError, StreamLost, trio.TooSlowError) as error:
            log.debug("%s: a stream was reset: %s", peer, str(error) or "too slow")
            await Pipe(stream).reset()
        except Exception:
            log.exception("%s: a stream was reset, its handler failed", peer)
            await Pipe(stream).reset()
        finally:
            self._open[peer] -= 1
            if not self._open[peer]:
                del self._open[peer]


class Dispatcher:
    """Negotiates the protocol of an inbound stream, in place of the host's own way, and calls the host's handler for it."""

    def __init__(self, host: BasicHost, deadlines: Deadlines) -> None:
        self._host = host
        self._deadlines = deadlines

    async def __call__(self, stream: NetStream) -> None:
        """Raises Refused, RemoteProtocolError, StreamLost, TooSlowError, and what the handler does."""
        # Asked anew for each stream: handlers come and go. `None` is a key there, for a handler of nothing.
        handlers = self._host.get_mux().handlers
        pipe = Pipe(stream)
        with trio.CancelScope() as scope:
            self._deadlines.add(scope, trio.current_time() + NEGOTIATION_TIMEOUT)
            try:
                protocol, rest = await Responder(pipe, [str(each) for each in handlers if each is not None]).negotiate()
            finally:
                self._deadlines.remove(scope)
        if scope.cancelled_caught:
            raise trio.TooSlowError
        handler = handlers.get(TProtocol(protocol))
        if handler is None:
            raise StreamLost(f"{protocol} was taken away during its negotiation")
        stream.set_protocol(TProtocol(protocol))
        if rest:
            stream.muxed_stream = PushedBack(stream.muxed_stream, rest)
        await handler(stream)
