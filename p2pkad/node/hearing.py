"""What the network tells a node, and whom in the node it concerns; and what the node thinks of its connections."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import assert_never

from p2pkad.core.peers import PeerId, PeerInfo
from p2pkad.events import HostNotArmoured
from p2pkad.net.base import (
    Connected,
    Found,
    Gone,
    HostEnded,
    Identified,
    Limited,
    NetworkEvent,
    NotArmoured,
    OwnAddressesChanged,
    Usefulness,
)
from p2pkad.node.clock import Clock
from p2pkad.node.limits import Limits
from p2pkad.node.meeting import Meeting
from p2pkad.node.membership import Membership
from p2pkad.node.moving import Moving
from p2pkad.node.refreshing import Refreshing
from p2pkad.node.telling import Telling


class Hearing:
    """The listener of a network, and the judge of its connections. bootstrap_peers: whose connections are kept. end: ends the
    service."""

    def __init__(
        self,
        membership: Membership,
        meeting: Meeting,
        refreshing: Refreshing,
        moving: Moving,
        limits: Limits,
        bootstrap_peers: Iterable[PeerInfo],
        clock: Clock,
        tell: Telling,
        end: Callable[[], None],
    ) -> None:
        self._membership = membership
        self._meeting = meeting
        self._refreshing = refreshing
        self._moving = moving
        self._limits = limits
        self._bootstrap_peers = frozenset(info.id for info in bootstrap_peers)
        self._clock = clock
        self._tell = tell
        self._end = end

    def on_event(self, event: NetworkEvent) -> None:
        """What `Network.subscribe` calls."""
        match event:
            case Connected(peer, address, inbound):
                self._membership.connected(peer, None if inbound else address)
            case Gone(peer):
                self._membership.gone(peer)
            case Identified(peer, server, addresses, via):
                self._membership.declared(PeerInfo(peer, addresses), via)
                if server:
                    self._membership.introduce(peer)
                else:
                    self._membership.left(peer)
                self._meeting.introduced.unpark_all()
            case OwnAddressesChanged():
                self._refreshing.own_addresses_changed()
                self._moving.own_addresses_changed()
            case Limited(limit, peer):
                self._limits.reached(limit, peer)
            case NotArmoured(faults):
                self._tell(HostNotArmoured(at=self._clock.monotonic(), faults=faults))
            case Found(info):
                self._membership.found(info)
            case HostEnded():
                self._end()
            case never:
                assert_never(never)

    def usefulness(self, peer: PeerId) -> Usefulness:
        """What `Network.rank_connections` asks."""
        if peer in self._bootstrap_peers or peer in self._membership.neighbours:
            return Usefulness.PROTECTED
        return Usefulness.IN_TABLE if peer in self._membership.table else Usefulness.NONE
