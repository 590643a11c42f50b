"""Peers in every other language: what CONTROL.md promises of their programs, and how they get on with one p2pkad node.

What only one of them does is in the module that has its name. p2pkad's own peer keeps the promises of the others.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from hashlib import sha256
from typing import Any

import pytest
import trio
from driver import Driver, Language, Peer, PeerError, eventually, py_language, unbase64
from implementations import FOREIGN, IMPLEMENTATIONS
from libp2p.crypto.ed25519 import create_new_key_pair

import p2pkad
from p2pkad.core.messages import FindNode, FindNodeReply
from p2pkad.identity import Identity, peer_id
from p2pkad.net.base import Network
from p2pkad.node.membership import MAX_ADDRESSES_PER_PEER
from p2pkad.validators.opaque import OpaqueValidator
from p2pkad.wire.addresses import parse_peer

pytestmark = pytest.mark.foreign

PROTOCOL = "/violence/kad/1.0.0"
LISTEN = ("/ip4/127.0.0.1/tcp/0",)
KEY = b"/violence/servers/alpha"
CONTENT = p2pkad.content_key(b"something")
PATIENCE = 20.0
"""Seconds for what should take a moment."""
EVERYBODY = pytest.mark.parametrize("language", IMPLEMENTATIONS, indirect=True)
"""p2pkad's peer as well."""


@pytest.fixture(params=FOREIGN)
def language(request: pytest.FixtureRequest, language_of: Callable[[str], Language]) -> Language:
    return language_of(request.param)


@pytest.fixture
async def peer(driver: Driver, language: Language) -> Peer:
    """A server, alone so far."""
    return await driver.start("peer", language, validator="violence=opaque")


def open_node(*bootstrap: str, **options: Any) -> AbstractAsyncContextManager[p2pkad.KademliaService]:
    options = {"validators": {"violence": OpaqueValidator()}, **options}
    return p2pkad.open_node(listen=LISTEN, protocol=PROTOCOL, bootstrap=bootstrap, **options)


async def knows(peer: Peer, *nodes: p2pkad.KademliaService) -> None:
    """Wait until these are all that is in the peer's routing table."""
    wanted = {str(node.id) for node in nodes}

    async def table() -> set[str]:
        return {entry["id"] for entry in (await peer.ask("routing_table"))["peers"]}

    await eventually(table, wanted.__eq__, within=PATIENCE, what=f"the table of {peer} holds {wanted}")


async def is_known(node: p2pkad.KademliaService, peer: Peer, known: bool = True) -> None:
    async def look() -> bool:
        return peer_id(peer.id) in {info.id for info in node.routing_table()}

    await eventually(look, lambda found: found is known, within=PATIENCE, what=f"{peer} in our table: {known}")


async def provided_by(peer: Peer, content: bytes) -> list[str]:
    return [entry["id"] for entry in (await peer.ask("find_providers", key=content))["providers"]]


@EVERYBODY
async def test_a_peer_says_that_it_serves_and_with_which_versions(peer: Peer) -> None:
    assert (peer.ready["mode"], peer.ready["protocol"]) == ("server", PROTOCOL)
    assert peer.address.endswith(f"/p2p/{peer.id}")
    assert peer.address.startswith("/ip4/127.0.0.1/tcp/")
    assert any("kad" in name for name in peer.versions)
    assert (await peer.ask("identity"))["peer"] == peer.ready["peer"]


@EVERYBODY
async def test_the_same_seed_makes_the_same_peer_in_every_language(driver: Driver, language: Language) -> None:
    peer = await driver.start("peer", language, seed="alpha")
    assert peer.id == str(Identity(create_new_key_pair(sha256(b"alpha").digest())).id)


@EVERYBODY
async def test_a_peer_that_is_told_to_stop_ends_with_status_0(peer: Peer) -> None:
    assert await peer.stop() == 0


