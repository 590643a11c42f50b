"""Names in addresses are resolved when they are dialled, within bounds, and failures name them."""

from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing
from libp2p.peer.peerinfo import PeerInfo as ForeignPeerInfo
from multiaddr import Multiaddr

import p2pkad
from p2pkad.config import HostConfig, KademliaConfig
from p2pkad.core.peers import PeerInfo, Scope
from p2pkad.core.scope import addresses_for
from p2pkad.errors import PeerUnreachable
from p2pkad.events import BootstrapEnded
from p2pkad.identity import Identity
from p2pkad.net.libp2p import new_host
from p2pkad.net.libp2p.ids import foreign_id
from p2pkad.net.libp2p.names import MAX_DEPTH, MAX_FOUND, MAX_QUESTIONS, MAX_THREADS, NameFailed, SystemResolver, resolve
from p2pkad.wire.addresses import decode_address, parse_address
from tests.net.libp2p.ends import LOOPBACK, PATIENCE, End, an_end, eventually, soon
from tests.net.libp2p.test_dialer import PEER
from tests.net.libp2p.test_transports import port_of
from tests.support.name_server import NameServer, name_server

STRANGER = Identity.generate().id


async def told(server: NameServer, text: str) -> list[str]:
    """What an address stands for."""
    return [each.text for each in await resolve(parse_address(text), PEER, server.resolver())]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("/dns4/a.test/tcp/1", ["/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.2/tcp/1"]),
        ("/dns6/a.test/udp/1/quic-v1", ["/ip6/2001:db8::1/udp/1/quic-v1"]),
        ("/dns/a.test/tcp/1/ws", ["/ip4/192.0.2.1/tcp/1/ws", "/ip4/192.0.2.2/tcp/1/ws", "/ip6/2001:db8::1/tcp/1/ws"]),
        ("/dnsaddr/b.test", ["/ip4/192.0.2.7/tcp/7", "/ip4/192.0.2.1/tcp/8", "/ip4/192.0.2.2/tcp/8", "/ip4/192.0.2.9/tcp/9"]),
        ("/ip4/192.0.2.1/tcp/1", ["/ip4/192.0.2.1/tcp/1"]),
    ],
)
async def test_an_address_stands_for_all_that_its_name_leads_to(text, found):
    records = {
        ("a.test", "A"): ["192.0.2.1", "192.0.2.2"],
        ("a.test", "AAAA"): ["2001:db8::1"],
        ("_dnsaddr.b.test", "TXT"): [
            f"dnsaddr=/ip4/192.0.2.7/tcp/7/p2p/{PEER}",
            f"dnsaddr=/ip4/192.0.2.66/tcp/7/p2p/{STRANGER}",
            f"dnsaddr=/dns4/a.test/tcp/8/p2p/{PEER}",
            f"dnsaddr=/dnsaddr/c.test/p2p/{PEER}",
            "dnsaddr=/ip4/192.0.2.7/tcp/7",
            "dnsaddr=nonsense",
            "v=spf1 -all",
        ],
        ("_dnsaddr.c.test", "TXT"): [f"dnsaddr=/ip4/192.0.2.9/tcp/9/p2p/{PEER}"],
    }
    async with name_server(records) as server:
        assert sorted(await told(server, text)) == sorted(found)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("/dns4/nobody.test/tcp/1", "nobody.test: there is no such name"),
        ("/dns6/a.test/tcp/1", "a.test: it has no AAAA record"),
        ("/dnsaddr/nobody.test", "_dnsaddr.nobody.test: there is no such name"),
        ("/dnsaddr/others.test", "others.test: it says nothing of this peer"),
    ],
)
async def test_a_name_that_leads_nowhere_is_named(text, says):
    others = [f"dnsaddr=/ip4/192.0.2.66/tcp/7/p2p/{STRANGER}"]
    async with name_server({("a.test", "A"): ["192.0.2.1"], ("_dnsaddr.others.test", "TXT"): others}) as server:
        with pytest.raises(NameFailed) as caught:
            await told(server, text)
    assert str(caught.value) == says


async def test_where_nobody_can_be_dialled_is_left_out():
    async with name_server({("a.test", "A"): ["224.0.0.1", "192.0.2.1"], ("b.test", "A"): ["240.0.0.1"]}) as server:
        assert await told(server, "/dns4/a.test/tcp/1") == ["/ip4/192.0.2.1/tcp/1"]
        with pytest.raises(NameFailed, match=r"b\.test: it leads to 240\.0\.0\.1, where nobody can be dialled"):
            await told(server, "/dns4/b.test/tcp/1")


