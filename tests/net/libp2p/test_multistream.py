"""Negotiation, both sides, byte by byte."""

from __future__ import annotations

import random
from typing import cast

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from p2pkad.errors import RemoteProtocolError
from p2pkad.net.libp2p.multistream import HEADER, MAX_PROPOSALS, MAX_TOKEN, Proposal, Refused, Responder, Tokens, opening, token
from p2pkad.net.libp2p.pipe import Pipe, StreamLost

ECHO = "/echo/1"


class Said:
    """A pipe from which these chunks are read; then it ends."""

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = list(chunks)
        self.log: list[bytes | None] = []

    async def read(self) -> bytes:
        await trio.lowlevel.checkpoint()
        self.log.append(None)
        return self._chunks.pop(0) if self._chunks else b""

    async def write(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.log.append(data)

    @property
    def answered(self) -> bytes:
        return b"".join(each for each in self.log if each is not None)


def responder(pipe: Said, *protocols: str) -> Responder:
    return Responder(cast("Pipe", pipe), list(protocols))


def split(data: bytes) -> st.SearchStrategy[list[bytes]]:
    cuts = st.lists(st.integers(1, len(data)), max_size=6).map(sorted)
    return cuts.map(lambda at: [data[a:b] for a, b in zip([0, *at], [*at, len(data)], strict=True)])


def test_a_token_is_as_in_the_specification():
    assert token(HEADER) == b"\x13/multistream/1.0.0\n"
    assert token(b"x" * 200)[:2] == bytes([201 & 0x7F | 0x80, 201 >> 7])


async def test_header_and_proposal_in_one_packet_get_one_answer_and_the_request_is_handed_on():
    pipe = Said(opening(ECHO) + b"request")
    assert await responder(pipe, ECHO).negotiate() == (ECHO, b"request")
    assert pipe.log == [None, opening(ECHO)]


async def test_an_initiator_that_waits_for_the_header_gets_it():
    pipe = Said(token(HEADER), token(ECHO.encode()))
    assert await responder(pipe, ECHO).negotiate() == (ECHO, b"")
    assert pipe.log == [None, token(HEADER), None, token(ECHO.encode())]


async def test_the_first_proposal_that_is_known_is_taken():
    pipe = Said(opening("/other/2") + token(b"ls") + token(ECHO.encode()))
    assert await responder(pipe, ECHO, "/third").negotiate() == (ECHO, b"")
    assert pipe.answered == token(HEADER) + token(b"na") + token(b"/echo/1\n/third\n") + token(ECHO.encode())


async def test_a_refused_pipelined_request_is_refused_and_not_an_error():
    pipe = Said(opening("/other/2") + b"\x05\x01\x02\x03\x04\x05")
    with pytest.raises(Refused):
        await responder(pipe, ECHO).negotiate()
    assert pipe.answered == token(HEADER) + token(b"na")


@pytest.mark.parametrize(
    "said",
    [
        token(b"/multistream/2.0.0"),
        token(b"\xff\xfe") + b"x",
        b"\x00",
        b"\xff\xff\xff\xff",
        b"\x80\x00",
        bytes([0x80 | (MAX_TOKEN + 1) & 0x7F, (MAX_TOKEN + 1) >> 7]),
        b"\x13/multistream/1.0.0 " + token(b"x"),
        token(HEADER) + token(b"na") * (MAX_PROPOSALS + 1),
    ],
)
async def test_what_is_no_negotiation_is_the_peers_fault(said):
    with pytest.raises(RemoteProtocolError):
        await responder(Said(said), ECHO).negotiate()


async def test_a_name_that_is_not_text_is_unknown_and_no_more():
    pipe = Said(token(HEADER) + token(b"\xff\xfe\x00") + token(ECHO.encode()))
    assert (await responder(pipe, ECHO).negotiate())[0] == ECHO


async def test_the_end_within_a_negotiation_is_a_lost_stream():
    for cut in range(len(opening(ECHO))):
        with pytest.raises(StreamLost):
            await responder(Said(opening(ECHO)[:cut]), ECHO).negotiate()


@pytest.mark.scenario("H1")
async def test_ten_thousand_random_negotiations_end_in_a_protocol_or_a_fault_of_the_peer():
    rng = random.Random(1)
    pieces = [token(HEADER), token(ECHO.encode()), token(b"na"), token(b"ls"), token(b"\xff\n"), b"\x80", b"\x00", b"\n"]
    outcomes = set()
    for _ in range(10_000):
        said = b"".join(rng.choice([*pieces, rng.randbytes(rng.randrange(1, 9))]) for _ in range(rng.randrange(1, 6)))
        at = rng.randrange(len(said) + 1)
        try:
            await responder(Said(said[:at] or b"\x13", said[at:]), ECHO).negotiate()
            outcomes.add("agreed")
        except (Refused, RemoteProtocolError, StreamLost) as error:
            outcomes.add(type(error).__name__)
    assert outcomes == {"agreed", "Refused", "RemoteProtocolError", "StreamLost"}


@given(split(opening(ECHO) + b"reply"))
def test_a_proposal_may_be_answered_in_any_pieces(chunks):
    proposal = Proposal(ECHO)
    received = b"".join(chunk if proposal.done else proposal.feed(chunk) for chunk in chunks)
    assert proposal.done
    assert received == b"reply"


@given(st.lists(st.binary(max_size=MAX_TOKEN - 1), max_size=5).flatmap(lambda texts: st.tuples(st.just(texts), st.data())))
def test_tokens_come_out_as_they_went_in(drawn):
    texts, data = drawn
    whole = b"".join(map(token, texts)) + b"\x05rest"
    tokens, out = Tokens(), []
    for chunk in data.draw(split(whole)):
        tokens.feed(chunk)
        while (said := tokens.next()) is not None:
            out.append(said)
    assert out == texts
    assert tokens.rest() == b"\x05rest"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (token(HEADER) + token(b"na"), "does not speak /echo/1"),
        (token(HEADER) + token(b"/other"), "an answer that was not asked for"),
        (token(b"/multistream/0.9.9"), "an answer that was not asked for"),
    ],
)
def test_a_proposal_that_is_not_echoed_has_failed(said, reason):
    with pytest.raises((StreamLost, RemoteProtocolError), match=reason):
        Proposal(ECHO).feed(said)
