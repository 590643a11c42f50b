"""One peer at a time, for whoever wants to know how things stand with it: what it says of itself, and what its clock shows."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import trio

from p2pkad.core.messages import GetValue, GetValueReply, PutValue
from p2pkad.core.peers import PeerDescription, PeerInfo
from p2pkad.core.records import Record, parse_time
from p2pkad.errors import LocalProtocolError, RequestFailed, RequestTimeout
from p2pkad.net.base import Network
from p2pkad.node.asking import Asking
from p2pkad.node.clock import Clock
from p2pkad.node.membership import Membership
from p2pkad.node.results import PeerState

_INLINE = b"\x00"
"""What a peer id begins with that is the public key itself (peer-ids.md, "Peer Ids")."""


class Meeting:
    """Peers as they are known, and questions to one of them."""

    def __init__(self, network: Network, membership: Membership, asking: Asking, clock: Clock) -> None:
        self._network = network
        self._membership = membership
        self._asking = asking
        self._clock = clock
        self.introduced = trio.lowlevel.ParkingLot()
        """Unparked when a peer has said what it is."""

    def peers(self) -> tuple[PeerState, ...]:
        """Who is connected or in the routing table, those of the table first and by bucket."""
        table, connections = self._membership.table, self._network.connections()
        beside = [peer for peer in connections if peer not in table]
        return tuple(
            PeerState(
                info=self._membership.info(peer),
                bucket=table.bucket_of(peer),
                in_table=peer in table,
                connected=None if (open_one := connections.get(peer)) is None else _direction(open_one.inbound),
                description=self._network.description(peer),
            )
            for peer in [*table, *beside]
        )

    def observed(self) -> dict[str, int]:
        """Where connected peers see this node, and how many see it there: most of them first."""
        seen = (self._network.description(peer) for peer in self._network.connections())
        counted = Counter(each.observed.text for each in seen if each is not None and each.observed is not None)
        return dict(counted.most_common())

    async def identify(self, peer: PeerInfo, deadline: float) -> PeerDescription:
        """What a peer says of itself. Raises what `Asking.connect` does, and RequestTimeout when it does not say."""
        began = self._clock.monotonic()
        with trio.move_on_at(deadline):
            await self._asking.connect(peer, deadline)
            while (said := self._network.description(peer.id)) is None:
                await self.introduced.park()
            return said
        raise RequestTimeout(peer.id, "identify", deadline - began)

    async def compare_clocks(self, peer: PeerInfo, deadline: float) -> float:
        """Seconds by which a peer's clock is ahead of this node's. Raises as `KademliaService.compare_clocks`."""
        own = self._membership.own
        if not own.startswith(_INLINE):
            raise LocalProtocolError("comparing clocks takes a public key that is its own peer id: Ed25519 or Secp256k1")
        key, public_key = b"/pk/" + own, bytes(own[2:])
        before = self._clock.wall()
        # Without a time: whoever receives it puts its own there.
        await self._asking.ask(peer, PutValue(key, Record(key, public_key)), deadline)
        after = self._clock.wall()
        reply = await self._asking.ask(peer, GetValue(key), deadline)
        record = reply.record if isinstance(reply, GetValueReply) else None
        told = None if record is None else parse_time(record.time_received)
        if told is None:
            raise RequestFailed(peer.id, "does not say when it received a record")
        return told - (before + after) / 2


def _direction(inbound: bool) -> Literal["inbound", "outbound"]:
    return "inbound" if inbound else "outbound"
