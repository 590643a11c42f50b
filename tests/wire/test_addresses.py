"""Addresses: read, shown, and placed."""

import contextlib

import idna
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from multiaddr import Multiaddr
from multiaddr.protocols import protocol_with_code

from p2pkad.core.peers import PeerId, PeerInfo, Scope
from p2pkad.errors import ConfigError
from p2pkad.wire import addresses
from p2pkad.wire.addresses import MAX_ADDRESS, address_text, decode_address, parse_address, parse_peer, with_port
from p2pkad.wire.framing import encode_varint
from tests.support.generated import examples

ALICE_TEXT = "12D3KooWEChVMMMzV8acJ53mJHrw1pQ27UAGkCxWXLJutbeUMvVu"
BOB_TEXT = "QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN"
ALICE = parse_peer(f"/ip4/192.0.2.1/tcp/1/p2p/{ALICE_TEXT}").id
BOB = parse_peer(f"/ip4/192.0.2.1/tcp/1/p2p/{BOB_TEXT}").id
CERTHASH = "/certhash/uEiDDq4_xNyDorZBH3TlGazyJdOWSwvo4PUo5YHFMrvDE8g"

WELL_KNOWN = [
    "/ip4/203.0.113.7/tcp/4001",
    "/ip6/2001:db8::7/tcp/4001",
    "/ip6/::ffff:203.0.113.7/tcp/4001",
    "/dns/example.org/tcp/443/wss",
    "/dns4/example.org/tcp/80/ws",
    "/dns6/sub-domain.example.org/udp/4001/quic",
    "/dnsaddr/bootstrap.example.org",
    "/ip4/203.0.113.7/udp/4001/quic-v1",
    f"/ip4/203.0.113.7/udp/4001/quic-v1/webtransport{CERTHASH}{CERTHASH}",
    f"/ip4/203.0.113.7/udp/4001/webrtc-direct{CERTHASH}",
    "/ip4/203.0.113.7/tcp/4001/tls/sni/example.org/ws",
    "/ip4/203.0.113.7/tcp/4001/noise",
    "/dns4/example.org/tcp/443/tls/http",
    "/dns4/example.org/tcp/443/https",
    f"/ip4/203.0.113.7/tcp/4001/p2p/{BOB_TEXT}/p2p-circuit",
    f"/ip4/203.0.113.7/tcp/4001/p2p/{BOB_TEXT}/p2p-circuit/webrtc",
]
each_well_known = pytest.mark.parametrize("text", WELL_KNOWN)


def raw(text: str) -> bytes:
    return Multiaddr(text).to_bytes()


# From messages


@each_well_known
def test_an_address_is_read_as_others_write_it(text):
    address = decode_address(raw(text), ALICE)
    assert (address.raw, str(address), repr(address)) == (raw(text), text, f"<{text}>")


@each_well_known
def test_the_id_of_its_owner_is_stripped(text):
    assert decode_address(raw(f"{text}/p2p/{ALICE_TEXT}"), ALICE) == parse_address(text)


@pytest.mark.scenario("L14")
@each_well_known
def test_an_address_of_somebody_else_is_none(text):
    assert decode_address(raw(f"{text}/p2p/{BOB_TEXT}"), ALICE) is None
    assert decode_address(raw(f"{text}/p2p/{BOB_TEXT}"), BOB) is not None


def test_an_address_is_parsed_once():
    told = raw("/ip4/203.0.113.99/tcp/4001")
    assert decode_address(bytes(bytearray(told)), ALICE) is decode_address(told, BOB)


def test_what_is_remembered_is_bounded():
    for number in range(addresses._REMEMBERED + 10):
        assert decode_address(b"\x04" + number.to_bytes(4, "big") + b"\x06\x10\x01", ALICE)
    assert addresses._remembered.cache_info().currsize == addresses._REMEMBERED


