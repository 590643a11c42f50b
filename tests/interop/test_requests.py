"""Single requests from the streams of go, rust and js, and every field of what p2pkad answers.

The messages are written and read by interop/frames.py, which knows nothing of ours.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import base58
import pytest
from driver import Answer, Driver, Language, Peer, eventually, unbase64
from frames import Fields, Kind, Message, Record, decode, provider, record, request
from frames import Peer as Entry
from multiaddr import Multiaddr

import p2pkad
from p2pkad.core.records import parse_time
from p2pkad.identity import peer_id
from p2pkad.net.libp2p import streams
from p2pkad.net.libp2p.multistream import Responder, opening, token
from p2pkad.net.libp2p.pipe import Pipe
from tests.interop.asking import PATIENCE, knows, open_node

pytestmark = pytest.mark.foreign

PROTOCOL = "/violence/kad/1.0.0"
KEY = b"/violence/servers/alpha"
CONTENT = p2pkad.content_key(b"something")


@pytest.fixture(params=["go", "rust", "js"])
def language(request: pytest.FixtureRequest, language_of: Callable[[str], Language]) -> Language:
    return language_of(request.param)


@pytest.fixture
async def client(driver: Driver, language: Language) -> Peer:
    return await driver.start("client", language, mode="client", validator="violence=opaque")


@pytest.fixture
async def near() -> AsyncIterator[p2pkad.KademliaService]:
    """Whom the node that is asked knows."""
    async with open_node() as node:
        yield node


@pytest.fixture
async def node(near: p2pkad.KademliaService) -> AsyncIterator[p2pkad.KademliaService]:
    """The node that is asked."""
    async with open_node(near.addresses[0]) as asked:
        await asked.wait_ready(timeout=PATIENCE)
        yield asked


async def stream(
    client: Peer, node: p2pkad.KademliaService, *requests: bytes, count: int = 0, half_close: bool = True
) -> Answer:
    where, data = node.addresses[0], b"".join(requests)
    return await client.ask("stream", peer=where, value=data, count=count, half_close=half_close)


async def replies(client: Peer, node: p2pkad.KademliaService, *requests: bytes) -> list[Fields]:
    """All answers on a stream whose other side is closed behind the requests. It is closed in good order."""
    answer = await stream(client, node, *requests)
    assert answer["end"] == "closed"
    return [decode(unbase64(frame)) for frame in answer["frames"]]


def entry(identity: bytes, address: str) -> Fields:
    return {Entry.ID: [identity], Entry.ADDRESSES: [Multiaddr(address.partition("/p2p/")[0]).to_bytes()]}


def entries(reply: Fields, field: Message) -> list[Fields]:
    return [decode(each) for each in reply[field] if isinstance(each, bytes)]


def entry_of(node: p2pkad.KademliaService) -> Fields:
    return entry(bytes(node.id), node.addresses[0])


def announced_by(client: Peer) -> Fields:
    return entry(base58.b58decode(client.id), client.address)


def announcement(client: Peer) -> bytes:
    own = announced_by(client)
    (identity,), addresses = own[Entry.ID], own[Entry.ADDRESSES]
    return request(Kind.ADD_PROVIDER, CONTENT, provider(identity, addresses))


def put(value: bytes, key: bytes = KEY) -> bytes:
    return request(Kind.PUT_VALUE, KEY, record(key, value))


@pytest.mark.scenario("W2", "W6")
async def test_put_value_is_echoed_with_the_record_and_nothing_else(client: Peer, node: p2pkad.KademliaService) -> None:
    (reply,) = await replies(client, node, put(b"value"))
    # Its type is the one that a message without a type has.
    assert set(reply) == {Message.KEY, Message.RECORD}
    assert reply[Message.KEY] == [KEY]
    (kept,) = reply[Message.RECORD]
    assert isinstance(kept, bytes)
    assert {number: values for number, values in decode(kept).items() if number != Record.TIME_RECEIVED} == {
        Record.KEY: [KEY],
        Record.VALUE: [b"value"],
    }
    assert await node.local_value(KEY) == b"value"


@pytest.mark.scenario("W2", "W5")
async def test_get_value_is_answered_with_the_record_and_who_is_nearer(
    client: Peer, node: p2pkad.KademliaService, near: p2pkad.KademliaService
) -> None:
    _, found, none = await replies(client, node, put(b"value"), request(Kind.GET_VALUE, KEY), request(Kind.GET_VALUE, KEY[:-1]))
    assert set(found) == {Message.TYPE, Message.KEY, Message.RECORD, Message.CLOSER}
    (held,) = found[Message.RECORD]
    assert isinstance(held, bytes)
    fields = decode(held)
    assert (fields[Record.KEY], fields[Record.VALUE]) == ([KEY], [b"value"])
    (received,) = fields[Record.TIME_RECEIVED]
    assert isinstance(received, bytes)
    assert parse_time(received.decode()) is not None
    for reply, key in ((found, KEY), (none, KEY[:-1])):
        assert (reply[Message.TYPE], reply[Message.KEY]) == ([Kind.GET_VALUE], [key])
        assert entries(reply, Message.CLOSER) == [entry_of(near)]
    assert Message.RECORD not in none


@pytest.mark.scenario("W2", "P2")
async def test_add_provider_has_no_reply_and_get_providers_tells_of_it(
    client: Peer, node: p2pkad.KademliaService, near: p2pkad.KademliaService
) -> None:
    (reply,) = await replies(client, node, announcement(client), request(Kind.GET_PROVIDERS, CONTENT))
    assert set(reply) == {Message.TYPE, Message.KEY, Message.PROVIDERS, Message.CLOSER}
    assert (reply[Message.TYPE], reply[Message.KEY]) == ([Kind.GET_PROVIDERS], [CONTENT])
    assert entries(reply, Message.PROVIDERS) == [announced_by(client)]
    assert entries(reply, Message.CLOSER) == [entry_of(near)]


@pytest.mark.scenario("W2", "L6", "F3")
async def test_find_node_tells_first_of_whom_was_asked_for(
    client: Peer, node: p2pkad.KademliaService, near: p2pkad.KademliaService
) -> None:
    """Be it the node itself, or a client that is connected to it and asks for its own id."""
    ids = (bytes(near.id), bytes(node.id), KEY)
    known, own, key = await replies(client, node, *(request(Kind.FIND_NODE, each) for each in ids))
    for reply in (known, own, key):
        assert set(reply) <= {Message.TYPE, Message.KEY, Message.CLOSER}
        assert reply[Message.TYPE] == [Kind.FIND_NODE]
    assert entries(known, Message.CLOSER) == entries(key, Message.CLOSER) == [entry_of(near)]
    assert entries(own, Message.CLOSER) == [entry_of(node), entry_of(near)]

    async def first() -> Fields:
        (reply,) = await replies(client, node, request(Kind.FIND_NODE, base58.b58decode(client.id)))
        return entries(reply, Message.CLOSER)[0]

    # What its identify message says of it may come after its request.
    await eventually(first, announced_by(client).__eq__, within=PATIENCE, what="the client comes first")


@pytest.mark.scenario("W6")
async def test_ping_is_echoed(client: Peer, node: p2pkad.KademliaService) -> None:
    (reply,) = await replies(client, node, request(Kind.PING, b"ping"))
    assert reply == {Message.TYPE: [Kind.PING], Message.KEY: [b"ping"]}


WRONG = {
    "an empty key": request(Kind.GET_VALUE, b""),
    "a key of content that is too long": request(Kind.GET_PROVIDERS, bytes(81)),
    "a put without a record": request(Kind.PUT_VALUE, KEY),
    "a record under another key": put(b"value", KEY + b"2"),
    "an announcement of nobody": request(Kind.ADD_PROVIDER, CONTENT),
    "an unknown type": b"\x02\x08\x06",
    "a field that is cut off": b"\x02\x0a\x06",
}


@pytest.mark.scenario("W5", "V2")
async def test_what_is_wrong_has_its_stream_reset_and_the_next_one_is_served(
    client: Peer, node: p2pkad.KademliaService
) -> None:
    # yamux of rust tells a reset from an end to writers only.
    end = "closed" if "libp2p-kad" in client.versions else "reset"
    for what, wrong in WRONG.items():
        answer = await stream(client, node, wrong, half_close=False)
        assert (what, answer["frames"], answer["end"]) == (what, [], end)
    assert len(await replies(client, node, put(b"value"))) == 1


@pytest.mark.scenario("W1")
async def test_requests_in_one_packet_are_answered_in_order_on_a_stream_that_stays_open(
    client: Peer, node: p2pkad.KademliaService
) -> None:
    sent = [put(b"value"), announcement(client), request(Kind.GET_VALUE, KEY), request(Kind.GET_PROVIDERS, CONTENT)]
    answer = await stream(client, node, *sent, count=3, half_close=False)
    kinds = [decode(unbase64(frame)).get(Message.TYPE) for frame in answer["frames"]]
    assert kinds == [None, [Kind.GET_VALUE], [Kind.GET_PROVIDERS]]
    assert answer["end"] is None


@pytest.mark.scenario("W2", "W3")
@pytest.mark.parametrize(("name", "options"), [("go", {}), ("rust", {"lazy": True})], ids=["go", "rust"])
async def test_what_comes_in_one_packet_with_the_negotiation_is_answered(
    name: str,
    options: dict[str, bool],
    language_of: Callable[[str], Language],
    driver: Driver,
    node: p2pkad.KademliaService,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As go always does it, and rust when it is set so, in the requests of their queries too. js has no way to.

    Here we agree to the protocol only when the request is there: who waited for that would wait in vain.
    """
    flush = Responder._flush

    async def agree_late(responder: Responder) -> None:
        while responder._unsent.endswith(token(PROTOCOL.encode())) and not responder._tokens._data:
            responder._tokens.feed(await responder._pipe.read())
        await flush(responder)

    monkeypatch.setattr(Responder, "_flush", agree_late)
    peer = await driver.start("peer", language_of(name), mode="client", validator="violence=opaque", **options)
    await peer.ask("bootstrap", peers=[node.addresses[0]])
    await peer.ask("put", key=KEY, value=b"value")
    assert unbase64((await peer.ask("get", key=KEY))["value"]) == b"value"
    (reply,) = await replies(peer, node, request(Kind.GET_VALUE, KEY))
    assert Message.RECORD in reply


