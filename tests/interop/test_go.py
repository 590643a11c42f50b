"""One p2pkad node and real go-libp2p-kad-dht peers: behaviour that has to hold against them too.

What a whole network of both does is contact's business (interop/contact.py).
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import trio
from builds import GO_MISSING, GO_SOURCES, go_peer
from driver import Driver, Language, Peer, PeerError, eventually, go_language, open_driver, plain, unbase64
from libp2p.crypto import ed25519, rsa, secp256k1
from libp2p.crypto.keys import KeyPair

import p2pkad
from p2pkad.core.messages import (
    AddProvider,
    FindNode,
    FindNodeReply,
    GetProviders,
    GetProvidersReply,
    GetValue,
    GetValueReply,
    PutValue,
    PutValueReply,
)
from p2pkad.core.peers import PeerInfo
from p2pkad.core.records import Record, format_time, parse_time
from p2pkad.errors import InvalidRecord, RequestFailed, StaleRecord
from p2pkad.identity import Identity, peer_id
from p2pkad.net.base import Network
from p2pkad.validators.opaque import OpaqueValidator
from p2pkad.wire.addresses import parse_peer

pytestmark = pytest.mark.foreign

PROTOCOL = "/violence/kad/1.0.0"
KEY = b"/violence/servers/alpha"
PATH = b"/ipfs/bafkqaaa"
CONTENT = p2pkad.content_key(b"something")
PATIENCE = 20.0
"""Seconds for what should take a moment."""

LISTEN = ("/ip4/127.0.0.1/tcp/0",)


@pytest.fixture(scope="session")
def go_binary() -> Path:
    binary = go_peer()
    if binary is None:
        pytest.skip(GO_MISSING)
    return binary


@pytest.fixture
def language(go_binary: Path) -> Language:
    return go_language(go_binary)


@pytest.fixture
async def driver(tmp_path: Path) -> AsyncIterator[Driver]:
    async with open_driver(tmp_path) as one:
        yield one


@pytest.fixture
async def go(driver: Driver, language: Language) -> Peer:
    """A go server, alone so far."""
    return await driver.start("go", language, validator="violence=opaque")


@pytest.fixture
async def raw() -> AsyncIterator[Network]:
    """Our host without a node on it, for requests that no node would send."""
    host = p2pkad.new_host(p2pkad.HostConfig(listen=LISTEN))
    async with host.run(), host.open_network(protocol=PROTOCOL, max_message=1 << 22) as network:
        yield network


def open_node(*bootstrap: str, **options: Any) -> AbstractAsyncContextManager[p2pkad.KademliaService]:
    options = {"validators": {"violence": OpaqueValidator()}, **options}
    return p2pkad.open_node(listen=LISTEN, protocol=PROTOCOL, bootstrap=bootstrap, **options)


def info_of(go: Peer) -> PeerInfo:
    return parse_peer(go.address)


async def go_has(go: Peer, *nodes: p2pkad.KademliaService) -> None:
    """Wait until these are all that is in the routing table of go."""
    wanted = {str(node.id) for node in nodes}

    async def table() -> set[str]:
        return {entry["id"] for entry in (await go.ask("routing_table"))["peers"]}

    await eventually(table, wanted.__eq__, within=PATIENCE, what=f"the table of go holds {wanted}")


def soon() -> float:
    return trio.current_time() + PATIENCE


# go sends the negotiation and its first request in one packet: whatever it gets from us is W3, too.


@pytest.mark.scenario("W3", "L2")
async def test_each_tells_the_other_who_is_near(go: Peer) -> None:
    async with open_node(go.address) as node:
        await go_has(go, node)
        assert [info.id for info in await node.closest_peers(KEY)] == [peer_id(go.id)]
        assert [entry["id"] for entry in (await go.ask("closest_peers", key=KEY))["peers"]] == [str(node.id)]


@pytest.mark.scenario("P8", "W1")
async def test_go_confirms_an_announcement_on_the_stream_that_brought_it(go: Peer) -> None:
    async with open_node(go.address) as node:
        await go_has(go, node)
        for _ in range(2):  # on a fresh stream, then on a used one
            receipt = await node.provide(CONTENT, confirm=True)
            assert receipt.confirmed == receipt.sent == (peer_id(go.id),)


@pytest.mark.scenario("V12", "V14")
async def test_go_takes_a_copy_with_the_age_and_the_seconds_left_that_it_has(go: Peer, raw: Network) -> None:
    copy = Record(KEY, b"value", time_received=format_time(time.time() - 1000), ttl=2000)
    reply = await raw.request(info_of(go), PutValue(KEY, copy), soon())
    assert isinstance(reply.message, PutValueReply)
    held = await raw.request(info_of(go), GetValue(KEY), soon())
    assert isinstance(held.message, GetValueReply)
    assert held.message.record is not None
    assert held.message.record.value == b"value"
    assert parse_time(held.message.record.time_received) == pytest.approx(time.time(), abs=60), "to go it is new"


async def test_go_tells_its_own_entry_to_who_asks_for_it(go: Peer, raw: Network) -> None:
    response = await raw.request(info_of(go), FindNode(peer_id(go.id)), soon())
    assert isinstance(response.message, FindNodeReply)
    assert response.message.closer == (info_of(go),)


async def test_go_that_dials_us_is_told_to_others(driver: Driver, language: Language) -> None:
    """go prefers TLS, and is believed where it says that it listens: on that depends what its address may be."""
    async with open_node() as node, open_node(*node.addresses, mode="client") as other:
        go = await driver.start("go", language, bootstrap=node.addresses)
        await node.wait_ready(timeout=PATIENCE)
        assert (await other.find_peer(go.id)).addresses == info_of(go).addresses


@pytest.mark.scenario("W1")
async def test_go_gets_a_thousand_answers_on_one_stream(driver: Driver, language: Language) -> None:
    async with open_node() as node:
        asker = await driver.start("asker", language, mode="client")
        answer = await asker.ask("load", peer=node.addresses[0], in_flight=1, requests=1000)
        assert answer["requests"] == 1000


@pytest.mark.scenario("W1")
async def test_an_announcement_gets_no_reply_into_the_way_of_others(driver: Driver, language: Language) -> None:
    """go has one stream to a peer: had ADD_PROVIDER a reply, it would take that for the one to its next request."""
    go = await driver.start("go", language, mode="client", validator="violence=opaque")
    async with open_node(go.address, allow_zero_peers=True) as node:
        await go_has(go, node)
        for number in range(20):
            key, value, content = KEY + b"%d" % number, b"%d" % number, p2pkad.content_key(b"%d" % number)
            await node.put_value(key, value)
            await go.ask("provide", key=content)
            assert unbase64((await go.ask("get", key=key))["value"]) == value
            assert [info.id for info in await node.local_providers(content)] == [peer_id(go.id)]


@pytest.mark.scenario("M1")
async def test_a_client_is_in_no_table_and_can_do_everything(go: Peer) -> None:
    async with open_node(go.address, mode="client") as client, open_node(go.address) as server:
        await client.wait_ready(timeout=PATIENCE)
        await go_has(go, server)
        await client.put_value(KEY, b"value")
        assert unbase64((await go.ask("get", key=KEY))["value"]) == b"value"
        await go.ask("put", key=KEY + b"2", value=b"of go")
        assert await client.get_value(KEY + b"2") == b"of go"
        await client.provide(CONTENT)
        await go.ask("provide", key=CONTENT)
        found = await client.find_providers(CONTENT)
        assert peer_id(go.id) in {info.id for info in found}
        assert (await client.find_peer(go.id)).id == peer_id(go.id)
        await go_has(go, server)


async def connections(go: Peer, node: p2pkad.KademliaService) -> set[tuple[str, ...]]:
    """Those that a go peer has to a node."""
    entries = (await go.ask("connections"))["connections"]
    return {tuple(map(str, entry.values())) for entry in entries if entry["id"] == str(node.id)}


@pytest.mark.scenario("M2")
async def test_go_follows_a_switch_of_modes_without_a_new_connection(go: Peer) -> None:
    async with open_node(go.address) as node:
        await go_has(go, node)
        before = await connections(go, node)
        await node.set_mode("client")
        await go_has(go)
        await node.set_mode("server")
        await go_has(go, node)
        after = await connections(go, node)
        assert after
        assert after <= before, "where both had dialled in the same moment, one of the two may have been closed"


@pytest.mark.scenario("M2", "M3")
async def test_a_switch_of_modes_of_go_is_followed_here(go: Peer) -> None:
    def knows_go(node: p2pkad.KademliaService) -> bool:
        return peer_id(go.id) in {info.id for info in node.routing_table()}

    async def look() -> bool:
        return knows_go(node)

    async with open_node(go.address) as node:
        await node.wait_ready(timeout=PATIENCE)
        await go.ask("set_mode", mode="client")
        await eventually(look, lambda known: not known, within=PATIENCE, what="go has left our table")
        await go.ask("set_mode", mode="server")
        await eventually(look, lambda known: known, within=PATIENCE, what="go is back in our table")


@pytest.mark.scenario("F3")
async def test_go_leads_to_a_client_that_is_connected_to_it(go: Peer) -> None:
    async with open_node(go.address, mode="client") as hidden, open_node(go.address) as seeker:
        await hidden.wait_ready(timeout=PATIENCE)
        await seeker.wait_ready(timeout=PATIENCE)
        found = await seeker.find_peer(hidden.id)
        assert [f"{address}/p2p/{found.id}" for address in found.addresses] == list(hidden.addresses)


@pytest.mark.scenario("V3")
async def test_an_older_record_replaces_none_and_an_identical_one_is_acknowledged(go: Peer) -> None:
    async with open_node(go.address) as node, open_node(go.address) as late:
        for each in (node, late):
            await each.wait_ready(timeout=PATIENCE)
        for _ in range(2):
            assert peer_id(go.id) in (await node.put_value(KEY, b"new")).stored
        with pytest.raises(PeerError, match="refused"):
            await go.ask("put", key=KEY, value=b"late")
        with pytest.raises(StaleRecord):
            await node.put_value(KEY, b"late")
        assert await late.get_value(KEY) == b"new"


@pytest.mark.scenario("V2", "V3")
async def test_go_refuses_what_we_would_not_send(go: Peer, raw: Network) -> None:
    await raw.request(info_of(go), PutValue(KEY, Record(KEY, b"new")), soon())
    own = b"/pk/" + raw.id
    for key, value in ((KEY, b"late"), (own, b"not a key"), (b"/nobody/a", b"value")):
        with pytest.raises(RequestFailed):
            await raw.request(info_of(go), PutValue(key, Record(key, value)), soon())


@pytest.mark.scenario("P2")
async def test_go_ignores_a_provider_that_is_somebody_else(go: Peer, raw: Network) -> None:
    stranger = PeerInfo(Identity.generate().id, raw.local_addresses())
    await raw.send(info_of(go), AddProvider(CONTENT, (stranger, PeerInfo(raw.id, raw.local_addresses()))), soon())

    async def providers() -> list[str]:
        response = await raw.request(info_of(go), GetProviders(CONTENT), soon())
        assert isinstance(response.message, GetProvidersReply)
        return [str(info.id) for info in response.message.providers]

    found = await eventually(providers, bool, within=PATIENCE, what="go has a provider")
    assert found == [str(raw.id)]


@pytest.mark.scenario("V10")
async def test_public_keys_validate_on_both_sides(driver: Driver, language: Language) -> None:
    go = await driver.start("go", language, seed="go")
    of_go, ours = (Identity(ed25519.create_new_key_pair(sha256(seed).digest())) for seed in (b"go", b"ours"))
    async with open_node(go.address, identity=ours) as node:
        await node.wait_ready(timeout=PATIENCE)
        await go_has(go, node)
        await go.ask("put", key=b"/pk/" + of_go.id, value=of_go.public_key.to_protobuf())
        await node.put_value(b"/pk/" + ours.id, ours.public_key.to_protobuf(), min_stored=2)
        assert await node.get_value(b"/pk/" + of_go.id) == of_go.public_key.to_protobuf()
        assert unbase64((await go.ask("get", key=b"/pk/" + ours.id))["value"]) == ours.public_key.to_protobuf()


@pytest.fixture
async def namer(driver: Driver, language: Language) -> Peer:
    """A go server with boxo's validator for names."""
    return await driver.start("namer", language, validator="ipns=ipns")


