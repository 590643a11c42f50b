"""Peers on the local network: what is announced, what is believed, and what it may cost. On the loopback, where it can."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

import p2pkad
from p2pkad.core.peers import PeerInfo, Scope
from p2pkad.events import PeerAdmitted
from p2pkad.identity import Identity
from p2pkad.net.base import Connected, Found
from p2pkad.net.libp2p import mdns
from p2pkad.net.libp2p.mdns import MAX_ADDRESSES, MAX_HEARD, MAX_KNOWN, TELL_AGAIN, Finds, Mdns
from p2pkad.wire.addresses import parse_address
from tests.net.libp2p.ends import LOOPBACK, PATIENCE, an_end, eventually
from tests.support.child import Returned, run_in_child
from tests.support.worlds import peer_id

GROUP = ("224.0.0.251", 5353)
OWN, ALICE, BOB = peer_id(0), peer_id(1), peer_id(2)
HOME = "/ip4/192.168.1.7/tcp/4001"


@pytest.fixture(scope="module")
def multicast() -> None:
    """The loopback carries multicast, as it does on Linux."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
        try:
            ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            ear.bind(GROUP)
            ear.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(GROUP[0]) + b"\x7f\0\0\x01")
            mouth.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, b"\x7f\0\0\x01")
            ear.settimeout(5)
            mouth.sendto(b"is somebody there", GROUP)
            ear.recv(100)
        except OSError as error:
            pytest.skip(f"NOT RUN: no multicast on the loopback: {error}")


def told(peer: object, *addresses: str) -> bytes:
    """A TXT record that announces `peer` at these addresses."""
    return strings(*(f"dnsaddr={address}/p2p/{peer}".encode() for address in addresses))


def strings(*texts: bytes) -> bytes:
    return b"".join(bytes([len(text)]) + text for text in texts)


def at(*addresses: str) -> tuple[object, ...]:
    return tuple(parse_address(address) for address in addresses)


# What is believed


def test_an_announcement_is_read_by_its_addresses() -> None:
    quic = "/ip4/192.168.1.7/udp/4001/quic-v1"
    assert mdns.read(told(ALICE, HOME, quic)) == PeerInfo(ALICE, at(HOME, quic))


def test_what_a_host_announces_is_what_another_reads() -> None:
    own = Identity.generate().id
    service = mdns.announcement(own, mdns.near(at(HOME, "/ip6/fd00::7/tcp/4001")))
    assert service is not None
    assert mdns.read(service.text) == PeerInfo(own, at(HOME, "/ip6/fd00::7/tcp/4001"))
    assert service.parsed_addresses() == ["192.168.1.7", "fd00::7"]


def test_each_announcement_has_a_name_of_its_own_that_says_nothing() -> None:
    one, other = mdns.announcement(ALICE, at(HOME)), mdns.announcement(ALICE, at(HOME))
    assert one is not None
    assert other is not None
    assert one.name != other.name
    assert 32 <= len(one.name.split(".")[0]) <= 63


def test_a_host_that_listens_on_no_local_network_announces_nothing() -> None:
    assert mdns.announcement(ALICE, mdns.near(at("/ip4/8.8.8.8/tcp/4001"))) is None


@pytest.mark.parametrize(
    "address",
    ["/ip4/8.8.8.8/tcp/4001", "/dns4/printer.local/tcp/4001", "/ip4/192.168.1.7/tcp/4001/p2p/" + str(BOB) + "/p2p-circuit"],
)
def test_what_leads_out_of_the_local_network_is_not_believed(address: str) -> None:
    assert mdns.read(told(ALICE, address)) is None
    assert mdns.read(told(ALICE, address, HOME)) == PeerInfo(ALICE, at(HOME))


def test_an_address_of_this_machine_is_believed_of_who_has_no_other() -> None:
    own = "/ip4/127.0.0.1/tcp/4001"
    assert mdns.read(told(ALICE, own, HOME)) == PeerInfo(ALICE, at(HOME))
    assert mdns.read(told(ALICE, own)) == PeerInfo(ALICE, at(own))


def test_an_announcement_speaks_for_one_peer() -> None:
    assert mdns.read(told(ALICE, HOME) + told(BOB, "/ip4/192.168.1.8/tcp/1")) == PeerInfo(ALICE, at(HOME))


