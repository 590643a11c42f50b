"""Peers that say anything but the truth about themselves, when asked and unasked: nobody else notices."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import trio
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.identity.identify.pb.identify_pb2 import Identify
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStoreError, create_signed_peer_record
from libp2p.stream_muxer.exceptions import MuxedStreamError
from libp2p.utils.varint import encode_uvarint
from multiaddr import Multiaddr

from tests.faults.ours import OurHost, open_ours
from tests.faults.subjects import KAD, Limits
from tests.support.identify import identify
from tests.support.neighbours import until
from tests.support.raw_peer import IDENTIFY, IDENTIFY_PUSH, RawPeer, RawStream, frame, raw_peer
from tests.support.stalls import StallWatcher

SOMEBODY = create_new_key_pair()
SOMEBODY_ID = ID.from_pubkey(SOMEBODY.public_key)
ADDRESS = Multiaddr("/ip4/127.0.0.1/tcp/4001")
OF_SOMEBODY = create_signed_peer_record(SOMEBODY_ID, [ADDRESS], SOMEBODY.private_key).marshal_envelope()


def text_field(number: int, data: bytes) -> bytes:
    """A length-delimited protobuf field with any bytes in it: protobuf's own classes refuse those that are not text."""
    return encode_uvarint(number << 3 | 2) + frame(data)


MESSAGES: dict[str, bytes] = {
    "nothing": b"",
    "an_empty_message": frame(b""),
    "garbage": frame(bytes(range(256)) * 4),
    "a_mebibyte": frame(identify(protocols=[KAD], protocol_version="x" * 2**20)),
    "four_gibibytes_announced": encode_uvarint(2**32) + b"x",
    "a_length_without_an_end": b"\xff" * 11,
    "cut_off": frame(identify(protocols=[KAD]))[:-5],
    "the_key_of_somebody_else": frame(identify(public_key=SOMEBODY.public_key.serialize())),
    "a_key_that_is_none": frame(identify(public_key=b"\xff" * 100)),
    "thousands_of_addresses": frame(identify(addresses=[Multiaddr(f"/ip4/127.0.0.1/tcp/{n}") for n in range(1, 4001)])),
    "addresses_that_are_none": frame(
        Identify(listen_addrs=[b"", b"\xff", b"\x04\x7f", ADDRESS.to_bytes() * 50]).SerializeToString()
    ),
    "thousands_of_protocols": frame(identify(protocols=[f"/p/{n}" for n in range(5000)])),
    "protocols_that_are_not_text": frame(text_field(3, b"\xff\xfe") + text_field(3, b"/p")),
    "an_agent_that_is_not_text": frame(text_field(6, b"\xff\xfe")),
    "an_observed_address_that_is_none": frame(identify(observed_addr=b"\x99" * 50)),
    "an_observed_address_elsewhere": frame(identify(observed_addr=Multiaddr("/ip4/8.8.8.8/tcp/53").to_bytes())),
    "the_record_of_somebody_else": frame(identify(signedPeerRecord=OF_SOMEBODY)),
    "a_record_that_is_none": frame(identify(signedPeerRecord=b"\x0a\xff" * 20)),
    "a_hundred_messages": frame(identify(protocols=["/p"])) * 100,
}
"""What comes instead of an identify message, length and all."""