async def test_names_that_lead_to_each_other_come_to_an_end():
    chain = [f"n{number}.test" for number in range(MAX_DEPTH + 3)]
    records = {(f"_dnsaddr.{name}", "TXT"): [f"dnsaddr=/dnsaddr/{after}/p2p/{PEER}"] for name, after in pairwise(chain)}
    loop = [f"dnsaddr=/dnsaddr/loop.test/p2p/{PEER}"] * 3
    wide = [f"dnsaddr=/dnsaddr/w{number}.test/p2p/{PEER}" for number in range(MAX_QUESTIONS + 10)]
    records |= {("_dnsaddr.loop.test", "TXT"): loop, ("_dnsaddr.wide.test", "TXT"): wide}
    async with name_server(records) as server:
        for name, most in (("n0.test", MAX_DEPTH), ("loop.test", MAX_DEPTH), ("wide.test", MAX_QUESTIONS)):
            server.asked.clear()
            with pytest.raises(NameFailed):
                await told(server, f"/dnsaddr/{name}")
            assert 1 < len(server.asked) <= most


async def test_a_name_stands_for_a_bounded_number_of_addresses():
    many = [f"192.0.2.{number}" for number in range(1, MAX_FOUND + 9)]

    class Generous(SystemResolver):
        async def addresses(self, name: str, version: int) -> list[str]:
            return many

    assert len(await resolve(parse_address("/dns4/a.test/tcp/1"), PEER, Generous())) == MAX_FOUND


async def test_the_machine_knows_its_own_name():
    found = await resolve(parse_address("/dns4/localhost/tcp/1"), PEER, SystemResolver())
    assert [each.text for each in found] == ["/ip4/127.0.0.1/tcp/1"]


@asynccontextmanager
async def a_caller(server: NameServer, **config: object) -> AsyncIterator[End]:
    async with an_end(host={"resolver": server.resolver()}, **config) as end:
        yield end


async def test_a_peer_is_reached_by_each_kind_of_name():
    async with an_end() as called:
        port = called.info.addresses[0].text.rpartition("/")[2]
        records = {
            ("a.test", "A"): ["127.0.0.1"],
            ("_dnsaddr.a.test", "TXT"): [f"dnsaddr=/ip4/127.0.0.1/tcp/{port}/p2p/{called.id}"],
        }
        async with name_server(records) as server, a_caller(server) as caller:
            for text in (f"/dns4/a.test/tcp/{port}", f"/dns/a.test/tcp/{port}", "/dnsaddr/a.test"):
                await caller.ask(PeerInfo(called.id, (parse_address(text),)))
                await caller.network.disconnect(called.id)


async def test_a_stranger_leads_nobody_into_his_own_network_by_a_name():
    async with an_end() as called:
        port = called.info.addresses[0].text.rpartition("/")[2]
        leads = f"dnsaddr=/ip4/127.0.0.1/tcp/{port}/p2p/{called.id}"
        records = {("a.test", "A"): ["127.0.0.1"], ("_dnsaddr.a.test", "TXT"): [leads]}
        async with name_server(records) as server, a_caller(server) as caller:
            for text in (f"/dns4/a.test/tcp/{port}", "/dnsaddr/a.test"):
                told = decode_address(parse_address(text).raw, called.id)
                with pytest.raises(PeerUnreachable, match=r"a\.test: it leads to 127\.0\.0\.1, which is nearer"):
                    await caller.ask(PeerInfo(called.id, addresses_for((told,), "auto", Scope.PUBLIC)))
                assert not called.network.connections()
                for rule, scope in (("auto", Scope.LOOPBACK), ("all", Scope.PUBLIC)):
                    await caller.ask(PeerInfo(called.id, addresses_for((told,), rule, scope)))
                    await caller.network.disconnect(called.id)
                    await eventually(lambda: not called.network.connections())


async def test_who_typed_a_name_is_not_kept_from_it_by_a_stranger_who_told_it():
    both_wait = trio.Event()

    class Slow:
        async def addresses(self, name: str, version: int) -> list[str]:
            await both_wait.wait()
            return ["127.0.0.1"]

    async with an_end() as called, an_end(host={"resolver": Slow()}) as caller, trio.open_nursery() as nursery:
        typed = parse_address(f"/dns4/a.test/tcp/{called.info.addresses[0].text.rpartition('/')[2]}")
        told = decode_address(typed.raw, called.id)
        nursery.start_soon(caller.ask, PeerInfo(called.id, (told,)))
        await eventually(lambda: caller.host.backbone.dialer.dials(called.id))
        nursery.start_soon(caller.ask, PeerInfo(called.id, (typed,)))
        await trio.testing.wait_all_tasks_blocked()
        both_wait.set()


