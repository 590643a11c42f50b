"""Peers that are hard to reach. Faults 2, 5, 6, 7, 13, 23, 25."""

from __future__ import annotations

from contextlib import AsyncExitStack

import trio
from libp2p.abc import IListener, IRawConnection, ITransport
from libp2p.custom_types import THandler
from libp2p.network.swarm import Swarm
from libp2p.peer.peerinfo import PeerInfo
from multiaddr import Multiaddr

from tests.faults.stock import neighbour
from tests.faults.subjects import Limits, OpenHost, Subject
from tests.support.neighbours import hang_up, listener, refused_address, say_nothing, stranger, until
from tests.support.raw_peer import raw_peer

HEAD_START = 0.25
"""Seconds that py-libp2p waits after each address, the last one too (`_HAPPY_EYEBALLS_DELAY`)."""


async def connect_on_loopback(open_host: OpenHost) -> dict[str, object]:
    """The quickest of five connects, of five milliseconds each: does it take the 250 of a head start?"""
    async with open_host(Limits()) as subject, AsyncExitStack() as neighbours:
        taken = []
        for _ in range(5):
            near = await neighbours.enter_async_context(neighbour())
            began = trio.current_time()
            await subject.connect(near.where)
            taken.append(trio.current_time() - began)
        return {"waits_for_nothing": min(taken) >= HEAD_START}


async def two_dead_addresses_and_a_good_one(open_host: OpenHost) -> dict[str, object]:
    """A peer has moved twice, and the old addresses come first."""
    async with open_host(Limits()) as subject, neighbour() as moved:
        with refused_address() as first, refused_address() as second:
            return {"connected": await _connects(subject, PeerInfo(moved.where.peer_id, [first, second, *moved.where.addrs]))}


async def failed_a_moment_ago(open_host: OpenHost) -> dict[str, object]:
    """A peer could not be reached at one address; it is reachable at another one that arrives a moment later."""
    async with open_host(Limits()) as subject, neighbour() as moved:
        with refused_address() as first:
            await _connects(subject, PeerInfo(moved.where.peer_id, [first]))
        subject.host.get_peerstore().clear_addrs(moved.where.peer_id)
        return {"connected": await _connects(subject, moved.where)}


async def _connects(subject: Subject, peer: PeerInfo) -> bool:
    try:
        await subject.connect(peer)
    except Exception:  # whatever it raises, it is not connected
        return False
    return True


async def silent_listener(open_host: OpenHost) -> dict[str, object]:
    """A peer accepts the connection and says nothing. Does the host give up after its dial time-out of 0.2 s?"""
    async with open_host(Limits(dial_timeout=0.2)) as subject, listener(say_nothing) as silent:
        with trio.move_on_after(3) as waiting:
            await _connects(subject, silent.peer)
        return {"gave_up": not waiting.cancelled_caught}


async def peers_it_only_heard_of(open_host: OpenHost) -> dict[str, object]:
    """The host knows addresses of peers that nobody asked it to dial, and loses a connection."""
    async with open_host(Limits()) as subject, AsyncExitStack() as stack:
        heard_of = [await stack.enter_async_context(listener(hang_up)) for _ in range(5)]
        for one in heard_of:
            subject.host.get_peerstore().add_addrs(one.peer.peer_id, one.peer.addrs, 3600)
        async with raw_peer(subject.where) as peer:
            await peer.ping()
        dialled = await until(lambda: any(one.accepted for one in heard_of), within=1)
        return {"dials_uninvited": dialled}


async def hangs_up_on_each_dial(open_host: OpenHost) -> dict[str, object]:
    """A peer accepts and closes, each time. How often does one connect try?"""
    async with open_host(Limits()) as subject, listener(hang_up) as busy:
        await _connects(subject, busy.peer)
        return {"attempts": busy.accepted}


async def five_connects_at_once(open_host: OpenHost) -> dict[str, object]:
    """Five callers want the same peer at the same instant. How many connections does it see?"""
    async with open_host(Limits()) as subject, neighbour() as wanted:
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(subject.reach, wanted.where)
        await until(lambda: len(wanted.host.get_network().get_connections()) == 5, within=0.5)
        return {"connections": len(wanted.host.get_network().get_connections())}


async def push_to_one_that_left(open_host: OpenHost) -> dict[str, object]:
    """A peer leaves while the host has news for it. Does the host dial it?"""
    async with open_host(Limits()) as subject, listener(say_nothing) as home:
        async with raw_peer(subject.where) as peer:
            await peer.ping()
            subject.host.get_peerstore().add_addrs(peer.id, home.peer.addrs, 3600)
        await until(lambda: not subject.host.get_network().get_connections(peer.id))
        with trio.move_on_after(1):
            await subject.tell(peer.id)
        return {"dials": home.accepted}


async def only_through_a_relay(open_host: OpenHost) -> dict[str, object]:
    """A peer is known by a circuit address alone. Is the relay taken for the peer?"""
    async with open_host(Limits()) as subject, listener(hang_up) as relay:
        circuits = _Circuits()
        swarm = subject.host.get_network()
        assert isinstance(swarm, Swarm)
        swarm.transport_manager.add_transport(circuits)
        circuit = Multiaddr(f"{relay.peer.addrs[0]}/p2p/{relay.peer.peer_id}/p2p-circuit")
        connected = await _connects(subject, PeerInfo(stranger(), [circuit]))
        return {"connected": connected, "relay_dialled_as_the_peer": relay.accepted > 0, "circuits_dialled": circuits.dialled}


class _Circuits(ITransport):
    """A transport that could dial circuit addresses."""

    dialled = 0

    async def dial(self, maddr: Multiaddr) -> IRawConnection:
        self.dialled += 1
        raise OSError("the relay of this test leads nowhere")

    def can_dial(self, maddr: Multiaddr) -> bool:
        return "/p2p-circuit" in str(maddr)

    def can_listen(self, maddr: Multiaddr) -> bool:
        return False

    def create_listener(self, handler_function: THandler) -> IListener:
        raise NotImplementedError

    def protocols(self) -> list[str]:
        return ["p2p-circuit"]
