"""Messages to bytes and back, what other implementations add or leave out, and bytes that are no message."""

from dataclasses import replace

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from p2pkad.core.messages import (
    AddProvider,
    FindNode,
    FindNodeReply,
    GetProviders,
    GetProvidersReply,
    GetValue,
    GetValueReply,
    Ping,
    PingReply,
    PutValue,
    PutValueReply,
)
from p2pkad.core.peers import PeerId, PeerInfo
from p2pkad.core.records import Record
from p2pkad.errors import LocalProtocolError, RemoteProtocolError
from p2pkad.wire import codec
from p2pkad.wire.addresses import parse_address
from p2pkad.wire.codec import decode_reply, decode_request, encode_reply, encode_request, encoded_size
from p2pkad.wire.framing import encode_varint
from p2pkad.wire.pb import kademlia_pb2 as pb
from tests.support.generated import examples

PUT_VALUE, GET_VALUE, ADD_PROVIDER, GET_PROVIDERS, FIND_NODE, PING = range(6)

KEY = b"/v/key"
ALICE = PeerId(b"\x00\x24\x08\x01\x12\x20" + b"a" * 32)
BOB = PeerId(b"\x12\x20" + b"b" * 32)
HERE = parse_address("/ip4/192.0.2.1/tcp/4001")
THERE = parse_address("/dns4/example.org/udp/4001/quic-v1")


def field(number: int, value: int | bytes) -> bytes:
    """A protobuf field, written without the code under test."""
    if isinstance(value, int):
        return encode_varint(number << 3) + encode_varint(value)
    return encode_varint(number << 3 | 2) + encode_varint(len(value)) + value


def peer(name: bytes, *addresses: bytes) -> bytes:
    return field(1, name) + b"".join(field(2, address) for address in addresses)


def suffix(name: bytes) -> bytes:
    return b"\xa5\x03" + encode_varint(len(name)) + name


def record(key: bytes = KEY, value: bytes = b"value") -> bytes:
    return field(1, key) + field(2, value)


peer_ids = st.binary(min_size=32, max_size=32).map(lambda digest: PeerId(b"\x12\x20" + digest))
places = st.sampled_from(
    [
        HERE,
        THERE,
        parse_address("/ip6/2001:db8::1/tcp/4001"),
        parse_address("/dns/" + "long." * 30 + "org/tcp/443/wss"),
        parse_address(f"/ip4/192.0.2.7/tcp/4001/p2p/{BOB}/p2p-circuit"),
    ]
)
peer_infos = st.builds(PeerInfo, peer_ids, st.lists(places, max_size=5, unique=True).map(tuple))
peers = st.lists(peer_infos, max_size=8).map(tuple)
keys = st.binary(min_size=1, max_size=200)
provider_keys = st.binary(min_size=1, max_size=80)
no_surrogates = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def records_under(key):
    return st.builds(
        Record, st.just(key), st.binary(max_size=300), no_surrogates, st.just(b"") | peer_ids, st.integers(0, 2**32 - 1)
    )


answered_requests = st.one_of(
    st.builds(FindNode, keys),
    st.builds(GetValue, keys),
    keys.flatmap(lambda key: st.builds(PutValue, st.just(key), records_under(key))),
    st.builds(GetProviders, provider_keys),
    st.builds(Ping, st.binary(max_size=40)),
)
requests = answered_requests | st.builds(AddProvider, provider_keys, peers)


def replies_to(request):
    key = st.just(request.key)
    match request:
        case FindNode():
            return st.builds(FindNodeReply, peers)
        case GetValue():
            return st.builds(GetValueReply, key, st.none() | records_under(request.key), peers)
        case PutValue():
            return st.builds(PutValueReply, key, records_under(request.key))
        case GetProviders():
            return st.builds(GetProvidersReply, key, peers, peers)
        case Ping():
            return st.builds(PingReply, key)


exchanges = answered_requests.flatmap(lambda request: st.tuples(st.just(request), replies_to(request)))