@EVERYBODY
@pytest.mark.parametrize("how", ["its input ends", "SIGTERM"])
async def test_a_peer_ends_with_status_0_when(how: str, language: Language) -> None:
    process = await trio.lowlevel.open_process(
        language.command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=language.environment,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with trio.fail_after(PATIENCE):
        assert b"ready" in await process.stdout.receive_some()
        if how == "SIGTERM":
            process.send_signal(signal.SIGTERM)
        else:
            await process.stdin.aclose()
        assert await process.wait() == 0


@EVERYBODY
@pytest.mark.parametrize(
    "flag", ["--nonsense=1", "--mode=neither", "--validator=violence=nonsense", "--bootstrap=/ip4/1.2.3.4"]
)
async def test_a_flag_that_makes_no_sense_ends_a_peer_with_status_2(flag: str, language: Language) -> None:
    done = await trio.run_process([*language.command, flag], capture_stderr=True, check=False, env=language.environment)
    assert done.returncode == 2
    assert done.stderr
    assert b"Traceback" not in done.stderr


@EVERYBODY
@pytest.mark.parametrize(
    ("kind", "verb", "arguments"),
    [
        ("unsupported", "nonsense", {}),
        ("usage", "connect", {}),
        ("usage", "connect", {"peer": "/ip4/127.0.0.1/tcp/1"}),
        ("usage", "find_peer", {"peer": "nobody"}),
        ("usage", "set_mode", {"mode": "neither"}),
        ("unreachable", "connect", {"peer": f"/ip4/127.0.0.1/tcp/1/p2p/{Identity.generate().id}"}),
        ("no_peers", "put", {"key": KEY, "value": b"value"}),
        ("no_peers", "closest_peers", {"key": KEY}),
        ("no_peers", "find_peer", {"peer": str(Identity.generate().id)}),
    ],
)
async def test_an_error_is_an_answer(peer: Peer, kind: str, verb: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(PeerError) as raised:
        await peer.ask(verb, **arguments)
    assert raised.value.kind == kind


@EVERYBODY
async def test_what_takes_too_long_is_given_up_in_time(peer: Peer) -> None:
    with pytest.raises(PeerError, match="timeout"):
        await peer.ask("bootstrap", peers=[], timeout=0.3)


@EVERYBODY
async def test_a_ping_that_nobody_answers_is_an_error(peer: Peer, driver: Driver, language: Language) -> None:
    frozen = await driver.start("frozen", language)
    await peer.ask("connect", peer=frozen.address)
    os.kill(frozen.pid, signal.SIGSTOP)
    with pytest.raises(PeerError) as raised:
        await peer.ask("ping", peer=frozen.id, timeout=1)
    assert raised.value.kind == "timeout"
    await frozen.kill()


@pytest.mark.scenario("L2", "V1", "W1", "W2")
async def test_values_go_both_ways(peer: Peer) -> None:
    async with open_node(peer.address) as node:
        await knows(peer, node)
        await is_known(node, peer)
        assert peer_id(peer.id) in (await node.put_value(KEY, b"ours")).stored
        assert unbase64((await peer.ask("get", key=KEY))["value"]) == b"ours"
        await peer.ask("put", key=KEY + b"2", value=b"theirs")
        assert await node.local_value(KEY + b"2") == b"theirs"
        assert await node.get_value(KEY + b"2") == b"theirs"
        assert (await peer.ask("holds", key=KEY))["value"]


async def test_a_client_reads_what_it_does_not_hold(peer: Peer, driver: Driver, language: Language) -> None:
    """And the other way round. Both go over the server in the middle."""
    async with open_node(peer.address, mode="client") as node:
        await node.wait_ready(timeout=PATIENCE)
        await node.put_value(KEY, b"ours")
        await node.provide(CONTENT)
        other = await driver.start("other", language, validator="violence=opaque", mode="client")
        await other.ask("bootstrap", peers=[peer.address])
        assert not (await other.ask("holds", key=KEY))["value"]
        assert unbase64((await other.ask("get", key=KEY))["value"]) == b"ours"
        await other.ask("put", key=KEY + b"2", value=b"theirs")
        assert await node.get_value(KEY + b"2") == b"theirs"

        async def providers() -> list[str]:
            return await provided_by(other, CONTENT)

        await eventually(providers, lambda found: str(node.id) in found, within=PATIENCE, what="our node is found")


async def test_providers_are_found_both_ways_with_their_addresses(peer: Peer) -> None:
    async with open_node(peer.address) as node:
        await knows(peer, node)
        await is_known(node, peer)
        await node.provide(CONTENT)
        other = p2pkad.content_key(b"something else")
        await peer.ask("provide", key=other)

        async def at_theirs() -> dict[str, list[str]]:
            found = (await peer.ask("find_providers", key=CONTENT))["providers"]
            return {entry["id"]: [address.partition("/p2p/")[0] for address in entry["addresses"]] for entry in found}

        async def at_ours() -> dict[str, tuple[str, ...]]:
            return {str(info.id): tuple(str(each) for each in info.addresses) for info in await node.find_providers(other)}

        found = await eventually(at_theirs, lambda seen: str(node.id) in seen, within=PATIENCE, what="they find us")
        assert node.addresses[0].partition("/p2p/")[0] in found[str(node.id)]
        ours = await eventually(at_ours, lambda seen: peer.id in seen, within=PATIENCE, what="we find them")
        assert peer.address.partition("/p2p/")[0] in ours[peer.id]


@pytest.mark.scenario("F1")
async def test_each_finds_who_is_connected_to_the_other(driver: Driver, language: Language, peer: Peer) -> None:
    """Theirs finds a node behind ours, and ours finds a peer behind theirs."""
    async with open_node() as middle, open_node(middle.addresses[0]) as ours:
        await ours.wait_ready(timeout=PATIENCE)
        await peer.ask("bootstrap", peers=[middle.addresses[0]])
        found = await peer.ask("find_peer", peer=str(ours.id))
        assert ours.addresses[0].partition("/p2p/")[0] in [text.partition("/p2p/")[0] for text in found["peer"]["addresses"]]
        late = await driver.start("late", language, validator="violence=opaque")
        await late.ask("bootstrap", peers=[peer.address])
        await ours.connect(peer.address, timeout=PATIENCE)
        info = await ours.find_peer(late.id, timeout=PATIENCE)
        assert late.address.partition("/p2p/")[0] in [str(address) for address in info.addresses]


@pytest.mark.scenario("F3")
async def test_a_client_is_found_through_the_server_that_it_is_connected_to(
    driver: Driver, language: Language, peer: Peer
) -> None:
    async with open_node() as middle:
        hidden = await driver.start("hidden", language, mode="client", validator="violence=opaque")
        await hidden.ask("bootstrap", peers=[middle.addresses[0]])
        await peer.ask("bootstrap", peers=[middle.addresses[0]])
        found = await peer.ask("find_peer", peer=hidden.id)
        assert hidden.address.partition("/p2p/")[0] in [text.partition("/p2p/")[0] for text in found["peer"]["addresses"]]


@pytest.mark.scenario("M1")
async def test_a_client_of_theirs_is_in_no_table_of_ours_and_can_do_everything(driver: Driver, language: Language) -> None:
    async with open_node() as node:
        client = await driver.start("client", language, mode="client", validator="violence=opaque")
        await client.ask("bootstrap", peers=[node.addresses[0]])
        await client.ask("put", key=KEY, value=b"value")
        assert await node.local_value(KEY) == b"value"
        assert unbase64((await client.ask("get", key=KEY))["value"]) == b"value"
        await client.ask("provide", key=CONTENT)

        async def providers() -> list[str]:
            return [str(info.id) for info in await node.local_providers(CONTENT)]

        await eventually(providers, [client.id].__eq__, within=PATIENCE, what="the client is a provider")
        assert node.routing_table() == ()


@pytest.mark.scenario("M2", "M3")
async def test_a_switch_of_modes_of_theirs_is_followed_here(peer: Peer) -> None:
    async with open_node(peer.address) as node:
        await is_known(node, peer)
        await peer.ask("set_mode", mode="client")
        await is_known(node, peer, False)
        await peer.ask("set_mode", mode="server")
        await is_known(node, peer)


async def test_pings_go_both_ways(peer: Peer) -> None:
    async with open_node(peer.address) as node:
        await node.wait_ready(timeout=PATIENCE)
        assert (await peer.ask("ping", peer=str(node.id)))["round_trip"] < PATIENCE
        assert await node.ping(peer.id) < PATIENCE


@pytest.mark.scenario("V3")
async def test_an_identical_record_is_acknowledged_both_ways(peer: Peer) -> None:
    async with open_node(peer.address) as node:
        await knows(peer, node)
        await is_known(node, peer)
        for _ in range(2):
            assert peer_id(peer.id) in (await node.put_value(KEY, b"value")).stored
            await peer.ask("put", key=KEY, value=b"value")


@pytest.mark.scenario("V2")
async def test_a_forged_record_of_theirs_is_refused_here(driver: Driver, language: Language) -> None:
    async with open_node() as node:
        forger = await driver.start("forger", language, mode="client", validator="violence=opaque")
        forged = b"/pk/" + node.id
        with pytest.raises(PeerError) as raised:
            await forger.ask("request", peer=node.addresses[0], type="PUT_VALUE", key=forged, value=b"no key")
        assert raised.value.kind == "failed"
        assert await node.local_value(forged) is None
        await forger.ask("request", peer=node.addresses[0], type="PUT_VALUE", key=KEY, value=b"value")
        assert await node.local_value(KEY) == b"value"


@pytest.mark.scenario("W6", "L14")
async def test_of_a_peer_with_many_addresses_others_are_told_as_many_as_we_keep(
    driver: Driver, language: Language, raw: Network
) -> None:
    async with open_node() as node:
        many = await driver.start("many", language, validator="violence=opaque", listen=["/ip4/127.0.0.1/tcp/0"] * 30)
        await many.ask("bootstrap", peers=[node.addresses[0]])
        await is_known(node, many)
        await many.ask("closest_peers", key=KEY)
        response = await raw.request(parse_peer(node.addresses[0]), FindNode(peer_id(many.id)), trio.current_time() + PATIENCE)
        assert isinstance(response.message, FindNodeReply)
        told = [str(address) for info in response.message.closer for address in info.addresses]
        assert len(told) == MAX_ADDRESSES_PER_PEER
        assert set(told) < {text.partition("/p2p/")[0] for text in many.addresses}


async def test_py_peers_answer_the_same_verbs(peer: Peer, driver: Driver) -> None:
    """What a test asks of one it can ask of the other."""
    ours = await driver.start("ours", py_language(), validator="violence=opaque")
    await ours.ask("bootstrap", peers=[peer.address])
    await peer.ask("bootstrap", peers=[ours.address])
    for verb in ("identity", "routing_table", "connections"):
        shared = set(await ours.ask(verb))
        assert shared - set(await peer.ask(verb)) == set()


@EVERYBODY
@pytest.mark.scenario("P10")
async def test_of_many_announcements_at_once_each_is_where_its_receipt_says(peer: Peer) -> None:
    """Each closes the stream in good order when it has read the announcement: that is all that a receipt has to go by."""
    keys = [p2pkad.content_key(b"%d" % number) for number in range(100)]
    sent: list[bytes] = []
    async with open_node(peer.address) as node:
        await node.wait_ready(timeout=PATIENCE)

        async def provide(key: bytes) -> None:
            if (await node.provide(key)).sent == (peer_id(peer.id),):
                sent.append(key)

        async with trio.open_nursery() as nursery:
            for key in keys:
                nursery.start_soon(provide, key)
        assert sorted(sent) == sorted(keys)
        for key in keys:
            assert str(node.id) in {entry["id"] for entry in (await peer.ask("holds", key=key))["providers"]}
