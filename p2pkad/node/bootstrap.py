"""How a node without peers gets some."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import trio

from p2pkad.core.messages import FindNode
from p2pkad.core.peers import PeerInfo
from p2pkad.events import BootstrapEnded, NodeEvent
from p2pkad.node.asking import Asking, DidNotAnswer
from p2pkad.node.clock import Clock
from p2pkad.node.shared import SharedRun


class Bootstrap:
    """The bootstrap peers, and attempts to reach them. An attempt that is under way is shared by all who want one."""

    def __init__(
        self,
        asking: Asking,
        peers: Sequence[PeerInfo],
        own: bytes,
        request_timeout: float,
        clock: Clock,
        tell: Callable[[NodeEvent], None],
    ) -> None:
        self.peers = tuple(info for info in peers if info.id != own)
        self._asking = asking
        self._own = own
        self._request_timeout = request_timeout
        self._clock = clock
        self._tell = tell
        self._attempt = SharedRun(self._ask_all)

    async def attempt(self) -> int:
        """Ask every bootstrap peer for peers near the own id; returns how many answered. Takes `request_timeout` at most.

        Those they name are in the address book then, and who answered is in the routing table.
        """
        return await self._attempt() if self.peers else 0

    async def _ask_all(self) -> int:
        answered: list[PeerInfo] = []
        async with trio.open_nursery() as nursery:
            for peer in self.peers:
                nursery.start_soon(self._ask, peer, answered)
        self._tell(BootstrapEnded(at=self._clock.monotonic(), tried=len(self.peers), answered=len(answered)))
        return len(answered)

    async def _ask(self, peer: PeerInfo, answered: list[PeerInfo]) -> None:
        try:
            await self._asking.ask(peer, FindNode(self._own), self._clock.monotonic() + self._request_timeout)
        except DidNotAnswer:
            return
        answered.append(peer)