KEYS: dict[str, Callable[[], KeyPair]] = {
    "Ed25519": ed25519.create_new_key_pair,
    "Secp256k1": secp256k1.create_new_key_pair,
    "RSA": lambda: rsa.create_new_key_pair(2048),
}


@pytest.mark.scenario("V10")
@pytest.mark.parametrize("kind", KEYS)
async def test_go_takes_the_names_that_we_sign(namer: Peer, kind: str) -> None:
    def signed(sequence: int, seconds: float) -> bytes:
        return p2pkad.sign_ipns_record(owner, PATH, sequence=sequence, expires=now + seconds)

    owner, now = Identity(KEYS[kind]()), time.time()
    key = b"/ipns/" + owner.id
    ranking = [signed(0, 3600.5), signed(1, 3600), signed(1, 3600.001), signed(2, 3600), signed(2**63 - 1, 60)]
    for index, record in enumerate(ranking):
        await namer.ask("judge", key=key, value=record)
        choice = await namer.ask("choose", key=key, values=[plain(each) for each in ranking[: index + 1]])
        assert choice["best"] == index
    for wrong, word in ((signed(1, -1), "expired"), (ranking[0][:-1], "malformed")):
        with pytest.raises(PeerError, match=word):
            await namer.ask("judge", key=key, value=wrong)
    with pytest.raises(PeerError, match=r"signature|public key"):
        await namer.ask("judge", key=b"/ipns/" + Identity.generate().id, value=ranking[0])


