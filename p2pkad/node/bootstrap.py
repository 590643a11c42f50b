"""How a node without peers gets some, and a node with hardly any more: by itself, again and again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import trio

from p2pkad.config import KademliaConfig
from p2pkad.core.messages import FindNode
from p2pkad.core.peers import PeerId, PeerInfo
from p2pkad.core.schedule import Schedule
from p2pkad.events import BootstrapEnded, NodeEvent
from p2pkad.node.asking import Asking, DidNotAnswer
from p2pkad.node.clock import Clock
from p2pkad.node.membership import Membership
from p2pkad.node.shared import SharedRun

LOW_TABLE = 3
"""Peers below which the bootstrap peers are asked again: so few may all be gone a moment later."""


class Bootstrap:
    """The bootstrap peers, and attempts to reach them. An attempt that is under way is shared by all who want one, and goes
    on as long as anybody does. spawn: starts a task that lives as long as the node at most.

    As a chore it makes an attempt at once, and again `config.bootstrap_interval` after each one while the table has fewer
    than LOW_TABLE peers that are not under suspicion. After one that nobody answered it is `config.bootstrap_pause`, doubled
    each time until it is that interval, and after `config.bootstrap_attempts` of those in a row there are no more.
    """

    def __init__(
        self,
        asking: Asking,
        membership: Membership,
        peers: Sequence[PeerInfo],
        config: KademliaConfig,
        clock: Clock,
        dice: Random,
        tell: Callable[[NodeEvent], None],
        spawn: Callable[..., None],
    ) -> None:
        self.peers = tuple(info for info in peers if info.id != membership.own)
        self._only_itself = bool(peers) and not self.peers
        self._asking = asking
        self._membership = membership
        self._config = config
        self._unanswered = 0
        self._last: BootstrapEnded | None = None
        self._clock = clock
        self._tell = tell
        self._attempt = SharedRun(self._ask_all, spawn)
        self._schedule = Schedule({"attempt": config.bootstrap_interval}, clock.monotonic(), dice.random)
        self._schedule.run_at("attempt", clock.monotonic())

    @property
    def trouble(self) -> str:
        """Why nobody may have been met, as far as it is known; empty: it is not."""
        if not self.peers:
            return f"there are no bootstrap peers{' but this node itself' if self._only_itself else ''}"
        return "" if self._last is None or self._last.answered else str(self._last)

    def due(self) -> float:
        enough = not self.peers or self._membership.usable >= LOW_TABLE or self._given_up
        return float("inf") if enough else self._schedule.at("attempt")

    @property
    def _given_up(self) -> bool:
        return 0 < self._config.bootstrap_attempts <= self._unanswered

    async def run(self) -> None:
        await self._attempt()

    async def attempt(self) -> int:
        """Ask every bootstrap peer for peers near the own id; returns how many answered. Takes `request_timeout` at most.

        Those they name are in the address book then, and who answered is in the routing table. Where none answers, the peers
        of an earlier life that are being tried are waited for, too.
        """
        answered = await self._attempt() if self.peers else 0
        if not answered:
            await self._membership.wait_for_checks()
        return answered

    async def _ask_all(self) -> int:
        self._schedule.done("attempt", self._clock.monotonic())
        failed: list[tuple[PeerId, str]] = []
        async with trio.open_nursery() as nursery:
            for peer in self.peers:
                nursery.start_soon(self._ask, peer, failed)
        tried = len(self.peers)
        answered = tried - len(failed)
        self._unanswered = 0 if answered else self._unanswered + 1
        if not answered:
            pause = self._config.bootstrap_pause * 2.0 ** min(self._unanswered - 1, 32)
            self._schedule.run_at("attempt", self._clock.monotonic() + min(pause, self._config.bootstrap_interval))
        self._last = BootstrapEnded(
            at=self._clock.monotonic(), tried=tried, answered=answered, failed=tuple(failed), given_up=self._given_up
        )
        self._tell(self._last)
        return answered

    async def _ask(self, peer: PeerInfo, failed: list[tuple[PeerId, str]]) -> None:
        try:
            await self._asking.ask(
                peer, FindNode(bytes(self._membership.own)), self._clock.monotonic() + self._config.request_timeout
            )
        except DidNotAnswer as error:
            failed.append((peer.id, str(error).removeprefix(f"{peer.id}: ")))