@pytest.mark.scenario("W3")
async def test_our_request_in_one_packet_with_the_negotiation_is_answered(
    driver: Driver, language: Language, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = await driver.start("peer", language, validator="violence=opaque")
    written: list[bytes] = []

    class Noting(Pipe):
        async def write(self, data: bytes) -> None:
            written.append(data)
            await super().write(data)

    monkeypatch.setattr(streams, "Pipe", Noting)
    async with open_node(peer.address) as node:
        await knows(peer, node.id)
        assert peer_id(peer.id) in (await node.put_value(KEY, b"value")).stored
    first = [data for data in written if data.startswith(opening(PROTOCOL))]
    assert first
    assert opening(PROTOCOL) not in first


@pytest.mark.scenario("W1", "W2")
@pytest.mark.parametrize("name", ["go", "js"])
async def test_each_request_as_the_implementation_itself_sends_it_is_answered(
    name: str,
    language_of: Callable[[str], Language],
    driver: Driver,
    node: p2pkad.KademliaService,
    near: p2pkad.KademliaService,
) -> None:
    """libp2p-kad of rust has queries only: those are in test_peers.py, with one server to ask."""
    client = await driver.start("client", language_of(name), mode="client", validator="violence=opaque")

    async def ask(kind: Kind, key: bytes, **more: bytes) -> Answer:
        reply = await client.ask("request", peer=node.addresses[0], type=kind.name, key=key, **more)
        assert reply["type"] == kind.name
        nearer = [] if kind in (Kind.PUT_VALUE, Kind.PING) else [str(near.id)]
        assert [told["id"] for told in reply["closer"]] == nearer
        return reply

    for kind, key in ((Kind.PUT_VALUE, KEY), (Kind.GET_VALUE, KEY)):
        reply = await ask(kind, key, **({"value": b"value"} if kind is Kind.PUT_VALUE else {}))
        assert {part: unbase64(text) for part, text in reply["record"].items()} == {"key": KEY, "value": b"value"}
    for kind in (Kind.GET_PROVIDERS, Kind.FIND_NODE, Kind.PING):
        reply = await ask(kind, CONTENT)
        assert (reply["record"], reply["providers"]) == (None, [])

    assert (await client.ask("request", peer=node.addresses[0], type="ADD_PROVIDER", key=CONTENT))["type"] is None

    async def providers() -> list[str]:
        return [told["id"] for told in (await ask(Kind.GET_PROVIDERS, CONTENT))["providers"]]

    await eventually(providers, [client.id].__eq__, within=PATIENCE, what="it is a provider")