@pytest.mark.scenario("V3", "V10")
async def test_names_are_published_and_resolved_on_both_sides(namer: Peer) -> None:
    owner, expires = Identity.generate(), time.time() + 3600
    key, key_of_go = b"/ipns/" + owner.id, b"/ipns/" + peer_id(namer.id)
    first, second = (p2pkad.sign_ipns_record(owner, PATH, sequence=number, expires=expires) for number in (4, 5))
    of_go = await namer.ask("sign_name", value=b"/ipns/example.com", sequence=1, expires="2100-01-01T00:00:00Z")
    assert unbase64(of_go["key"]) == key_of_go
    async with open_node(namer.address, validators={"ipns": p2pkad.IpnsValidator()}) as node:
        await node.wait_ready(timeout=PATIENCE)
        await go_has(namer, node)
        await namer.ask("put", key=key_of_go, value=unbase64(of_go["value"]))
        assert p2pkad.open_ipns_record(key_of_go, await node.get_value(key_of_go)).value == b"/ipns/example.com"
        for record in (first, second):
            assert peer_id(namer.id) in (await node.put_value(key, record)).stored
            assert unbase64((await namer.ask("get", key=key))["value"]) == record
        with pytest.raises(PeerError, match="refused"):
            await namer.ask("put", key=key, value=first)
        assert unbase64((await namer.ask("get", key=key))["value"]) == second


