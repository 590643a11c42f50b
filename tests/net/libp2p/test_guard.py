"""What one peer does to a host, and that everybody else is served on."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio
from libp2p.custom_types import TProtocol
from libp2p.network.stream.net_stream import NetStream
from libp2p.stream_muxer.exceptions import MuxedStreamEOF, MuxedStreamError

from p2pkad.errors import RequestFailed
from p2pkad.net.base import Gone
from p2pkad.net.libp2p.multistream import HEADER, opening, token
from p2pkad.net.libp2p.quic_core import WINDOW
from p2pkad.net.libp2p.quic_stream import UNSENT
from tests.net.libp2p.ends import PATIENCE, End, an_end, eventually, soon


@asynccontextmanager
async def an_attack(**config: object) -> AsyncIterator[tuple[End, End, End]]:
    """A bad peer that is connected to a victim, and a bystander who is served at the end, over the same connection."""
    async with an_end() as bad, an_end(**config) as victim, an_end() as bystander:
        await bystander.ask(victim)
        await bad.network.connect(victim.info, soon())
        yield bad, victim, bystander
        await bystander.ask(victim)
        assert not bystander.told(Gone)


async def a_stream(bad: End, victim: End) -> NetStream:
    """A stream on which nothing has been said."""
    held = bad.host.backbone.find(victim.id)
    assert held is not None
    return await held.handle.new_stream()


async def the_end_of(stream: NetStream) -> None:
    """Read until the other end has had enough."""
    with pytest.raises(MuxedStreamError), trio.fail_after(PATIENCE):
        await read_on(stream)


async def read_on(stream: NetStream) -> None:
    while True:
        await stream.muxed_stream.read(4096)


@pytest.mark.scenario("H1")
@pytest.mark.parametrize(
    "said",
    [
        token(b"\xff\xfe\xfd"),
        token(HEADER) + token(b"\xff\xfe\xfd"),
        b"\x05\xff\xff\xff\xff\xff",
        b"\x00",
        b"\xff" * 12,
        token(HEADER) + token(b"na") * 100,
    ],
)
async def test_a_name_that_is_not_utf8_costs_the_stream_and_nothing_else(said):
    async with an_attack() as (bad, victim, _):
        stream = await a_stream(bad, victim)
        await stream.muxed_stream.write(said)
        await stream.muxed_stream.close()
        await the_end_of(stream)
        await bad.ask(victim)


@pytest.mark.scenario("H1")
async def test_a_handler_that_raises_costs_the_stream_and_nothing_else(caplog):
    async with an_attack() as (bad, victim, _):

        async def fail(stream: object) -> None:
            raise RuntimeError("a bug of the application")

        victim.host.set_stream_handler(TProtocol("/buggy/1"), fail)
        stream = await a_stream(bad, victim)
        await stream.muxed_stream.write(opening("/buggy/1"))
        await the_end_of(stream)
        assert "a bug of the application" in caplog.text


@pytest.mark.scenario("H1")
async def test_an_answer_that_raises_costs_the_stream_and_nothing_else():
    async with an_end() as asker:

        async def fail(request: object) -> None:
            raise RuntimeError("a bug of the node")

        async with an_end(handler=fail) as broken:
            for _ in range(3):
                with pytest.raises(RequestFailed):
                    await asker.ask(broken)
            assert not asker.told(Gone)


@pytest.mark.scenario("H4")
async def test_one_peer_holds_a_bounded_number_of_streams():
    async with an_attack(max_streams_per_peer=8) as (bad, victim, _):
        opened = [(await a_stream(bad, victim)).muxed_stream for _ in range(50)]
        for stream in opened:
            with suppress(MuxedStreamError):  # it may be reset by now
                await stream.write(token(HEADER))
        held = victim.host.backbone.find(bad.id)
        assert held is not None
        await eventually(lambda: sum(each.is_reset for each in opened) >= 42)
        await eventually(lambda: len(held.handle.streams) == len(held.handle.muxed_conn.streams) == 8)


@pytest.mark.scenario("W2")
@pytest.mark.parametrize(
    ("listen", "size"), [("/ip4/127.0.0.1/tcp/0", WINDOW // 2), ("/ip4/127.0.0.1/udp/0/quic-v1", WINDOW + UNSENT // 2)]
)
async def test_who_reads_slowly_gets_all_of_it(listen, size, monkeypatch):
    monkeypatch.setattr("p2pkad.net.libp2p.pipe.LINGER", 0.05)
    said = os.urandom(size)

    async def tell(stream: NetStream) -> None:
        await stream.write(said)  # not so much that this waits for who reads
        await stream.close()

    async with an_end() as reader, an_end(listen=(listen,)) as teller:
        teller.host.set_stream_handler(TProtocol("/tell/1"), tell)
        await reader.network.connect(teller.info, soon())
        stream = await reader.host.new_stream(teller.host.get_id(), [TProtocol("/tell/1")])
        guard = teller.host.get_network().common_stream_handler
        await eventually(lambda: not guard._open)
        await trio.sleep(0.1)  # what it has to say about that would be here
        heard = b""
        with trio.fail_after(PATIENCE):
            while len(heard) < len(said):
                heard += await stream.read(size)
        assert heard == said
        with pytest.raises(MuxedStreamEOF):
            await stream.muxed_stream.read(1)
        (connection,) = teller.host.get_network().get_connections()
        await eventually(lambda: not getattr(connection.muxed_conn, "streams", None))
        await reader.ask(teller)


async def test_the_application_serves_its_own_protocol_beside():
    async with an_end() as one, an_end() as other:
        heard = trio.Event()

        async def echo(stream: NetStream) -> None:
            await stream.write(await stream.read(5))
            await stream.close()
            heard.set()

        other.host.set_stream_handler(TProtocol("/echo/1"), echo)
        await one.ask(other)
        stream = await one.host.new_stream(other.host.get_id(), [TProtocol("/nope/1"), TProtocol("/echo/1")])
        await stream.write(b"hello")
        assert await stream.read(5) == b"hello"
        await heard.wait()
        # And with the request in the same packet as the negotiation.
        raw = await a_stream(one, other)
        await raw.muxed_stream.write(opening("/echo/1") + b"again")
        received = b""
        while not received.endswith(b"again"):
            received += await raw.muxed_stream.read(100)