EACH_REQUEST = {
    FIND_NODE: FindNode(KEY),
    GET_VALUE: GetValue(KEY),
    PUT_VALUE: PutValue(KEY, Record(KEY, b"value")),
    ADD_PROVIDER: AddProvider(KEY, (PeerInfo(ALICE, (HERE,)),)),
    GET_PROVIDERS: GetProviders(KEY),
    PING: Ping(KEY),
}
ANSWERED = sorted(EACH_REQUEST.keys() - {ADD_PROVIDER})


@given(requests)
def test_a_request_comes_back_as_it_was(request):
    assert decode_request(encode_request(request)) == request


@given(exchanges)
def test_a_reply_comes_back_as_it_was(exchange):
    request, reply = exchange
    assert decode_reply(request, encode_reply(reply)) == reply


@given(exchanges)
def test_the_size_is_known_without_encoding(exchange):
    _, reply = exchange
    assert encoded_size(reply) == len(encode_reply(reply))


@given(exchanges)
def test_the_bytes_are_those_that_protobuf_makes_of_them(exchange):
    request, reply = exchange
    for data in (encode_request(request), encode_reply(reply)):
        assert pb.Message.FromString(data).SerializeToString() == data


def test_what_is_remembered_of_entries_is_bounded_and_changes_nothing(monkeypatch):
    monkeypatch.setattr(codec, "_MOST_KNOWN", 3)
    codec._known.clear()
    alice, bob = PeerInfo(ALICE, (HERE,)), PeerInfo(BOB, (THERE,))
    for _ in range(3):
        for closer in ((), (alice,), (bob, alice), (PeerInfo(ALICE), PeerInfo(BOB, (HERE, THERE)))):
            reply = FindNodeReply(closer)
            assert encoded_size(reply) == len(encode_reply(reply))
            assert decode_reply(FindNode(KEY), encode_reply(reply)) == reply
            assert len(codec._known) <= 3


@pytest.mark.parametrize("reply", [PingReply(KEY), PutValueReply(KEY, Record(KEY, b"value")), GetProvidersReply(KEY, (), ())])
def test_the_size_of_a_reply_without_peers_is_exact(reply):
    assert encoded_size(reply) == len(encode_reply(reply))


def test_the_size_of_large_parts_is_exact_too():
    many = tuple(parse_address(f"/ip4/192.0.2.{host}/tcp/{port}") for host in range(1, 7) for port in range(1, 60))
    for count in range(0, len(many), 7):
        reply = GetValueReply(b"k" * 20_000, Record(KEY, b"v" * count * 100), (PeerInfo(ALICE, many[:count]),))
        assert encoded_size(reply) == len(encode_reply(reply))


# What others send that we do not


@pytest.mark.scenario("W5")
@pytest.mark.parametrize("kind", [FIND_NODE, GET_VALUE, PUT_VALUE, ADD_PROVIDER, GET_PROVIDERS])
@pytest.mark.parametrize("key", [b"", field(2, b"")], ids=["missing", "empty"])
def test_a_request_without_a_key_resets_the_stream(kind, key):
    with pytest.raises(RemoteProtocolError, match="without a key"):
        decode_request(field(1, kind) + key + field(3, record(b"")) + field(9, peer(ALICE, HERE.raw)))


@pytest.mark.scenario("W5", "W6")
def test_a_ping_needs_no_key_and_is_echoed():
    assert decode_request(field(1, PING)) == Ping()
    assert encode_reply(PingReply()) == field(1, PING)
    assert decode_request(field(1, PING) + field(2, b"k") + field(8, peer(ALICE, HERE.raw))) == Ping(b"k")
    assert encode_reply(PingReply(b"k")) == field(1, PING) + field(2, b"k")


@pytest.mark.scenario("W5")
@pytest.mark.parametrize("kind", [6, 99, 2**31 - 1, 2**64 - 1])
def test_an_unknown_type_resets_the_stream_and_is_not_taken_for_the_first_one(kind):
    body = field(2, KEY) + field(3, record())
    assert decode_request(body) == PutValue(KEY, Record(KEY, b"value"))
    with pytest.raises(RemoteProtocolError, match="unknown type"):
        decode_request(field(1, kind) + body)
    with pytest.raises(RemoteProtocolError, match="answered by type"):
        decode_reply(PutValue(KEY, Record(KEY, b"value")), field(1, kind) + body)


