"""identify: asked on every connection, pushed at every change, believed within bounds."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
import trio
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.custom_types import TProtocol
from libp2p.identity.identify.identify import ID as IDENTIFY
from libp2p.identity.identify.pb.identify_pb2 import Identify
from libp2p.identity.identify_push.identify_push import ID_PUSH as PUSH
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.id import ID
from libp2p.peer.peerstore import create_signed_peer_record
from multiaddr import Multiaddr

from p2pkad.core.peers import PeerInfo
from p2pkad.errors import RemoteProtocolError, RequestFailed
from p2pkad.net.base import Connected, Gone, Identified, OwnAddressesChanged
from p2pkad.net.libp2p import Libp2pNetwork
from p2pkad.net.libp2p.identify import MAX_ADDRESSES, PUSHES_AT_ONCE, parse
from p2pkad.wire.addresses import parse_address
from p2pkad.wire.framing import encode_frame
from tests.net.libp2p.ends import PROTOCOL, an_end, answer, eventually, soon


async def test_both_ends_of_a_connection_learn_what_the_other_speaks_and_where_it_is():
    async with an_end() as one, an_end(server=False) as other:
        await one.network.connect(other.info, soon())
        there = await one.hears(Identified)
        assert (there.peer, there.server, there.addresses) == (other.id, False, other.info.addresses)
        assert there.remote_address in other.info.addresses
        here = await other.hears(Identified)
        assert (here.peer, here.server, here.addresses) == (one.id, True, one.info.addresses)


async def test_the_hosts_own_tables_are_kept_for_the_application():
    async with an_end() as one, an_end() as other:
        await one.network.connect(other.info, soon())
        await one.hears(Identified)
        store = one.host.get_peerstore()
        await eventually(lambda: PROTOCOL in store.get_protocols(other.host.get_id()))
        assert [str(each) for each in store.addrs(other.host.get_id())] == [each.text for each in other.info.addresses]


@pytest.mark.scenario("H11")
@pytest.mark.parametrize("at_once", [True, False])
async def test_a_peer_that_comes_back_as_a_server_is_known_as_one(at_once):
    async with an_end(server=False) as moody, an_end() as other:
        await moody.network.connect(other.info, soon())
        assert not (await other.hears(Identified)).server
        await moody.network.disconnect(other.id)
        if not at_once:
            await other.hears(Gone)
        await moody.network.set_server(True)
        await moody.network.connect(other.info, soon())
        assert (await other.hears(Identified, count=2)).server
        assert [type(event) for event in other.events] == [Connected, Identified, Gone, Connected, Identified]


@pytest.mark.scenario("H11")
async def test_a_peer_that_comes_back_under_a_new_address_is_known_there(tmp_path):
    async with an_end() as other:
        for count in (1, 2):
            async with an_end(data_dir=str(tmp_path)) as mover:
                await mover.network.connect(other.info, soon())
                assert (await other.hears(Identified, count=count)).addresses == mover.info.addresses
            await other.hears(Gone, count=count)
        first, second = other.told(Identified)
        assert first.peer == second.peer
        assert first.addresses != second.addresses


@pytest.mark.scenario("M4", "M6")
async def test_networks_on_one_connection_ignore_each_other():
    async with an_end(protocol="/a/kad/1") as one, an_end(protocol="/b/kad/1") as other:
        with pytest.raises(RequestFailed, match="does not speak /a/kad/1"):
            await one.ask(other)
        assert not (await one.hears(Identified)).server
        assert not (await other.hears(Identified)).server
        async with Libp2pNetwork(one.host, protocol="/b/kad/1", max_message=1000) as second:
            events: list[object] = []
            second.subscribe(events.append)
            await second.set_server(True)
            assert (await other.hears(Identified, count=2)).server
            second.serve(answer)
            await other.ask(PeerInfo(one.id))
        await other.hears(Identified, count=3)
        assert not other.told(Identified)[-1].server
        assert len(one.requests) == 0


async def test_a_network_opened_later_is_told_who_is_there():
    async with an_end() as one, an_end() as other:
        await one.network.connect(other.info, soon())
        await one.hears(Identified)
        late = Libp2pNetwork(one.host, protocol="/b/kad/1", max_message=1000)
        events: list[object] = []
        late.subscribe(events.append)
        async with late:
            assert [type(event) for event in events] == [Connected, Identified]
            assert one.told(Identified) == [replace(events[1], server=True)]


def pushed(number: int) -> bytes:
    """That the peer is at the port of this number."""
    address = Multiaddr(f"/ip4/8.8.8.8/tcp/{number}").to_bytes()
    return encode_frame(Identify(listen_addrs=[address], protocols=[PROTOCOL]).SerializeToString(), 4096)


@pytest.mark.scenario("H4")
async def test_of_a_peer_that_pushes_all_the_time_the_latest_is_heard_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2pkad.net.libp2p.identify.PUSHES_PER_SECOND", 10.0)
    async with an_end() as one, an_end() as other, trio.open_nursery() as nursery:
        await one.ask(other)
        await other.hears(Identified)
        heard = len(other.told(Identified))

        async def push(number: int) -> None:
            stream = await one.host.new_stream(other.host.get_id(), [PUSH])
            with suppress(Exception):
                await stream.write(pushed(number))
                await stream.close()

        began = trio.current_time()
        for number in range(1, 101):
            nursery.start_soon(push, number)
            await trio.sleep(0.01)
        taken = len(other.told(Identified)) - heard
        assert PUSHES_AT_ONCE + 5 <= taken <= PUSHES_AT_ONCE + 10 * (trio.current_time() - began) + 2
        await eventually(lambda: str(other.told(Identified)[-1].addresses[0]) == "/ip4/8.8.8.8/tcp/100")


@pytest.mark.scenario("M2")
async def test_what_a_push_leaves_out_is_as_it_was():
    async with an_end() as one, an_end() as other:
        await one.ask(other)
        before = await other.hears(Identified)
        stream = await one.host.new_stream(other.host.get_id(), [PUSH])
        address = Multiaddr("/ip4/8.8.8.8/tcp/1").to_bytes()
        await stream.write(encode_frame(Identify(listen_addrs=[address]).SerializeToString(), 4096))
        await stream.close()
        after = await other.hears(Identified, count=2)
        assert (after.server, [each.text for each in after.addresses]) == (True, ["/ip4/8.8.8.8/tcp/1"])
        description = other.network.description(one.id)
        assert description is not None
        assert (description.agent, description.observed is not None) == ("p2pkad", True)
        assert before.addresses != after.addresses


@pytest.mark.parametrize(
    ("remote", "told"),
    [
        ("/ip4/8.8.8.8/tcp/1", ["/ip4/9.9.9.9/tcp/1", "/dns4/example.org/tcp/1"]),
        ("/ip4/10.1.2.3/tcp/1", ["/ip4/9.9.9.9/tcp/1", "/dns4/example.org/tcp/1", "/ip4/192.168.1.1/tcp/1"]),
        (
            "/ip4/127.0.0.1/tcp/1",
            ["/ip4/9.9.9.9/tcp/1", "/dns4/example.org/tcp/1", "/ip4/192.168.1.1/tcp/1", "/ip4/127.0.0.1/tcp/1"],
        ),
    ],
)
async def test_a_peer_is_told_the_addresses_that_reach_as_far_as_it_is(
    remote: str, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with an_end() as one, an_end() as other:
        monkeypatch.setattr("p2pkad.net.libp2p.identify.remote_address", lambda connection: parse_address(remote))
        everywhere = ["/ip4/9.9.9.9/tcp/1", "/dns4/example.org/tcp/1", "/ip4/192.168.1.1/tcp/1", "/ip4/127.0.0.1/tcp/1"]
        monkeypatch.setattr(one.host, "get_addrs", lambda: [Multiaddr(text) for text in everywhere])
        there = other.info
        await one.network.connect(there, soon())
        assert [each.text for each in (await other.hears(Identified)).addresses] == told


@pytest.mark.scenario("M2")
async def test_a_silent_peer_does_not_keep_others_from_a_push(monkeypatch):
    monkeypatch.setattr("p2pkad.net.libp2p.identify.PUSH_TIMEOUT", 0.3)
    async with an_end(server=False) as one, an_end() as other, an_end() as silent:

        async def hear_nothing(stream: NetStream) -> None:
            await trio.sleep_forever()

        silent.host.set_stream_handler(TProtocol("/ipfs/id/push/1.0.0"), hear_nothing)
        for peer in (silent, other):
            await one.network.connect(peer.info, soon())
        await other.hears(Identified)
        await silent.hears(Identified)
        await one.network.set_server(True)
        assert (await other.hears(Identified, count=2)).server
        for connection in one.host.get_network().get_connections():
            assert not connection.muxed_conn.streams, "what was given up is left"


async def test_an_answer_in_several_parts_is_one():
    whole = Identify(protocols=["/a"], listen_addrs=[b"x"], agent_version="go")
    own = create_new_key_pair()
    addresses = [Multiaddr("/ip4/192.0.2.1/tcp/1")] * 64
    record = create_signed_peer_record(ID.from_pubkey(own.public_key), addresses, own.private_key).marshal_envelope()
    rest = Identify(signedPeerRecord=record)
    message = parse(encode_frame(whole.SerializeToString(), 999) + encode_frame(rest.SerializeToString(), 999))
    assert list(message.protocols) == ["/a"]
    assert message.signedPeerRecord == record


@pytest.mark.parametrize("record", [b"record", b"\x1a\x01\xff"])
async def test_a_record_that_cannot_be_read_is_left_out(record):
    said = Identify(protocols=["/a"], signedPeerRecord=record)
    message = parse(encode_frame(said.SerializeToString(), 999))
    assert (list(message.protocols), message.signedPeerRecord) == (["/a"], b"")


@pytest.mark.parametrize("said", [b"", b"\x05\x01", encode_frame(b"\xff", 9), b"\xff\xff\xff\xff\x7f"])
async def test_what_is_no_answer_is_the_peers_fault(said):
    with pytest.raises(RemoteProtocolError):
        parse(said)


async def test_a_peer_with_a_thousand_addresses_has_a_bounded_number():
    async with an_end() as one, an_end() as boaster:
        claimed = [parse_address(f"/ip4/192.0.{n // 250}.{n % 250}/tcp/1").raw for n in range(1000)]

        async def boast(stream: NetStream) -> None:
            message = Identify(protocols=[PROTOCOL, "/\x00" * 100], listen_addrs=[b"\xff\xff", *claimed])
            await stream.write(encode_frame(message.SerializeToString(), 10**6))
            await stream.close()

        boaster.host.set_stream_handler(IDENTIFY, boast)
        await one.network.connect(boaster.info, soon())
        news = await one.hears(Identified)
        assert news.server
        assert len(news.addresses) == MAX_ADDRESSES - 1


async def test_a_change_of_the_own_addresses_is_told(monkeypatch):
    monkeypatch.setattr("p2pkad.net.libp2p.backbone.SWEEP_INTERVAL", 0.01)
    async with an_end() as one:
        monkeypatch.setattr(one.host, "_announce", [Multiaddr("/ip4/203.0.113.9/tcp/4001")])
        event = await one.hears(OwnAddressesChanged)
        assert [address.text for address in event.addresses] == ["/ip4/203.0.113.9/tcp/4001"]


async def test_where_a_host_listens_is_no_change_of_its_addresses(monkeypatch):
    monkeypatch.setattr("p2pkad.net.libp2p.backbone.SWEEP_INTERVAL", 0.01)
    async with an_end() as one:
        with trio.move_on_after(0.2):
            await one.hears(OwnAddressesChanged)
            raise AssertionError("nothing has changed")