every_message = pytest.mark.parametrize("message", [pytest.param(message, id=name) for name, message in MESSAGES.items()])


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No stranger can fill our log with tracebacks."""
    yield
    assert [each for each in caplog.get_records("call") if each.name.startswith("p2pkad") and each.exc_info] == []


@pytest.fixture
async def ours() -> AsyncIterator[OurHost]:
    async with open_ours(Limits()) as host:
        yield host


@pytest.mark.scenario("H1")
@every_message
async def test_a_hostile_answer_to_identify_harms_nobody(ours: OurHost, message: bytes) -> None:
    asked = trio.Event()

    async def answer(stream: RawStream) -> None:
        try:
            await stream.send(message)
            await stream.finish()
            await stream.ending()
        except MuxedStreamError:
            pass
        asked.set()

    async with raw_peer(ours.where) as bystander, raw_peer(ours.where, serves={IDENTIFY: answer}) as liar:
        with trio.fail_after(10):
            await asked.wait()
        await nobody_noticed(ours, bystander, liar)


@pytest.mark.scenario("H1")
@every_message
async def test_a_hostile_identify_push_harms_nobody(ours: OurHost, message: bytes) -> None:
    async with raw_peer(ours.where) as bystander, raw_peer(ours.where) as liar:
        await push(liar, message)
        await nobody_noticed(ours, bystander, liar)


async def push(peer: RawPeer, message: bytes) -> None:
    """Push identify, and wait until the host is done with it."""
    stream = await peer.open()
    assert await stream.negotiate(IDENTIFY_PUSH)
    try:
        await stream.send(message)
        await stream.finish()
    except MuxedStreamError:
        return
    await stream.ending()


async def nobody_noticed(ours: OurHost, bystander: RawPeer, liar: RawPeer) -> None:
    """Others are answered, nothing false was taken down, and the liar is believed once it tells the truth."""
    assert await bystander.ping()
    async with raw_peer(ours.where) as newcomer:
        assert await newcomer.ping()
    ours.host.get_private_key()
    assert SOMEBODY_ID not in ours.host.get_peerstore().peer_ids()
    assert key_on_record(ours, liar.id) in (None, liar.id)
    assert not any("8.8.8.8" in str(address) for address in ours.host.get_addrs())
    assert len(ours.addresses_of(liar.id)) <= 64
    assert liar.id not in ours.servers()  # nothing of a message that breaks off, or is too long, was believed
    await push(liar, frame(identify(protocols=[KAD])))
    assert await until(lambda: liar.id in ours.servers())


@pytest.mark.scenario("H1")
async def test_none_of_them_takes_so_long_to_read_that_others_wait(ours: OurHost, stalls: StallWatcher) -> None:
    async with raw_peer(ours.where) as liar:
        for message in MESSAGES.values():
            await push(liar, message)


@pytest.mark.scenario("H1")
async def test_thousands_of_addresses_in_its_own_signed_record_stop_nobody_either(ours: OurHost, stalls: StallWatcher) -> None:
    own = create_new_key_pair()
    addresses = [Multiaddr(number.to_bytes(2)) for number in range(10_000)]
    record = create_signed_peer_record(ID.from_pubkey(own.public_key), addresses, own.private_key).marshal_envelope()
    async with raw_peer(ours.where, key_pair=own) as liar:
        await push(liar, frame(identify(signedPeerRecord=record, protocols=[KAD])))
        assert await until(lambda: liar.id in ours.servers())
        assert len(ours.addresses_of(liar.id)) <= 64


@pytest.mark.scenario("H1")
async def test_of_what_a_peer_says_so_much_is_kept_and_no_more(ours: OurHost) -> None:
    lies = identify(protocols=["/" + "p" * 20_000] + [f"/{n}" for n in range(2000)])
    async with raw_peer(ours.where) as liar:
        await push(liar, frame(lies))
        assert len(protocols := ours.host.get_peerstore().get_protocols(liar.id)) == 127
        assert max(map(len, protocols)) <= 128


def key_on_record(ours: OurHost, peer: ID) -> ID | None:
    """Whose public key the host has on record for a peer."""
    try:
        return ID.from_pubkey(ours.host.get_peerstore().pubkey(peer))
    except PeerStoreError:
        return None


@pytest.mark.scenario("H1")
async def test_a_peer_that_never_answers_identify_is_served_all_the_same(ours: OurHost) -> None:
    async def silent(stream: RawStream) -> None:
        await trio.sleep_forever()

    async with raw_peer(ours.where, mute=True) as mute, raw_peer(ours.where, serves={IDENTIFY: silent}) as shy:
        assert await mute.ping()
        assert await until(lambda: IDENTIFY in shy.asked_for)
        assert await shy.ping()


@pytest.mark.scenario("H1")
async def test_a_host_that_reports_ten_other_addresses_of_us_is_one_opinion(ours: OurHost) -> None:
    """One peer cannot put an address into our mouth, however often it says so."""
    async with raw_peer(ours.where) as liar:
        for n in range(10):
            await push(liar, frame(identify(observed_addr=Multiaddr(f"/ip4/9.9.9.{n}/tcp/4001").to_bytes())))
        assert not any("/9.9.9." in str(address) for address in ours.host.get_addrs())
