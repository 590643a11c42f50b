"""Where js-libp2p does otherwise than p2pkad, go and the specification, and that we get on with it all the same.

A test marked with a deviation turns red when js stops deviating: then its line in interop/DEVIATIONS.md goes.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from driver import Driver, Language, Peer, PeerError, eventually, plain, unbase64
from frames import Kind, request

import p2pkad
from p2pkad.core.messages import FindNode, FindNodeReply, GetProviders, Ping, PingReply, PutValue
from p2pkad.core.peers import PeerInfo
from p2pkad.core.records import Record
from p2pkad.errors import RemoteProtocolError, RequestFailed
from p2pkad.identity import Identity, PublicKey, peer_id
from p2pkad.net.base import Network
from p2pkad.validators.public_key import PublicKeyValidator
from tests.interop.asking import announce, ask, becomes_provider, knows, open_node, providers_of, put, table_of, value_at

pytestmark = pytest.mark.foreign

KEY = b"/violence/servers/alpha"
CONTENT = p2pkad.content_key(b"something")
PATH, FAR = b"/ipfs/bafkqaaa", "2100-01-01T00:00:00Z"
PATIENCE = 20.0


@pytest.fixture
def language(language_of: Callable[[str], Language]) -> Language:
    return language_of("js")


@pytest.fixture
async def js(driver: Driver, language: Language) -> Peer:
    """A js server, alone so far."""
    return await driver.start("js", language, validator=["violence=opaque", "ipns=ipns"])


@pytest.mark.deviation("js-worse-replaces-better")
@pytest.mark.scenario("V3")
async def test_a_worse_record_replaces_a_better_one_on_js_but_not_here(js: Peer, raw: Network) -> None:
    async with open_node(js.address) as node:
        await knows(js, node.id)
        await node.put_value(KEY, b"new")
        await put(raw, js, KEY, b"late")
        assert await value_at(raw, js, KEY) == b"late"
        assert await node.get_value(KEY) == b"new"


@pytest.mark.deviation("js-puts-unjudged")
@pytest.mark.scenario("V2", "V3")
async def test_js_sends_what_its_own_validator_refuses_and_we_refuse_it(js: Peer) -> None:
    async with open_node(js.address) as node:
        await knows(js, node.id)
        await node.put_value(KEY, b"new")
        for key, value in ((KEY, b"late"), (b"/pk/" + node.id, b"no key")):
            with pytest.raises(PeerError, match="nobody stored it"):
                await js.ask("put", key=key, value=value)
        assert await node.local_value(KEY) == b"new"


@pytest.mark.deviation("js-key-of-the-record")
async def test_a_record_under_the_wrong_key_is_stored_under_its_own_by_js(js: Peer, raw: Network) -> None:
    with pytest.raises(RemoteProtocolError):
        await ask(raw, js, PutValue(KEY, Record(KEY + b"2", b"value")))
    assert await value_at(raw, js, KEY) is None
    assert await value_at(raw, js, KEY + b"2") == b"value"


@pytest.mark.scenario("V2")
async def test_js_refuses_what_we_would_not_send(js: Peer, raw: Network) -> None:
    for key in (b"/pk/" + raw.id, b"/nobody/a", b"plain"):
        with pytest.raises(RequestFailed):
            await put(raw, js, key, b"value")


@pytest.mark.deviation("js-keeps-clients")
@pytest.mark.scenario("M2")
async def test_js_keeps_a_server_that_turned_client_and_others_do_without_it(js: Peer) -> None:
    async with open_node(js.address) as node, open_node(js.address) as other:
        await knows(js, node.id, other.id)
        await node.set_mode("client")

        async def ours() -> set[str]:
            return {str(info.id) for info in other.routing_table()}

        await eventually(ours, {js.id}.__eq__, within=PATIENCE, what="the client is gone from our table")
        assert await table_of(js) == {str(node.id), str(other.id)}
        await other.put_value(KEY, b"value")
        assert await node.get_value(KEY) == b"value"
        assert [info.id for info in await other.closest_peers(KEY)] == [peer_id(js.id)]


async def test_the_js_peer_lets_a_whole_network_in_at_once(js: Peer) -> None:
    """By itself js-libp2p has ten strangers shake hands at a time. go, which it turns away, dials it again after seconds."""
    hello = b"\x13/multistream/1.0.0\n"
    _, _, host, _, port, *_ = js.address.split("/")
    async with contextlib.AsyncExitStack() as stack:
        strangers = [await stack.enter_async_context(await trio.open_tcp_stream(host, int(port))) for _ in range(30)]
        with trio.fail_after(PATIENCE):
            for stranger in strangers:
                await stranger.send_all(hello)
            for stranger in strangers:
                heard = b""
                while len(heard) < len(hello) and (more := await stranger.receive_some(len(hello) - len(heard))):
                    heard += more
                assert heard == hello


async def test_two_pings_of_js_at_once_are_answered(js: Peer, raw: Network) -> None:
    """Its connection monitor, and its routing table: where one fails it hangs up, see js-hangs-up."""
    await ask(raw, js, FindNode(raw.id))
    for _ in range(50):
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(partial(js.ask, "ping", peer=str(raw.id)))


async def test_js_that_watches_its_connections_keeps_ours(driver: Driver, language: Language, raw: Network) -> None:
    watchful = await driver.start("watchful", language, ping_interval=500)
    await ask(raw, watchful, FindNode(raw.id))
    opened = raw.connections()[peer_id(watchful.id)].opened
    await trio.sleep(3)
    assert raw.connections()[peer_id(watchful.id)].opened == opened


@pytest.mark.deviation("js-admits-hearsay")
@pytest.mark.scenario("M1")
async def test_js_admits_a_client_that_it_hears_of_and_we_do_not(js: Peer, driver: Driver, language: Language) -> None:
    async with open_node(js.address, mode="client") as client, open_node(js.address) as server:
        await client.wait_ready(timeout=PATIENCE)
        await server.wait_ready(timeout=PATIENCE)
        await client.provide(CONTENT)
        other = await driver.start("other", language, validator="violence=opaque")
        await other.ask("bootstrap", peers=[js.address])
        await becomes_provider(js, CONTENT, str(client.id))
        await other.ask("find_providers", key=CONTENT)
        await knows(other, js.id, server.id, client.id)
        await server.connect(other.address, timeout=PATIENCE)
        found = await server.closest_peers(client.id)
        assert client.id not in {info.id for info in (*found, *server.routing_table())}


@pytest.mark.scenario("P2")
async def test_js_ignores_a_provider_that_is_somebody_else(js: Peer, raw: Network) -> None:
    own = PeerInfo(raw.id, raw.local_addresses())
    await announce(raw, js, CONTENT, PeerInfo(Identity.generate().id, own.addresses), own)
    assert await becomes_provider(js, CONTENT, str(own.id))
    assert set(await providers_of(js, CONTENT)) == {str(own.id)}


@pytest.mark.deviation("js-content-is-a-cid")
@pytest.mark.parametrize("key", [b"\x00\x04abcd", b"hello"])
async def test_js_has_no_providers_of_what_is_no_cid_of_version_0(key: bytes, js: Peer, raw: Network) -> None:
    # An announcement has no reply: whether its sender hears of the reset is a matter of speed.
    with contextlib.suppress(RequestFailed):
        await announce(raw, js, key, PeerInfo(raw.id, raw.local_addresses()))
    with pytest.raises(RequestFailed):
        await ask(raw, js, GetProviders(key))


@pytest.mark.scenario("W1")
async def test_js_gets_all_news_that_it_can_read_whatever_else_it_is_told(js: Peer) -> None:
    readable = [p2pkad.content_key(b"%d" % number) for number in range(10)]
    async with open_node(js.address) as node:
        await knows(js, node.id)

        async def is_refused(key: bytes) -> None:
            with pytest.raises(p2pkad.QuorumNotMet) as caught:
                await node.provide(key)
            assert list(caught.value.receipt.refused) == [peer_id(js.id)]

        async with trio.open_nursery() as nursery:
            for number, key in enumerate(readable):
                nursery.start_soon(is_refused, b"\x00\x06bytes%d" % number)
                nursery.start_soon(node.provide, key)
        for key in readable:
            await becomes_provider(js, key, str(node.id))


@pytest.mark.deviation("js-names-the-target-twice")
async def test_js_names_the_peer_that_was_asked_for_twice_and_once_is_enough_for_us(js: Peer, raw: Network) -> None:
    async with open_node(js.address) as node, open_node(js.address) as seeker:
        await knows(js, node.id, seeker.id)
        reply = await ask(raw, js, FindNode(node.id))
        assert isinstance(reply, FindNodeReply)
        assert [info.id for info in reply.closer].count(node.id) == 2
        found = [info.id for info in await seeker.closest_peers(node.id)]
        assert sorted(found) == sorted([node.id, peer_id(js.id)])


async def test_js_tells_its_own_entry_to_who_asks_for_it(js: Peer, raw: Network) -> None:
    reply = await ask(raw, js, FindNode(peer_id(js.id)))
    assert isinstance(reply, FindNodeReply)
    assert [info.id for info in reply.closer] == [peer_id(js.id)]


@pytest.mark.deviation("js-remembers-the-gone")
async def test_js_finds_a_peer_that_has_left(js: Peer) -> None:
    async with open_node(js.address) as node:
        await knows(js, node.id)
        gone = str(node.id)

    async def connections() -> int:
        return int((await js.ask("connections"))["count"])

    await eventually(connections, lambda count: count == 0, within=PATIENCE, what="the connection is closed")
    assert (await js.ask("find_peer", peer=gone))["peer"]["id"] == gone


@pytest.mark.deviation("js-tells-keys-unasked")
@pytest.mark.scenario("V10")
async def test_public_keys_validate_on_both_sides(js: Peer, raw: Network) -> None:
    """js knows the key of whom it is connected to, although nobody put it."""
    made = await js.ask("public_key")
    key, value = unbase64(made["key"]), unbase64(made["value"])
    assert await value_at(raw, js, b"/pk/" + raw.id) is not None
    async with open_node(js.address) as node:
        await knows(js, node.id)
        await js.ask("put", key=key, value=value)
        assert await node.local_value(key) == value
        own = Identity.generate()
        await node.put_value(b"/pk/" + own.id, own.public_key.to_protobuf())
        assert unbase64((await js.ask("get", key=b"/pk/" + own.id))["value"]) == own.public_key.to_protobuf()


@pytest.mark.scenario("V3", "V10")
async def test_names_are_published_and_resolved_on_both_sides(js: Peer) -> None:
    owner, expires = Identity.generate(), time.time() + 3600
    key = b"/ipns/" + owner.id
    first, second = (p2pkad.sign_ipns_record(owner, b"/ipfs/bafkqaaa", sequence=n, expires=expires) for n in (4, 5))
    made = await js.ask("sign_name", value=b"/ipns/example.com", sequence=1, expires="2100-01-01T00:00:00Z")
    of_js, key_of_js = unbase64(made["value"]), unbase64(made["key"])
    async with open_node(js.address, validators={"ipns": p2pkad.IpnsValidator()}) as node:
        await knows(js, node.id)
        await js.ask("put", key=key_of_js, value=of_js)
        assert p2pkad.open_ipns_record(key_of_js, await node.get_value(key_of_js)).value == b"/ipns/example.com"
        for record in (first, second):
            assert peer_id(js.id) in (await node.put_value(key, record)).stored
            assert unbase64((await js.ask("get", key=key))["value"]) == record
        choice = await js.ask("choose", key=key, values=[plain(each) for each in (first, second, first)])
        assert choice["best"] == 1
        with pytest.raises(PeerError, match="refused"):
            await js.ask("judge", key=key, value=of_js)


def identity_of(private: bytes, directory: Path) -> Identity:
    path = directory / "key"
    path.write_bytes(private)
    path.chmod(0o600)
    return Identity.load(path)


def keys_of(kinds: Callable[[str], bool]) -> list[Any]:
    """Private keys by their kinds, those that go made for the tests of the validators."""
    made = json.loads((Path(__file__).parents[1] / "validators/golden/go_keys.json").read_text())["keys"]
    return [pytest.param(bytes.fromhex(each["private"]), id=each["kind"]) for each in made if kinds(each["kind"])]


@pytest.mark.scenario("V10")
@pytest.mark.parametrize("private", keys_of(lambda kind: not kind.startswith("ECDSA")))
async def test_keys_and_names_of_js_are_valid_here_whatever_kind_the_key_is_of(js: Peer, private: bytes) -> None:
    made = await js.ask("public_key", private=private)
    PublicKeyValidator().validate(unbase64(made["key"]), unbase64(made["value"]), time.time())
    for more in ({}, {"v2_only": True}):
        how = {"value": PATH, "sequence": 7, "expires": FAR, "ttl": 300 * 10**9, **more}
        name = await js.ask("sign_name", private=private, **how)
        key, record = unbase64(name["key"]), unbase64(name["value"])
        assert key == b"/ipns/" + unbase64(made["key"]).removeprefix(b"/pk/")
        p2pkad.IpnsValidator().validate(key, record, time.time())
        opened = p2pkad.open_ipns_record(key, record)
        assert (opened.value, opened.sequence) == (PATH, 7)


@pytest.mark.scenario("V10")
@pytest.mark.parametrize("private", keys_of(lambda kind: not kind.startswith("ECDSA")))
async def test_js_takes_the_names_that_we_sign_whatever_kind_the_key_is_of(js: Peer, private: bytes, tmp_path: Path) -> None:
    owner, now = identity_of(private, tmp_path), time.time()
    key = b"/ipns/" + owner.id
    ranking = [
        p2pkad.sign_ipns_record(owner, PATH, sequence=sequence, expires=now + seconds)
        for sequence, seconds in ((0, 3600.5), (1, 3600), (1, 3600.001), (2, 3600))
    ]
    for index, record in enumerate(ranking):
        await js.ask("judge", key=key, value=record)
        choice = await js.ask("choose", key=key, values=[plain(each) for each in ranking[: index + 1]])
        assert choice["best"] == index
    for wrong in (p2pkad.sign_ipns_record(owner, PATH, sequence=3, expires=now - 1), ranking[0][:-1]):
        with pytest.raises(PeerError, match="refused"):
            await js.ask("judge", key=key, value=wrong)


@pytest.mark.deviation("js-ecdsa-keys")
@pytest.mark.parametrize("private", keys_of(lambda kind: kind == "ECDSA"))
async def test_public_keys_of_ecdsa_as_js_writes_them_are_none_here(js: Peer, private: bytes) -> None:
    made = await js.ask("public_key", private=private)
    with pytest.raises(RemoteProtocolError):
        PublicKey.from_protobuf(unbase64(made["value"]))


@pytest.mark.scenario("W6")
async def test_js_echoes_the_ping_of_the_protocol(js: Peer, raw: Network) -> None:
    assert isinstance(await ask(raw, js, Ping()), PingReply)


@pytest.mark.deviation("js-half-close")
async def test_js_may_leave_requests_unanswered_when_the_end_comes_with_them(
    js: Peer, driver: Driver, language_of: Callable[[str], Language]
) -> None:
    """go here sends two requests and the end in one packet with the negotiation, as no node does.

    Which comes first is decided within js each time. Certain is that it ends the stream, and goes on to serve others.
    """
    go = await driver.start("go", language_of("go"), mode="client")
    two = request(Kind.FIND_NODE, KEY) * 2
    for _ in range(5):
        answer = await go.ask("stream", peer=js.address, value=two, half_close=True)
        assert len(answer["frames"]) <= 2
        assert answer["end"] is not None
    whole = await go.ask("stream", peer=js.address, value=two, count=2)
    assert len(whole["frames"]) == 2