def test_put_value_is_written_without_its_type_as_everybody_does():
    assert encode_request(PutValue(KEY, Record(KEY, b"value"))) == field(2, KEY) + field(3, record())
    assert decode_request(field(1, PUT_VALUE) + field(2, KEY) + field(3, record())) == PutValue(KEY, Record(KEY, b"value"))


@pytest.mark.scenario("W5")
@pytest.mark.parametrize("kind", EACH_REQUEST)
def test_unknown_fields_and_the_cluster_level_change_nothing(kind):
    unknown = field(4, 7) + field(5, b"text") + field(1000, b"\x00\xff") + b"\xa1\x06" + bytes(8)
    request = EACH_REQUEST[kind]
    assert decode_request(unknown + encode_request(request) + field(10, 1) + unknown) == request


@pytest.mark.scenario("W5")
def test_unknown_fields_and_connection_types_in_peers_and_records_change_nothing():
    entry = peer(ALICE, HERE.raw) + field(3, 77) + field(4, b"signed")
    reply = field(1, GET_VALUE) + field(3, record() + field(3, b"author") + field(4, b"signature")) + field(8, entry)
    assert decode_reply(GetValue(KEY), reply) == GetValueReply(KEY, Record(KEY, b"value"), (PeerInfo(ALICE, (HERE,)),))


@pytest.mark.scenario("W5")
def test_the_publisher_and_the_time_to_live_of_rust_are_kept():
    body = field(2, KEY) + field(3, record() + field(666, ALICE) + field(777, 3600))
    request = decode_request(body)
    assert request == PutValue(KEY, Record(KEY, b"value", publisher=ALICE, ttl=3600))
    assert encode_request(request) == body
    assert encode_reply(PutValueReply(request.key, request.record)) == body


@pytest.mark.scenario("H4")
@pytest.mark.parametrize("length", [64, 65, 1_000_000])
def test_a_time_that_is_too_long_for_one_is_none(length):
    request = decode_request(field(2, KEY) + field(3, record() + field(5, b"9" * length)))
    assert len(request.record.time_received) == (length if length <= 64 else 0)


@pytest.mark.scenario("W5")
@pytest.mark.parametrize("publisher", [b"x", ALICE[:-1], ALICE + b"x", b"\x00\x00", b"\x12\x20", b"\x16\x20" + bytes(32)])
def test_a_publisher_that_is_no_peer_id_is_none(publisher):
    request = decode_request(field(2, KEY) + field(3, record() + field(666, publisher)))
    assert request.record.publisher == b""
    own = replace(request.record, publisher=publisher)
    assert encode_reply(PutValueReply(KEY, own)) == field(2, KEY) + field(3, record())


@pytest.mark.scenario("W5")
def test_a_record_may_have_an_empty_value_and_no_time():
    assert decode_request(field(2, KEY) + field(3, field(1, KEY))) == PutValue(KEY, Record(KEY, b""))


@pytest.mark.scenario("W5")
def test_a_time_that_is_not_text_resets_the_stream():
    with pytest.raises(RemoteProtocolError):
        decode_request(field(2, KEY) + field(3, record() + field(5, b"\xff")))


@pytest.mark.scenario("W5")
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (field(2, KEY), "without a record"),
        (field(2, KEY) + field(3, record(b"/v/other")), "another key"),
        (field(2, KEY) + field(3, field(2, b"value")), "another key"),
    ],
    ids=["no record", "a record for another key", "a record without a key"],
)
def test_a_put_without_a_record_for_its_key_resets_the_stream(body, reason):
    with pytest.raises(RemoteProtocolError, match=reason):
        decode_request(body)


@pytest.mark.scenario("W5")
@pytest.mark.parametrize("kind", [ADD_PROVIDER, GET_PROVIDERS])
def test_a_key_of_providers_has_80_bytes_at_most(kind):
    assert decode_request(field(1, kind) + field(2, b"k" * 80)).key == b"k" * 80
    with pytest.raises(RemoteProtocolError, match="81 bytes"):
        decode_request(field(1, kind) + field(2, b"k" * 81))


def test_other_keys_may_be_as_long_as_a_frame():
    key = b"k" * 100_000
    assert decode_request(encode_request(FindNode(key))) == FindNode(key)
    assert decode_request(encode_request(GetValue(key))) == GetValue(key)


