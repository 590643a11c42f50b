"""Peers that come, stay, go and come back. Faults 3, 4, 18, 19, 24, 25."""

from __future__ import annotations

import trio
import trio.testing
from libp2p.peer.peerstore import PeerStoreError
from multiaddr import Multiaddr

from tests.faults.stock import neighbour
from tests.faults.subjects import Limits, OpenHost, Subject, connection_to, stay_with
from tests.support.neighbours import stranger, until
from tests.support.raw_peer import raw_peer

FEW = 8


async def come_and_go(open_host: OpenHost) -> dict[str, object]:
    """Three times as many peers as there is room for come, one after the other, each leaving before the next."""
    answered = 0
    async with open_host(Limits(max_connections=FEW)) as subject:
        for _ in range(3 * FEW):
            try:
                async with raw_peer(subject.where) as peer:
                    answered += await peer.ping()
            except Exception:  # whatever way the host refuses
                continue
            await until(lambda: not subject.host.get_network().get_connections())
    return {"answered": answered}


async def more_peers_than_it_remembers(open_host: OpenHost) -> dict[str, object]:
    """More peers tell the host their addresses than it remembers. Does it still have its own key?"""
    async with open_host(Limits(max_known_peers=20)) as subject:
        book = subject.host.get_peerstore()
        for _ in range(subject.known_peers + 20):
            book.add_addrs(stranger(), [Multiaddr("/ip4/127.0.0.1/tcp/4001")], 7200)
        try:
            subject.host.get_private_key()
        except PeerStoreError as error:
            return {"own_key": type(error).__name__}
        return {"own_key": "there"}


async def dial_when_full(open_host: OpenHost) -> dict[str, object]:
    """As many peers are connected as may be, and the host wants to reach one more."""
    async with open_host(Limits(max_connections=FEW)) as subject, neighbour() as wanted, trio.open_nursery() as nursery:
        for _ in range(FEW):
            await nursery.start(stay_with, subject)
        await until(lambda: len(subject.host.get_network().get_connections()) == FEW, within=1)
        try:
            await subject.connect(wanted.where)
        except Exception as error:  # the answer is its name
            return {"dialled": type(error).__name__}
        finally:
            nursery.cancel_scope.cancel()
        return {"dialled": "connected"}


async def dial_each_other_at_once(open_host: OpenHost) -> dict[str, object]:
    """Two hosts dial each other at the same instant. Then the older connection is lost; another time, the newer one."""
    rounds = [await _dial_each_other(open_host, lost) for lost in (0, -1)]
    return {
        "connections": {connections for connections, _ in rounds},
        "answered": all(answered for _, answered in rounds),
    }


async def _dial_each_other(open_host: OpenHost, lost: int) -> tuple[tuple[int, int], bool]:
    async with open_host(Limits()) as subject, neighbour() as other:
        await other.set_server(True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(subject.connect, other.where)
            nursery.start_soon(other.connect, subject.where)
        await connection_to(subject, other.host.get_id())
        await connection_to(other, subject.host.get_id())
        both = _connections(subject, other), _connections(other, subject)
        before = await subject.ask(other.where)
        await subject.host.get_network().get_connections(other.host.get_id())[lost].close()
        return both, before and await subject.ask(other.where)


def _connections(here: Subject, there: Subject) -> int:
    return len(here.host.get_network().get_connections(there.host.get_id()))


async def disconnect_while_another_is_made(open_host: OpenHost) -> dict[str, object]:
    """A second connection to a peer comes up while the first is being closed on the host's own wish."""
    async with open_host(Limits()) as subject, neighbour() as other:
        await subject.connect(other.where)
        await connection_to(other, subject.host.get_id())
        network, second_is_up = subject.host.get_network(), trio.Event()
        (first,) = network.get_connections(other.host.get_id())
        closes = first.close

        async def close_late() -> None:
            await second_is_up.wait()
            await closes()

        first.close = close_late
        async with trio.open_nursery() as nursery:
            nursery.start_soon(subject.disconnect, other.host.get_id())
            await trio.testing.wait_all_tasks_blocked()
            await network.dial_addr(other.where.addrs[0], other.host.get_id())
            second_is_up.set()
        await until(lambda: _connections(subject, other) == _connections(other, subject), within=1)
        return {"here": _connections(subject, other), "there": _connections(other, subject)}