async def test_an_application_may_name_its_own_hosts():
    async with an_end() as called:
        records = {("a.test", "A"): ["127.0.0.1"]}
        async with name_server(records) as server, a_caller(server) as caller:
            address = Multiaddr(f"/dns4/a.test/tcp/{called.info.addresses[0].text.rpartition('/')[2]}")
            await caller.host.connect(ForeignPeerInfo(foreign_id(called.id), [address]))
            assert called.id in caller.network.connections()


@pytest.mark.scenario("H4")
async def test_a_name_that_was_typed_does_not_wait_for_those_that_were_told(monkeypatch):
    asked: list[str] = []
    over = threading.Event()

    def look_up(name: Any, *rest: Any, **options: Any) -> Any:
        if str(name).startswith("told"):
            asked.append(name)
            over.wait(PATIENCE)
        return known("127.0.0.1" if name == "typed.test" else name, *rest, **options)

    async def dial(caller: End, number: int) -> None:
        name = decode_address(parse_address(f"/dns4/told-{number}.test/tcp/1").raw, PEER)
        with pytest.raises(PeerUnreachable, match="no name server answered"):
            await caller.network.connect(PeerInfo(Identity.generate().id, (name,)), soon())

    async with an_end() as called, an_end(dial_timeout=0.5) as caller:
        known = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        try:
            async with trio.open_nursery() as nursery:
                for number in range(MAX_THREADS + 1):
                    nursery.start_soon(dial, caller, number)
            assert len(asked) == MAX_THREADS, "the machine still looks for them"
            await caller.ask(PeerInfo(called.id, (parse_address(f"/dns4/typed.test/tcp/{port_of(called)}"),)))
        finally:
            over.set()


@pytest.mark.scenario("H3")
async def test_nobody_is_asked_for_a_name_that_leads_to_no_transport_of_this_host():
    texts = ("/dns4/a.test/tcp/1/tls/ws", "/dns/a.test/udp/1/quic-v1", "/dnsaddr/b.test")
    records = {("_dnsaddr.b.test", "TXT"): [f"dnsaddr=/dns6/a.test/tcp/1/ws/p2p/{PEER}"], ("a.test", "A"): ["192.0.2.1"]}
    async with name_server(records) as server, a_caller(server, dial_transports=("tcp",)) as caller:
        with pytest.raises(PeerUnreachable) as caught:
            await caller.network.connect(PeerInfo(PEER, tuple(map(parse_address, texts))), soon())
        assert set(caught.value.causes) == {(text, "no transport for it") for text in (*texts[:2], "/dns6/a.test/tcp/1/ws")}
        assert {name for name, _ in server.asked} == {"_dnsaddr.b.test"}


@pytest.mark.scenario("H3")
async def test_a_silent_name_server_costs_the_dial_deadline_and_the_other_address_is_dialled_meanwhile():
    async with name_server({}, silent=True) as server, a_caller(server, dial_timeout=0.5) as caller, an_end() as called:
        name = parse_address("/dns4/a.test/tcp/1")
        with pytest.raises(PeerUnreachable, match=r"/dns4/a\.test/tcp/1.*no name server answered within 0\.5 s"):
            await caller.network.connect(PeerInfo(PEER, (name,)), soon())
        await caller.ask(PeerInfo(called.id, (name, *called.info.addresses)))


async def test_which_name_failed_is_told_when_bootstrapping_ends():
    async with name_server({}) as server:
        peer = f"/dnsaddr/gone.test/p2p/{PEER}"
        host = new_host(HostConfig(listen=LOOPBACK), resolver=server.resolver())
        ended: list[BootstrapEnded] = []
        async with host.run(), p2pkad.KademliaService(host, KademliaConfig(bootstrap=(peer,))) as node:
            node.subscribe(ended.append, BootstrapEnded)
            await eventually(lambda: ended)
        ((failed, why),) = ended[0].failed
        assert failed == PEER
        assert "_dnsaddr.gone.test: there is no such name" in why


async def test_a_dial_that_is_cancelled_while_it_resolves_leaves_nothing():
    async with name_server({}, silent=True) as server, a_caller(server) as caller:
        with trio.move_on_after(0.1):
            await caller.network.connect(PeerInfo(PEER, (parse_address("/dns4/a.test/tcp/1"),)), soon())
        await eventually(lambda: not caller.host.backbone.dialer.pending)