# Peers


def closer_in(*entries: bytes) -> tuple[PeerInfo, ...]:
    return decode_reply(FindNode(KEY), field(1, FIND_NODE) + b"".join(field(8, entry) for entry in entries)).closer


def test_the_own_id_at_the_end_of_an_address_is_stripped_and_another_one_drops_the_address():
    entry = peer(ALICE, HERE.raw + suffix(ALICE), THERE.raw + suffix(BOB))
    assert closer_in(entry) == (PeerInfo(ALICE, (HERE,)),)


def test_an_address_that_is_told_with_and_without_the_id_counts_once():
    assert closer_in(peer(ALICE, HERE.raw, THERE.raw, HERE.raw + suffix(ALICE))) == (PeerInfo(ALICE, (HERE, THERE)),)


@pytest.mark.scenario("W5")
def test_addresses_that_cannot_be_read_are_skipped_and_their_peer_stays():
    entry = peer(ALICE, b"", b"\xff" * 8, HERE.raw[:-1], b"\x89\x06" + bytes(8), HERE.raw)
    assert closer_in(entry, peer(BOB, b"\x04\x01")) == (PeerInfo(ALICE, (HERE,)), PeerInfo(BOB))


@pytest.mark.scenario("W5")
def test_peers_without_addresses_stay_and_those_without_an_id_go():
    entries = (peer(ALICE), b"", field(2, HERE.raw), peer(b"no id", HERE.raw), peer(BOB[:-1], HERE.raw), peer(BOB, HERE.raw))
    assert closer_in(*entries) == (PeerInfo(ALICE), PeerInfo(BOB, (HERE,)))


def test_a_peer_is_written_with_id_and_addresses_and_nothing_else():
    told = (PeerInfo(ALICE, (HERE, THERE)), PeerInfo(BOB))
    assert encode_reply(FindNodeReply(told)) == field(1, FIND_NODE) + field(8, peer(ALICE, HERE.raw, THERE.raw)) + field(
        8, peer(BOB)
    )


def test_no_more_than_a_bounded_number_of_peers_and_addresses_is_read():
    ids = [PeerId(b"\x12\x20" + number.to_bytes(32, "big")) for number in range(codec.MAX_PEERS + 1)]
    told = [parse_address(f"/ip4/192.0.2.1/tcp/{port}").raw for port in range(1, codec.MAX_ADDRESSES_PER_PEER + 2)]
    assert [each.id for each in closer_in(*map(peer, ids))] == ids[:-1]
    found = closer_in(*(peer(each, *told) for each in ids[:300]))
    full = codec.MAX_ADDRESSES // codec.MAX_ADDRESSES_PER_PEER
    assert [len(each.addresses) for each in found] == [codec.MAX_ADDRESSES_PER_PEER] * full + [0] * (300 - full)


# Replies


@pytest.mark.scenario("W6")
def test_a_put_is_answered_with_its_record_and_no_peers():
    request = decode_request(field(2, KEY) + field(3, record()) + field(8, peer(ALICE)) + field(9, peer(BOB)))
    assert encode_reply(PutValueReply(request.key, request.record)) == field(2, KEY) + field(3, record())


def test_a_reply_of_another_type_is_an_error():
    with pytest.raises(RemoteProtocolError, match="GET_VALUE was answered by FIND_NODE"):
        decode_reply(GetValue(KEY), field(1, FIND_NODE))


@pytest.mark.parametrize("kind", ANSWERED)
def test_a_reply_may_leave_the_key_out_but_not_change_it(kind):
    with_key, without = (
        decode_reply(EACH_REQUEST[kind], field(1, kind) + key + field(3, record())) for key in (field(2, KEY), b"")
    )
    assert with_key == without
    with pytest.raises(RemoteProtocolError, match="for another key"):
        decode_reply(EACH_REQUEST[kind], field(1, kind) + field(2, b"/v/other") + field(3, record()))


@pytest.mark.scenario("V5")
def test_a_record_for_another_key_in_a_reply_is_an_error():
    for request, kind in ((GetValue(KEY), GET_VALUE), (PutValue(KEY, Record(KEY, b"value")), PUT_VALUE)):
        with pytest.raises(RemoteProtocolError, match="another key"):
            decode_reply(request, field(1, kind) + field(2, KEY) + field(3, record(b"/v/other")))