def test_of_many_addresses_some_are_read() -> None:
    many = [f"/ip4/192.168.1.7/tcp/{port}" for port in range(1, 1000)]
    info = mdns.read(told(ALICE, *many))
    assert info is not None
    assert len(info.addresses) == MAX_ADDRESSES


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\x00",
        b"\xff",
        strings(b"dnsaddr="),
        strings(b"dnsaddr=/p2p/"),
        strings(b"dnsaddr=\xff\xfe"),
        strings(f"dnsaddr={HOME}".encode()),
        strings(f"dnsaddr={HOME}/p2p/nobody".encode()),
        strings(f"DNSADDR={HOME}/p2p/{ALICE}".encode()),
        told(ALICE, HOME)[:-1],
    ],
)
def test_garbage_announces_nobody(text: bytes) -> None:
    assert mdns.read(text) is None


def hostile_texts() -> st.SearchStrategy[bytes]:
    piece = st.sampled_from(
        [b"dnsaddr=", b"/ip4/", b"/ip6/", b"/p2p/", str(ALICE).encode(), b"10.0.0.1", b"/tcp/", b"1", b"/p2p-circuit", b"/dns/"]
    )
    string = st.lists(piece | st.binary(max_size=5), max_size=8).map(lambda parts: b"".join(parts)[:255])
    return st.binary() | st.lists(string, max_size=4).map(lambda texts: strings(*texts))


@given(hostile_texts())
def test_whatever_comes_only_addresses_near_by_come_out(text: bytes) -> None:
    info = mdns.read(text)
    assert info is None or all(address.scope < Scope.PUBLIC and address.ip_group for address in info.addresses)


# What it may cost


@pytest.fixture
async def finds(nursery: trio.Nursery) -> tuple[Finds, list[PeerInfo]]:
    """Finds in virtual time, and who they told of."""
    heard: list[PeerInfo] = []
    made = Finds(OWN, heard.append)
    await nursery.start(made.run)
    return made, heard


async def test_who_was_told_of_is_told_of_again_after_a_while_or_when_it_moved(
    autojump_clock: trio.testing.MockClock, finds: tuple[Finds, list[PeerInfo]]
) -> None:
    made, heard = finds
    for _ in range(100):
        made.hear(told(ALICE, HOME))
        await trio.sleep(1)
    assert heard == [PeerInfo(ALICE, at(HOME))]
    assert made.nearby() == heard
    made.hear(told(ALICE, "/ip4/192.168.1.9/tcp/4001"))
    await trio.sleep(1)
    assert len(heard) == 2
    await trio.sleep(TELL_AGAIN)
    assert made.nearby() == []
    made.hear(told(ALICE, "/ip4/192.168.1.9/tcp/4001"))
    await trio.sleep(1)
    assert len(heard) == 3


async def test_oneself_is_not_told_of(autojump_clock: trio.testing.MockClock, finds: tuple[Finds, list[PeerInfo]]) -> None:
    made, heard = finds
    made.hear(told(OWN, HOME))
    made.hear(b"garbage")
    made.hear(told(ALICE, HOME))
    await trio.sleep(1)
    assert [info.id for info in heard] == [ALICE]


async def test_of_ten_thousand_peers_a_few_are_told_of_at_once_and_then_one_a_second(
    autojump_clock: trio.testing.MockClock, finds: tuple[Finds, list[PeerInfo]]
) -> None:
    made, heard = finds
    for number in range(1, 10_001):
        made.hear(told(peer_id(number), HOME))
    await trio.sleep(10)
    assert mdns.BURST <= len(heard) <= mdns.BURST + 10
    await trio.sleep(1000)
    assert len(heard) == MAX_HEARD


