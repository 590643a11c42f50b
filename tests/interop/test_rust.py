"""Where rust-libp2p does otherwise than p2pkad, go and the specification, and that we get on with it all the same.

A test marked with a deviation turns red when rust stops deviating: then its line in interop/DEVIATIONS.md goes.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable

import pytest
from builds import RUST_SOURCES
from driver import Driver, Language, Peer, PeerError, unbase64

import p2pkad
from p2pkad.core.messages import FindNode, FindNodeReply, GetProviders, GetProvidersReply, Ping, PutValue
from p2pkad.core.peers import PeerInfo
from p2pkad.core.records import Record
from p2pkad.errors import NotFound, RemoteProtocolError, RequestFailed, RequestTimeout
from p2pkad.identity import Identity, peer_id
from p2pkad.net.base import Network
from tests.interop.asking import announce, ask, becomes_provider, knows, open_node, providers_of, put, value_at

pytestmark = pytest.mark.foreign

KEY = b"/violence/servers/alpha"
CONTENT = p2pkad.content_key(b"something")
MOST_RECORDS = 1024


@pytest.fixture
def language(language_of: Callable[[str], Language]) -> Language:
    return language_of("rust")


@pytest.fixture
async def rust(driver: Driver, language: Language) -> Peer:
    """A rust server, alone so far."""
    return await driver.start("rust", language, validator="violence=opaque")


@pytest.mark.deviation("rust-validates-nothing")
@pytest.mark.scenario("V2")
async def test_rust_stores_what_nobody_else_would_and_we_never_return_it(rust: Peer, raw: Network) -> None:
    forged = b"/pk/" + raw.id
    for key in (forged, b"/nobody/a", b"plain"):
        await put(raw, rust, key, b"no key")
        assert await value_at(raw, rust, key) == b"no key"
    async with open_node(rust.address) as node:
        await knows(rust, node.id)
        with pytest.raises(NotFound):
            await node.get_value(forged)
        assert unbase64((await rust.ask("get", key=forged))["value"]) == b"no key"


@pytest.mark.deviation("rust-worse-replaces-better")
@pytest.mark.scenario("V3")
async def test_a_worse_record_replaces_a_better_one_on_rust_but_not_here(rust: Peer, raw: Network) -> None:
    async with open_node(rust.address) as node:
        await knows(rust, node.id)
        await node.put_value(KEY, b"new")
        await put(raw, rust, KEY, b"late")
        assert await value_at(raw, rust, KEY) == b"late"
        assert await node.get_value(KEY) == b"new"
        with pytest.raises(PeerError, match="nobody stored it"):
            await rust.ask("put", key=KEY, value=b"later, and worse")
        assert await node.local_value(KEY) == b"new"


@pytest.mark.deviation("rust-key-of-the-record")
async def test_a_record_under_the_wrong_key_is_stored_under_its_own_by_rust(rust: Peer, raw: Network) -> None:
    with pytest.raises(RemoteProtocolError):
        await ask(raw, rust, PutValue(KEY, Record(KEY + b"2", b"value")))
    assert await value_at(raw, rust, KEY) is None
    assert await value_at(raw, rust, KEY + b"2") == b"value"


@pytest.mark.deviation("rust-never-lists-itself")
@pytest.mark.scenario("L6")
async def test_rust_alone_answers_nothing_for_its_own_id_and_is_admitted(rust: Peer, raw: Network) -> None:
    for key in (peer_id(rust.id), raw.id):
        assert await ask(raw, rust, FindNode(key)) == FindNodeReply(())
    async with open_node(rust.address) as node:
        await node.wait_ready(timeout=20)
        assert [info.id for info in node.routing_table()] == [peer_id(rust.id)]


@pytest.mark.deviation("rust-knows-no-clients")
@pytest.mark.scenario("M1")
async def test_a_client_that_is_connected_to_rust_is_in_no_table_and_not_named(rust: Peer, raw: Network) -> None:
    async with open_node(rust.address, mode="client") as hidden, open_node(rust.address) as server:
        await hidden.wait_ready(timeout=20)
        await hidden.put_value(KEY, b"value")
        await hidden.provide(CONTENT)
        await knows(rust, server.id)
        reply = await ask(raw, rust, FindNode(hidden.id))
        assert isinstance(reply, FindNodeReply)
        assert [info.id for info in reply.closer] == [server.id]


@pytest.mark.scenario("M2")
async def test_rust_follows_a_switch_of_modes_without_a_new_connection(rust: Peer) -> None:
    async with open_node(rust.address) as node:
        await knows(rust, node.id)
        before = (await rust.ask("connections"))["connections"]
        await node.set_mode("client")
        await knows(rust)
        await node.set_mode("server")
        await knows(rust, node.id)
        assert (await rust.ask("connections"))["connections"] == before


@pytest.mark.deviation("rust-16-KiB")
@pytest.mark.scenario("W6")
async def test_what_does_not_fit_into_16_kib_rust_neither_takes_nor_reads(rust: Peer) -> None:
    async with open_node(rust.address) as node:
        await knows(rust, node.id)
        assert peer_id(rust.id) in (await node.put_value(KEY, bytes(16_000))).stored
        assert peer_id(rust.id) not in (await node.put_value(KEY + b"2", bytes(17_000), allow_large=True)).stored
        with pytest.raises(PeerError, match="not_found"):
            await rust.ask("get", key=KEY + b"2")


@pytest.mark.deviation("rust-first-provider-only")
@pytest.mark.scenario("P2")
async def test_rust_looks_at_the_first_entry_of_an_announcement_only(rust: Peer, raw: Network) -> None:
    own = PeerInfo(raw.id, raw.local_addresses())
    stranger = PeerInfo(Identity.generate().id, own.addresses)
    second = p2pkad.content_key(b"second")
    await announce(raw, rust, CONTENT, stranger, own)
    await announce(raw, rust, second, own, stranger)
    assert await becomes_provider(rust, second, str(own.id))
    assert set(await providers_of(rust, second)) == {str(own.id)}
    assert await providers_of(rust, CONTENT) == {}


@pytest.mark.deviation("rust-provider-without-addresses")
async def test_rust_keeps_a_provider_that_has_no_addresses(rust: Peer, raw: Network) -> None:
    await announce(raw, rust, CONTENT, PeerInfo(raw.id, ()))
    assert await becomes_provider(rust, CONTENT, str(raw.id)) == []


@pytest.mark.deviation("rust-any-provider-key")
async def test_rust_takes_any_key_of_any_length_for_content(rust: Peer, raw: Network) -> None:
    for key in (b"hello", b"k" * 81):
        await announce(raw, rust, key, PeerInfo(raw.id, raw.local_addresses()))
        assert await becomes_provider(rust, key, str(raw.id))


@pytest.mark.deviation("rust-tells-no-provider-of-itself")
async def test_rust_leaves_the_asker_out_of_the_providers(rust: Peer, raw: Network) -> None:
    await announce(raw, rust, CONTENT, PeerInfo(raw.id, raw.local_addresses()))
    await becomes_provider(rust, CONTENT, str(raw.id))
    reply = await ask(raw, rust, GetProviders(CONTENT))
    assert isinstance(reply, GetProvidersReply)
    assert reply.providers == ()


@pytest.mark.deviation("rust-no-ping")
async def test_rust_closes_on_the_ping_of_the_protocol(rust: Peer, raw: Network) -> None:
    with pytest.raises(RequestFailed):
        await ask(raw, rust, Ping())


@pytest.mark.deviation("rust-full-and-silent")
async def test_rust_does_not_answer_a_put_when_its_store_is_full(rust: Peer, raw: Network) -> None:
    for number in range(MOST_RECORDS):
        await put(raw, rust, KEY + b"%d" % number, b"value")
    with pytest.raises(RequestTimeout):
        await ask(raw, rust, PutValue(KEY, Record(KEY, b"value")), within=3)
    await put(raw, rust, KEY + b"0", b"another")


@pytest.mark.deviation("rust-drops-its-own")
async def test_rust_acknowledges_and_forgets_a_record_that_names_it_as_publisher(rust: Peer, raw: Network) -> None:
    await ask(raw, rust, PutValue(KEY, Record(KEY, b"value", publisher=peer_id(rust.id))))
    assert await value_at(raw, rust, KEY) is None


@pytest.mark.scenario("W5")
async def test_the_publisher_and_the_seconds_left_of_rust_survive_here(rust: Peer) -> None:
    """Fields 666 and 777, which rust alone has."""
    async with open_node(rust.address) as node:
        await knows(rust, node.id)
        await rust.ask("put", key=KEY, value=b"value")
        kept = await node.get_record(KEY)
        assert kept.value == b"value"


def test_the_rust_peer_is_in_order(language: Language) -> None:
    if shutil.which("cargo-fmt") is None:
        pytest.skip("there is no cargo fmt")
    done = subprocess.run(["cargo", "fmt", "--check"], cwd=RUST_SOURCES, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