@pytest.mark.scenario("V2", "V10")
async def test_go_refuses_names_that_we_refuse(namer: Peer, raw: Network) -> None:
    owner = Identity.generate()
    key = b"/ipns/" + owner.id
    dead = p2pkad.sign_ipns_record(owner, PATH, sequence=0, expires=time.time() - 1)
    for value in (dead, dead[:-1], b""):
        with pytest.raises(InvalidRecord):
            p2pkad.IpnsValidator().validate(key, value, time.time())
        with pytest.raises(RequestFailed):
            await raw.request(info_of(namer), PutValue(key, Record(key, value)), soon())


@pytest.mark.parametrize("command", [["go", "vet", "./..."], ["gofmt", "-l", "."]], ids=["vet", "gofmt"])
def test_the_go_peer_is_in_order(command: list[str], go_binary: Path) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not on the PATH")
    done = subprocess.run(command, cwd=GO_SOURCES, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


async def test_go_says_what_it_is_and_what_its_clock_shows(go: Peer) -> None:
    async with open_node(go.address) as node:
        await go_has(go, node)
        said = await node.identify(go.address, timeout=PATIENCE)
        assert (PROTOCOL in said.protocols, bool(said.agent), said.observed is not None) == (True, True, True)
        for _ in range(2):
            assert abs(await node.compare_clocks(go.id, timeout=PATIENCE)) < 600