LONG_NAME = b"\x35" + encode_varint(253) + b"n" * 253


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(raw(f"/p2p/{ALICE_TEXT}"), id="a peer and no place"),
        pytest.param(raw(f"/p2p/{BOB_TEXT}/p2p-circuit"), id="a relay and no place"),
        pytest.param(raw("/tcp/4001"), id="a port and no place"),
        pytest.param(raw("/tls/ip4/203.0.113.7"), id="a place that is not first"),
        pytest.param(raw("/memory/1234"), id="memory, which js reads differently"),
        pytest.param(raw("/unix/tmp.sock"), id="a path"),
        pytest.param(raw("/ip4/203.0.113.7/tcp/1/http-path/a"), id="a protocol that not everybody has"),
        pytest.param(b"\x04\x01\x02\x03\x04\xff\x7f", id="a code that nobody has"),
        pytest.param(b"\x04\x01\x02\x03", id="an IP address cut short"),
        pytest.param(b"\x04\x01\x02\x03\x04\x06\x0f", id="a port cut short"),
        pytest.param(b"\x04\x01\x02\x03\x04\x91", id="a code cut short"),
        pytest.param(b"\x84\x00\x01\x02\x03\x04", id="a code that is not minimal"),
        pytest.param(b"\x35\x83\x00abc", id="a length that is not minimal"),
        pytest.param(b"\x35\xff\xff\xff\xff\x7fabc", id="a length of gigabytes"),
        pytest.param(b"\x35\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01abc", id="a length without end"),
        pytest.param(b"\x35\x00", id="a name that is empty"),
        pytest.param(b"\x35\x0aa/tcp/4001", id="a name that hides an address"),
        pytest.param(b"\x35\x03a b", id="a name with a blank"),
        pytest.param(b"\x35\x02\xc3\xa9", id="a name that is no ASCII"),
        pytest.param(b"\x35\x03abc\xa5\x03\x02ab", id="a peer id that is none"),
        pytest.param(b"\x35\x03abc\xa5\x03\x02ab\xa2\x02", id="a relay whose id is none"),
        pytest.param(raw(f"/dns/a/p2p/{ALICE_TEXT}/p2p/{ALICE_TEXT}"), id="its owner twice"),
        pytest.param(b"\x35\x03abc\xd2\x03\x03abc", id="a certificate hash that is none"),
        pytest.param(b"\x35\x03abc\xd2\x03\x04\x12\x20ab", id="a certificate hash cut short"),
        pytest.param(LONG_NAME + LONG_NAME + b"\xcd\x03" * 3, id="more than 512 bytes"),
    ],
)
def test_what_not_everybody_could_read_is_none(told):
    assert decode_address(told, ALICE) is None


def test_the_longest_address_is_read():
    name = b"\x35" + encode_varint(200) + b"n" * 200
    told = name + b"\xcd\x03" * ((MAX_ADDRESS - len(name)) // 2)
    assert len(told) in (MAX_ADDRESS - 1, MAX_ADDRESS)
    assert decode_address(told, ALICE) is not None


def component(code: int, value: bytes, prefixed: bool) -> bytes:
    return encode_varint(code) + (encode_varint(len(value)) if prefixed else b"") + value


odd_components = st.one_of(
    st.binary(max_size=8),
    st.builds(component, st.sampled_from(sorted(addresses._PROTOCOLS)), st.binary(max_size=18), st.booleans()),
    st.sampled_from([raw(text) for text in WELL_KNOWN] + [raw(f"/p2p/{ALICE_TEXT}"), raw(f"/p2p/{BOB_TEXT}")]),
)


def dns_can_take(text: str) -> bool:
    try:
        return all(idna.encode(text.split("/")[at + 1], uts46=True) for at, part in enumerate(text.split("/")) if "dns" in part)
    except idna.IDNAError:
        return False


@given(st.lists(odd_components, max_size=6).map(b"".join))
@settings(max_examples=examples(1000))
def test_what_is_read_is_what_the_library_reads(told):
    address = decode_address(told, ALICE)
    if address is None:
        return
    assert told in (address.raw, address.raw + raw(f"/p2p/{ALICE_TEXT}"))
    assume(dns_can_take(address.text))
    assert raw(address.text) == address.raw
    assert parse_address(address.text).text == address.text


@pytest.mark.parametrize("code", sorted(addresses._PROTOCOLS))
def test_protocols_have_their_registered_names(code):
    assert addresses._PROTOCOLS[code].name == protocol_with_code(code).name


# From people


@each_well_known
def test_an_address_that_was_typed_is_the_one_that_travels(text):
    assert parse_address(text) == decode_address(raw(text), ALICE)
    assert parse_address(text).text == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "slash"),
        ("example.org:4001", "slash"),
        ("ip4/192.0.2.1/tcp/4001", "slash"),
        ("/", "does not begin"),
        ("/ip4/192.0.2.300/tcp/4001", "no multiaddr"),
        ("/ip4/192.0.2.1/tcp/65536", "no multiaddr"),
        ("/ip4/192.0.2.1/tcp", "no multiaddr"),
        ("/ip4/192.0.2.1/tpc/4001", "no multiaddr"),
        ("/tcp/4001", "does not begin"),
        ("/unix/tmp/socket", "protocol 400"),
        (f"/ip4/192.0.2.1/tcp/4001/p2p/{ALICE_TEXT}", f"leave out /p2p/{ALICE_TEXT}"),
    ],
)
def test_a_mistyped_address_is_named_with_its_mistake(text, reason):
    with pytest.raises(ConfigError, match=reason) as caught:
        parse_address(text)
    assert repr(text) in str(caught.value)
    assert "\n" not in str(caught.value)


