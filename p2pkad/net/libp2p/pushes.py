"""Identify on a host that answers it itself: we ask, and listen to what peers push, and leave the answers alone.

py-libp2p asks a peer once, and tells nobody what it heard. So the own question goes out on every connection here, too, and a
push is read on its way to the host's handler, which gets it as it came.
"""

from __future__ import annotations

from libp2p.custom_types import StreamHandlerFn
from libp2p.identity.identify.identify import AGENT_VERSION
from libp2p.identity.identify.pb.identify_pb2 import Identify
from libp2p.identity.identify_push.identify_push import ID_PUSH as PUSH
from libp2p.network.connection.swarm_connection import SwarmConn

from p2pkad.net.libp2p.identify import Identifier
from p2pkad.net.libp2p.pipe import Pipe, PushedBack


class GuestIdentifier(Identifier):
    """`Identifier` beside the host's own identify."""

    agent = AGENT_VERSION  # as in the host's own answers
    _before: StreamHandlerFn | None = None

    def serve(self) -> None:
        """Take pushes from now on, in front of the handler that there is."""
        self._before = self._host.get_mux().handlers.get(PUSH)
        self._taking = self._take_push
        self._host.set_stream_handler(PUSH, self._taking)

    def cease(self) -> None:
        """Take no more pushes. A handler that was registered meanwhile stays."""
        if self._host.get_mux().handlers.get(PUSH) is not self._taking:
            return
        if self._before is None:
            self._host.remove_stream_handler(PUSH)
        else:
            self._host.set_stream_handler(PUSH, self._before)

    async def _taken(self, pipe: Pipe, push: bytes) -> None:
        if self._before is None:
            await pipe.finish()
        else:
            pipe.stream.muxed_stream = PushedBack(pipe.stream.muxed_stream, push)
            await self._before(pipe.stream)

    def _note_observed(self, connection: SwarmConn, message: Identify) -> None:
        """Nothing: the host asks as well, and takes note."""
