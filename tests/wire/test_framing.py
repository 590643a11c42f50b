"""Frames, split and joined in every way, honest and not."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pkad.errors import LocalProtocolError, RemoteProtocolError
from p2pkad.wire.framing import FrameDecoder, decode_varint, encode_frame, encode_varint

MIB = 1024 * 1024

payloads = st.lists(st.binary(max_size=300), max_size=6)


def frames_in(decoder: FrameDecoder) -> list[bytes]:
    frames = []
    while (frame := decoder.next_frame()) is not None:
        frames.append(frame)
        assert len(frames) < 1000, "it does not end"
    return frames


def frames_of(*packets: bytes, limit: int = 4 * MIB) -> list[bytes]:
    decoder = FrameDecoder(limit)
    frames = []
    for packet in packets:
        decoder.feed(packet)
        frames += frames_in(decoder)
    decoder.eof()
    return frames


@given(st.binary(max_size=3), st.integers(0, 2**63 - 1), st.binary(max_size=3))
def test_a_varint_is_read_where_it_stands(before, number, after):
    varint = encode_varint(number)
    assert decode_varint(before + varint + after, len(before)) == (number, len(before + varint))


@pytest.mark.parametrize(
    "varint", [b"", b"\x80", b"\xff" * 8, b"\x80\x00", b"\x81\x80\x00", b"\x80" * 9 + b"\x01"], ids=bytes.hex
)
def test_a_varint_that_is_cut_short_or_too_long_or_not_minimal_is_none(varint):
    with pytest.raises(ValueError, match="varint"):
        decode_varint(varint, 0)


@given(st.integers(0, 2**64 - 1))
def test_a_varint_is_the_number_seven_bits_at_a_time_and_minimal(number):
    varint = encode_varint(number)
    assert sum((byte & 0x7F) << 7 * place for place, byte in enumerate(varint)) == number
    assert [byte >= 0x80 for byte in varint] == [True] * (len(varint) - 1) + [False]
    assert len(varint) == 1 or varint[-1] != 0


@pytest.mark.scenario("W4")
@given(payloads, st.data())
def test_frames_come_out_as_they_went_in_however_they_are_split(sent, data):
    stream = b"".join(encode_frame(payload, 4 * MIB) for payload in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    packets = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert frames_of(*packets) == sent


@pytest.mark.scenario("W4")
def test_a_frame_may_be_split_at_every_byte_boundary():
    stream = encode_frame(b"a" * 200, 4 * MIB) + encode_frame(b"", 4 * MIB) + encode_frame(b"b" * 20_000, 4 * MIB)
    expected = [b"a" * 200, b"", b"b" * 20_000]
    for cut in range(len(stream) + 1):
        assert frames_of(stream[:cut], stream[cut:]) == expected
    assert frames_of(*(bytes([byte]) for byte in stream)) == expected


@pytest.mark.scenario("W4")
def test_several_frames_in_one_packet_come_out_one_by_one():
    decoder = FrameDecoder(100)
    decoder.feed(b"\x01a\x02bb\x03cc")
    assert decoder.next_frame() == b"a"
    assert decoder.next_frame() == b"bb"
    assert decoder.next_frame() is None
    decoder.feed(b"c")
    assert decoder.next_frame() == b"ccc"
    assert decoder.next_frame() is None


@pytest.mark.scenario("W4")
@pytest.mark.parametrize("limit", [1, 127, 128, 16_383, 16_384, 4 * MIB])
def test_the_longest_legal_varint_announces_a_frame_of_exactly_the_limit(limit):
    payload = bytes(limit)
    assert frames_of(encode_frame(payload, limit), limit=limit) == [payload]


@pytest.mark.scenario("W4")
@pytest.mark.parametrize(
    ("prefix", "reason"),
    [
        pytest.param(encode_varint(4 * MIB + 1), "more than 4194304", id="one above the limit"),
        pytest.param(encode_varint(2**63), "does not end", id="nine bytes"),
        pytest.param(b"\x80" * 4, "does not end", id="goes on where the limit's would end"),
        pytest.param(b"\xff" * 10, "more than", id="eleven bytes, all ones"),
        pytest.param(b"\x80\x00", "minimal", id="zero in two bytes"),
        pytest.param(b"\x81\x80\x00", "minimal", id="one in three bytes"),
    ],
)
def test_a_length_that_is_too_large_or_badly_written_is_refused(prefix, reason):
    decoder = FrameDecoder(4 * MIB)
    decoder.feed(prefix)
    with pytest.raises(RemoteProtocolError, match=reason):
        decoder.next_frame()


@pytest.mark.scenario("W4")
@pytest.mark.parametrize(
    ("limit", "legal", "last_straw"),
    [(100, b"", b"\x65"), (100, b"", b"\x80"), (300, b"\xac", b"\x03"), (300, b"\x80", b"\x80"), (300, b"\x80", b"\x00")],
)
def test_a_length_is_refused_by_the_first_byte_that_shows_it(limit, legal, last_straw):
    decoder = FrameDecoder(limit)
    decoder.feed(legal)
    assert decoder.next_frame() is None
    decoder.feed(last_straw)
    with pytest.raises(RemoteProtocolError):
        decoder.next_frame()


def test_a_stream_that_was_refused_stays_refused():
    decoder = FrameDecoder(10)
    decoder.feed(b"\x0b")
    for _ in range(2):
        with pytest.raises(RemoteProtocolError):
            decoder.next_frame()
        decoder.feed(b"\x01a")


@pytest.mark.scenario("W4")
def test_frames_that_are_announced_and_never_sent_cost_no_memory():
    decoders = [FrameDecoder(4 * MIB) for _ in range(1000)]
    tracemalloc.start()
    try:
        for decoder in decoders:
            decoder.feed(encode_varint(4 * MIB) + b"x")
            assert decoder.next_frame() is None
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1000 * 1024


@pytest.mark.scenario("W4")
@pytest.mark.parametrize("cut", [1, 2, 3, 100, 201])
def test_a_stream_that_ends_inside_a_frame_has_ended_badly(cut):
    decoder = FrameDecoder(4 * MIB)
    decoder.feed(encode_frame(b"a" * 200, 4 * MIB)[:cut])
    assert decoder.next_frame() is None
    with pytest.raises(RemoteProtocolError, match="ended"):
        decoder.eof()


def test_a_stream_may_end_between_frames():
    decoder = FrameDecoder(100)
    decoder.eof()
    decoder.feed(b"\x01a")
    assert decoder.next_frame() == b"a"
    decoder.eof()


def test_a_message_that_does_not_fit_is_not_framed():
    assert encode_frame(b"12345", 5) == b"\x0512345"
    with pytest.raises(LocalProtocolError, match="6 bytes does not fit into a frame of 5"):
        encode_frame(b"123456", 5)


def test_the_decoder_says_what_it_waits_for():
    decoder = FrameDecoder(100)
    assert repr(decoder) == "<FrameDecoder 0 of ? bytes, limit 100>"
    decoder.feed(b"\x05ab")
    decoder.next_frame()
    assert repr(decoder) == "<FrameDecoder 2 of 5 bytes, limit 100>"


def test_a_decoder_is_empty_when_all_that_came_was_handed_out():
    decoder = FrameDecoder(100)
    assert decoder.empty
    for byte in b"\x02ab":
        decoder.feed(bytes([byte]))
        assert decoder.next_frame() is None or decoder.empty
        assert decoder.empty == (byte == ord("b"))