async def test_who_was_told_of_is_remembered_within_a_bound(
    autojump_clock: trio.testing.MockClock, finds: tuple[Finds, list[PeerInfo]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mdns, "MAX_KNOWN", 8)
    assert MAX_KNOWN > 8
    made, heard = finds
    for number in range(1, 33):
        made.hear(told(peer_id(number), HOME))
    await trio.sleep(60)
    assert len(heard) == 32
    assert made.nearby() == heard[-8:]


# On the loopback


@pytest.mark.usefixtures("multicast")
async def test_two_hosts_find_each_other() -> None:
    async with an_end(mdns=True) as one, an_end(mdns=True) as other:
        await eventually(lambda: Found(other.info) in one.events and Found(one.info) in other.events)


@pytest.mark.usefixtures("multicast")
async def test_a_network_that_comes_later_is_told_who_was_found() -> None:
    async with an_end(mdns=True) as one, an_end(mdns=True) as other:
        await one.hears(Found)
        await eventually(lambda: Found(other.info) in one.events)
        async with one.host.open_network(protocol="/test/late/1.0.0", max_message=1024) as late:
            heard: list[object] = []
            late.subscribe(heard.append)
            assert Found(other.info) in heard


@pytest.mark.usefixtures("multicast")
async def test_a_host_without_the_option_neither_announces_itself_nor_hears() -> None:
    async with an_end() as silent, an_end(mdns=True) as one, an_end(mdns=True) as other:
        await eventually(lambda: Found(other.info) in one.events)
        assert silent.told(Found) == []
        assert silent.id not in {found.info.id for found in one.told(Found)}


@pytest.mark.usefixtures("multicast")
async def test_two_nodes_find_each_other_without_a_bootstrap_peer() -> None:
    async with (
        p2pkad.open_node(listen=LOOPBACK, mdns=True, protocol="/test/mdns/1.0.0") as one,
        p2pkad.open_node(listen=LOOPBACK, mdns=True, protocol="/test/mdns/1.0.0") as other,
    ):
        await one.wait_ready(peers=1, timeout=PATIENCE)
        await other.wait_ready(peers=1, timeout=PATIENCE)
        assert [info.id for info in await one.closest_peers(b"key")] == [other.id]


@pytest.mark.usefixtures("multicast")
async def test_a_peer_of_another_protocol_costs_one_dial() -> None:
    async with an_end(mdns=True) as stranger, p2pkad.open_node(listen=LOOPBACK, mdns=True) as node:
        admitted: list[PeerAdmitted] = []
        node.subscribe(admitted.append, PeerAdmitted)
        await stranger.hears(Connected)
        async with p2pkad.open_node(listen=LOOPBACK, mdns=True) as third:  # all announce themselves once more
            await eventually(lambda: third.id in {event.peer for event in admitted})
        assert stranger.id not in {event.peer for event in admitted}
        assert [event.peer for event in stranger.told(Connected)].count(node.id) == 1


@pytest.mark.usefixtures("multicast")
async def test_what_is_no_announcement_at_all_does_not_disturb(caplog: pytest.LogCaptureFixture) -> None:
    async with an_end(mdns=True) as one:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
            mouth.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, b"\x7f\0\0\x01")
            for length in range(0, 1400, 7):
                mouth.sendto(os.urandom(length), GROUP)
                mouth.sendto(b"\0\0\x84\0" + os.urandom(length), GROUP)
                await trio.lowlevel.checkpoint()
        async with an_end(mdns=True) as other:
            await eventually(lambda: Found(other.info) in one.events)
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


# Closing, and where there is no multicast


def conversations() -> list[str]:
    """Threads that speak mDNS."""
    return [thread.name for thread in threading.enumerate() if "converse" in thread.name]


def sockets() -> Iterator[str]:
    """The sockets of this process, of whatever kind."""
    for entry in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            target = os.readlink(f"/proc/self/fd/{entry}")
            if target.startswith("socket:"):
                yield target


async def closed_at_any_moment() -> tuple[int, list[str]]:
    """How many sockets more there are after hosts were cancelled early and late, and threads that are left."""
    async with an_end(mdns=True):
        await trio.sleep(0.2)
    before = len(list(sockets()))
    for hundredths in range(20):
        with trio.move_on_after(hundredths / 50):
            async with an_end(mdns=True):
                await trio.sleep_forever()
    return len(list(sockets())) - before, conversations()


@pytest.mark.long
@pytest.mark.scenario("H8")
@pytest.mark.usefixtures("multicast")
def test_closing_at_any_moment_leaves_no_thread_and_no_socket() -> None:
    assert run_in_child(closed_at_any_moment, seconds=120.0) == Returned((0, []))


async def test_without_multicast_there_is_one_warning_and_the_host_runs(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mdns, "LOOK_AT_OWN_EVERY", 0.001)
    moves: list[int] = []

    def addresses() -> tuple[object, ...]:
        moves.append(1)
        return at(f"/ip4/10.255.254.{len(moves) // 2 % 250 + 1}/tcp/1")  # none that this machine has

    with trio.move_on_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Mdns(OWN, addresses, print).run)
            await eventually(lambda: len(moves) >= 20)
            nursery.cancel_scope.cancel()
    assert [record.name for record in caplog.records].count(mdns.__name__) == 1
    assert "peers on the local network are not found" in caplog.text
    assert conversations() == []


async def test_what_did_not_work_is_tried_again_with_pauses_that_grow(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network may be down when a host starts, or for a while; its addresses need not change."""
    began, tried = trio.current_time(), list[float]()

    async def converse(*_: object) -> bool:
        tried.append(round(trio.current_time() - began))
        if len(tried) == 4:
            await trio.sleep(1000)  # it works for a while
        return False

    own = Mdns(OWN, lambda: at("/ip4/10.255.254.1/tcp/1"), print)
    monkeypatch.setattr(own, "_in_thread", converse)
    with trio.move_on_after(2000):
        await own.run()
    assert tried[:7] == [0, 5, 15, 35, 1040, 1050, 1070]
    assert max(after - before for before, after in pairwise(tried[4:])) <= mdns.LONGEST_PAUSE