shards = st.sampled_from(["/ip4", "/ip6", "/dns4", "/tcp", "/p2p", "/1", "/::1", "/192.0.2.1", "/a.b", "/Qm", "/"])


@given(st.text(max_size=40) | st.lists(shards).map("".join))
@settings(max_examples=examples(500))
def test_any_text_is_an_address_or_refused(text):
    for parse in (parse_address, parse_peer):
        with contextlib.suppress(ConfigError):
            parse(text)


@each_well_known
@pytest.mark.parametrize("peer", [ALICE, BOB], ids=["ed25519", "rsa"])
def test_a_peer_with_its_address_is_read_as_it_is_shown(text, peer):
    shown = address_text(parse_address(text), peer)
    assert shown == f"{text}/p2p/{peer}"
    assert parse_peer(shown) == PeerInfo(peer, (parse_address(text),))


def test_a_peer_id_may_be_a_cid():
    cid_text = "bafzaajaiaejcapzr74lw2pyp33kjiklaqzmi7ya4aiecesyy3n2xn42gmgmnwb2p"
    assert isinstance(parse_peer(f"/ip4/192.0.2.1/tcp/1/p2p/{cid_text}").id, PeerId)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "who and where"),
        ("/ip4/192.0.2.1/tcp/4001", "who and where"),
        (f"/p2p/{ALICE_TEXT}", "who and where"),
        (ALICE_TEXT, "who and where"),
        ("/ip4/192.0.2.1/tcp/4001/p2p/", "peer id"),
        ("/ip4/192.0.2.1/tcp/4001/p2p/12D3KooW", "peer id"),
        (f"/ip4/192.0.2.1/tcp/4001/p2p/{BOB_TEXT}/p2p-circuit", "peer id"),
        (f"/ip4/192.0.2.1/tpc/4001/p2p/{ALICE_TEXT}", "no multiaddr"),
        (f"/ip4/192.0.2.1/tcp/4001/p2p/{BOB_TEXT}/p2p/{ALICE_TEXT}", "leave out"),
    ],
)
def test_a_mistyped_peer_is_named_with_its_mistake(text, reason):
    with pytest.raises(ConfigError, match=reason):
        parse_peer(text)


@pytest.mark.parametrize("text", ["/ip4/192.0.2.1", "/ip6/::1", "/dns/node.example", "/dns4/node.example/ws"])
def test_what_somebody_writes_without_a_port_is_refused_with_the_form_to_use(text):
    start = "/".join(text.split("/")[:3])
    with pytest.raises(ConfigError, match=f"^{text} has no port. Write it behind the address, as {start}/tcp/4001 or "):
        with_port(parse_address(text))


@pytest.mark.parametrize(
    "text", ["/ip4/192.0.2.1/tcp/1", "/ip6/::1/udp/1/quic-v1", "/dns/a/tcp/443/wss", "/dnsaddr/node.example"]
)
def test_what_has_a_port_and_a_name_of_addresses_are_as_they_should_be(text):
    assert with_port(parse_address(text)).text == text


# Where they lead