def test_a_put_that_is_answered_without_a_record_is_an_error():
    with pytest.raises(RemoteProtocolError, match="without a record"):
        decode_reply(PutValue(KEY, Record(KEY, b"value")), field(2, KEY))


def test_an_answer_to_add_provider_is_an_error():
    with pytest.raises(RemoteProtocolError, match="ADD_PROVIDER was answered"):
        decode_reply(AddProvider(KEY, ()), field(1, ADD_PROVIDER) + field(2, KEY))


@pytest.mark.parametrize(
    "impossible", [Record(KEY, b"v", ttl=-1), Record(KEY, b"v", ttl=2**32), Record(KEY, b"v", time_received="\ud800")]
)
def test_a_record_that_cannot_be_expressed_is_our_own_error(impossible):
    for write in (encode_reply, encoded_size):
        with pytest.raises(LocalProtocolError):
            write(PutValueReply(KEY, impossible))
    with pytest.raises(LocalProtocolError):
        encode_request(PutValue(KEY, impossible))


# Garbage

fields = st.builds(field, st.integers(1, 11), st.integers(0, 2**64 - 1) | st.binary(max_size=60))
garbage = st.binary(max_size=200) | st.lists(fields, max_size=8).map(b"".join)


def damaged(body: bytes) -> st.SearchStrategy[bytes]:
    """The bytes of a good message with one stretch of them replaced."""

    def replace(start: int, length: int, by: bytes) -> bytes:
        return body[:start] + by + body[start + length :]

    return st.builds(replace, st.integers(0, len(body)), st.integers(0, 3), st.binary(max_size=3))


@pytest.mark.scenario("W5")
def test_a_peer_that_is_no_message_is_an_error_in_a_list_that_is_read():
    broken = b"\xff\xff"
    with pytest.raises(RemoteProtocolError, match="a peer that is no message"):
        decode_reply(FindNode(KEY), field(1, FIND_NODE) + field(8, broken))
    with pytest.raises(RemoteProtocolError, match="a peer that is no message"):
        decode_request(field(1, ADD_PROVIDER) + field(2, KEY) + field(9, broken))
    assert decode_request(field(1, FIND_NODE) + field(2, KEY) + field(8, broken)) == FindNode(KEY)


@pytest.mark.scenario("W5")
@given(garbage | requests.flatmap(lambda request: damaged(encode_request(request))))
@settings(max_examples=examples(300))
def test_any_bytes_are_a_request_or_refused(data):
    try:
        request = decode_request(data)
    except RemoteProtocolError:
        event("refused")
    else:
        event("read")
        written = encode_request(request)
        assert encode_request(decode_request(written)) == written


@pytest.mark.scenario("W5")
@given(exchanges, st.data())
@settings(max_examples=examples(300))
def test_any_bytes_are_a_reply_or_refused(exchange, data):
    request, reply = exchange
    try:
        read = decode_reply(request, data.draw(garbage | damaged(encode_reply(reply))))
    except RemoteProtocolError:
        event("refused")
    else:
        event("read")
        written = encode_reply(read)
        assert encode_reply(decode_reply(request, written)) == written
        assert len(written) == encoded_size(read)


pieces = st.sampled_from([HERE.raw, THERE.raw, suffix(ALICE), suffix(BOB), b"\xa2\x02"]) | st.binary(max_size=6)
odd_addresses = st.lists(pieces, max_size=4).map(b"".join)
odd_ids = st.sampled_from([ALICE, BOB, ALICE[:-1], b""]) | st.binary(max_size=4)
odd_peers = st.builds(lambda name, addresses: peer(name, *addresses), odd_ids, st.lists(odd_addresses, max_size=6))


@given(st.lists(odd_peers, max_size=6))
@settings(max_examples=examples(300))
def test_whatever_peers_are_told_what_is_believed_can_be_told_again(entries):
    believed = closer_in(*entries)
    assert all(PeerId.valid(each.id) and len(set(each.addresses)) == len(each.addresses) for each in believed)
    assert decode_reply(FindNode(KEY), encode_reply(FindNodeReply(believed))) == FindNodeReply(believed)