@pytest.mark.parametrize(
    ("place", "scope", "ip_group"),
    [
        ("/ip4/127.0.0.1", Scope.LOOPBACK, "127.0.0.0/16"),
        ("/ip4/127.255.255.254", Scope.LOOPBACK, "127.255.0.0/16"),
        ("/ip4/0.0.0.0", Scope.LOOPBACK, "0.0.0.0/16"),
        ("/ip4/10.1.2.3", Scope.PRIVATE, "10.1.0.0/16"),
        ("/ip4/11.0.0.0", Scope.PUBLIC, "11.0.0.0/16"),
        ("/ip4/100.63.255.255", Scope.PUBLIC, "100.63.0.0/16"),
        ("/ip4/100.64.0.0", Scope.PRIVATE, "100.64.0.0/16"),
        ("/ip4/100.127.255.255", Scope.PRIVATE, "100.127.0.0/16"),
        ("/ip4/100.128.0.0", Scope.PUBLIC, "100.128.0.0/16"),
        ("/ip4/169.254.1.1", Scope.PRIVATE, "169.254.0.0/16"),
        ("/ip4/172.15.255.255", Scope.PUBLIC, "172.15.0.0/16"),
        ("/ip4/172.16.0.1", Scope.PRIVATE, "172.16.0.0/16"),
        ("/ip4/172.31.255.255", Scope.PRIVATE, "172.31.0.0/16"),
        ("/ip4/172.32.0.0", Scope.PUBLIC, "172.32.0.0/16"),
        ("/ip4/192.168.1.1", Scope.PRIVATE, "192.168.0.0/16"),
        ("/ip4/192.169.1.1", Scope.PUBLIC, "192.169.0.0/16"),
        ("/ip4/203.0.113.7", Scope.PUBLIC, "203.0.0.0/16"),
        ("/ip6/::", Scope.LOOPBACK, "::/32"),
        ("/ip6/::1", Scope.LOOPBACK, "::/32"),
        ("/ip6/::2", Scope.PUBLIC, "::/32"),
        ("/ip6/fe80::1", Scope.PRIVATE, "fe80::/32"),
        ("/ip6/febf::1", Scope.PRIVATE, "febf::/32"),
        ("/ip6/fec0::1", Scope.PUBLIC, "fec0::/32"),
        ("/ip6/fc00::1", Scope.PRIVATE, "fc00::/32"),
        ("/ip6/fdff:1:2::1", Scope.PRIVATE, "fdff:1::/32"),
        ("/ip6/2001:db8:3:4::1", Scope.PUBLIC, "2001:db8::/32"),
        ("/ip6/::ffff:127.0.0.1", Scope.LOOPBACK, "127.0.0.0/16"),
        ("/ip6/::ffff:10.0.0.1", Scope.PRIVATE, "10.0.0.0/16"),
        ("/ip6/::ffff:203.0.113.7", Scope.PUBLIC, "203.0.0.0/16"),
        ("/ip6/64:ff9b::127.0.0.1", Scope.LOOPBACK, "127.0.0.0/16"),
        ("/ip6/64:ff9b::192.168.1.1", Scope.PRIVATE, "192.168.0.0/16"),
        ("/ip6/64:ff9b::203.0.113.7", Scope.PUBLIC, "203.0.0.0/16"),
        ("/ip6/64:ff9b:1::203.0.113.7", Scope.PRIVATE, "64:ff9b::/32"),
        ("/ip6/2002:7f00:1::1", Scope.LOOPBACK, "127.0.0.0/16"),
        ("/ip6/2002:a00:1::1", Scope.PRIVATE, "10.0.0.0/16"),
        ("/ip6/2002:cb00:7107::1", Scope.PUBLIC, "203.0.0.0/16"),
        ("/ip6/2003::1", Scope.PUBLIC, "2003::/32"),
        ("/ip4/32.2.10.0", Scope.PUBLIC, "32.2.0.0/16"),
        ("/ip4/223.255.255.255", Scope.PUBLIC, "223.255.0.0/16"),
        ("/dns/example.org", Scope.PUBLIC, None),
        ("/dns4/localhost", Scope.LOOPBACK, None),
        ("/dns6/LOCALHOST.", Scope.LOOPBACK, None),
        ("/dns/box.localhost", Scope.LOOPBACK, None),
        ("/dns4/printer.local", Scope.PRIVATE, None),
        ("/dns4/printer.Local.", Scope.PRIVATE, None),
        ("/dns4/local.example.org", Scope.PUBLIC, None),
        ("/dnsaddr/mylocal", Scope.PUBLIC, None),
    ],
)
def test_how_far_an_address_reaches_and_who_its_neighbours_are(place, scope, ip_group):
    for address in (f"{place}/tcp/4001", f"{place}/tcp/4001/p2p/{BOB_TEXT}/p2p-circuit"):
        assert (parse_address(address).scope, parse_address(address).ip_group) == (scope, ip_group)


@pytest.mark.parametrize(
    "place",
    [
        *("/ip4/224.0.0.1", "/ip4/239.255.255.255", "/ip4/240.0.0.1", "/ip4/255.255.255.255"),
        *("/ip6/ff02::1", "/ip6/::ffff:224.0.0.1", "/ip6/64:ff9b::255.255.255.255", "/ip6/2002:e000:1::1"),
    ],
)
def test_where_many_or_nobody_are_is_no_address(place):
    with pytest.raises(ConfigError, match="nobody can be dialled at"):
        parse_address(f"{place}/tcp/4001")
    assert decode_address(raw(f"{place}/tcp/4001"), ALICE) is None
