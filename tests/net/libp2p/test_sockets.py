"""yamux over noise over a socket: what is sent and read without a turn of the scheduler."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import trio
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.id import ID
from libp2p.security.secure_session import SecureSession
from trio.testing import wait_all_tasks_blocked

from p2pkad.net.libp2p.arrivals import Arrivals
from p2pkad.net.libp2p.noise import Channel, feed
from p2pkad.net.libp2p.transport import Stream
from p2pkad.net.libp2p.yamux import FLOODED, Connection
from p2pkad.net.libp2p.yamux_stream import ACK, HEADER, LARGEST, PING, SYN, WINDOW
from tests.net.libp2p.test_noise import states

MUCH = 3_000_000


@dataclass(slots=True)
class Wired:
    """One end. tcp: its socket, as the transport has it."""

    tcp: Stream
    channel: Channel
    session: SecureSession
    muxer: Connection


def wired(arrivals: Arrivals, near: socket.socket, state: Any, *, is_initiator: bool) -> Wired:
    keys = create_new_key_pair()
    peer = ID.from_pubkey(keys.public_key)
    tcp = Stream(trio.SocketStream(trio.socket.from_stdlib_socket(near)), lambda stream: None, arrivals)
    channel = Channel(tcp, state)  # type: ignore[arg-type] # as a listener hands it over
    session = SecureSession(
        local_peer=peer,
        local_private_key=keys.private_key,
        remote_peer=peer,
        remote_permanent_pubkey=keys.public_key,
        is_initiator=is_initiator,
        conn=channel,
    )
    return Wired(tcp, channel, session, Connection(session, peer))


@asynccontextmanager
async def pair(kept: bool = True) -> AsyncIterator[tuple[Wired, Wired]]:
    """Two ends whose sockets take little at once. kept: somebody reads what arrives."""
    arrivals, sockets = Arrivals(), (socket.socket(), socket.socket())
    with sockets[0] as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        sockets[1].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        sockets[1].connect(listener.getsockname())
        far = listener.accept()[0]
    caller, called = states()
    ends = (
        wired(arrivals, sockets[1], caller, is_initiator=True),
        wired(arrivals, far, called, is_initiator=False),
    )
    if kept:
        async with arrivals.kept():
            yield ends
    else:
        yield ends


@asynccontextmanager
async def started(*ends: Wired) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        for end in ends:
            nursery.start_soon(end.muxer.start)
        await wait_all_tasks_blocked()
        yield
        nursery.cancel_scope.cancel()


@pytest.mark.scenario("W4")
@pytest.mark.parametrize("kept", [True, False])
async def test_much_arrives_as_it_was_written_in_both_directions(kept):
    data = bytes(range(251)) * (MUCH // 251)
    received: dict[str, bytes] = {}

    async def read(name: str, stream: Any) -> None:
        got = bytearray()
        while len(got) < len(data):
            got += await stream.read()
        received[name] = bytes(got)

    async with pair(kept) as (one, other), started(one, other):
        here = await one.muxer.open_stream()
        await here.write(b"hello")
        there = await other.muxer.accept_stream()
        assert await there.read() == b"hello"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, "here", here)
            nursery.start_soon(read, "there", there)
            nursery.start_soon(here.write, data)
            nursery.start_soon(there.write, data)
            nursery.start_soon(chatter, one.muxer)
    assert received == {"here": data, "there": data}


async def chatter(muxer: Connection) -> None:
    # Frames of others come in between, while a part of one is on its way.
    for number in range(200):
        muxer.send(HEADER.pack(0, PING, SYN, 0, number))
        await trio.lowlevel.checkpoint()


async def test_what_is_little_is_on_its_way_before_anybody_else_has_a_turn():
    async with pair() as (one, other), started(one, other):
        stream = await one.muxer.open_stream()
        await stream.write(b"quick")
        assert one.muxer.unsent == 0
        with socket.fromfd(other.tcp.stream.socket.fileno(), socket.AF_INET, socket.SOCK_STREAM) as raw:
            raw.settimeout(5)
            assert raw.recv(1, socket.MSG_PEEK)


@pytest.mark.scenario("W3")
async def test_what_arrived_before_anybody_was_fed_comes_first():
    async with pair() as (one, other):
        # What the other end sent right behind its negotiation lies in each of the layers below.
        for message in (b"session and more", b"channel", b"socket"):
            await one.channel.write_msg(message)
        await trio.sleep(0.01)
        other.tcp._ahead = memoryview(await other.tcp.read())
        first = await other.tcp.read(2)
        size = int.from_bytes(first, "big")
        other.channel._arrived = first + await other.tcp.read(size)
        assert await other.session.read(7) == b"session"
        other.channel._arrived += await other.tcp.read(5)
        taken: list[bytes] = []

        def take(data: bytes) -> bool:
            taken.append(data)
            return not b"".join(taken).endswith(b"last")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed, other.session, take)
            await wait_all_tasks_blocked()
            assert b"".join(taken) == b" and morechannelsocket"
            await one.channel.write_msg(b"last")
        await one.channel.write_msg(b"kept")
        assert await other.session.read() == b"kept"


@pytest.mark.scenario("H4")
async def test_of_an_end_that_takes_nothing_little_waits_here():
    async with pair() as (one, other), started(other):
        # It asks and asks, and reads no answer.
        ask = HEADER.pack(0, PING, SYN, 0, 7) * 1000
        with trio.move_on_after(1) as stuck:
            for _ in range(1000):  # some fifty are taken
                await one.channel.write_msg(ask)
                stuck.deadline = trio.current_time() + 1
        assert FLOODED < other.muxer.unsent < FLOODED + 2 * 65536
        # As soon as it does it is heard again.
        answers = b""
        with trio.fail_after(5):
            while len(answers) < 12 * 30_000:
                answers += await one.channel.read_msg()
        assert HEADER.unpack(answers[:12]) == (0, PING, ACK, 0, 7)


async def test_what_is_answered_while_something_is_read_leaves_in_one_message(monkeypatch):
    async with pair() as (one, other), started(other):
        alone: list[bytes] = []
        monkeypatch.setattr(other.tcp, "write_now", alone.append)
        await one.channel.write_msg(HEADER.pack(0, PING, SYN, 0, 7) * 1000)
        answers = b""
        while len(answers) < 12 * 1000:
            answers += await one.channel.read_msg()
        assert not alone


async def test_who_writes_much_lets_others_have_their_turn():
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with pair() as (one, other), started(one, other):
        stream = await other.muxer.open_stream()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(others)
            while not turns:
                await trio.lowlevel.checkpoint()
            before = turns
            await stream.write(bytes(WINDOW))
            nursery.cancel_scope.cancel()
    assert turns - before >= WINDOW // LARGEST - 2  # a batch of the scheduler runs in any order


async def test_an_error_while_something_leaves_at_once_ends_the_connection():
    async with pair() as (one, other), trio.open_nursery() as nursery:
        nursery.start_soon(one.muxer.start)
        await wait_all_tasks_blocked()
        stream = await one.muxer.open_stream()
        other.tcp.stream.socket.close()
        one.tcp.stream.socket.shutdown(socket.SHUT_WR)
        await stream.write(b"into the void")
    assert one.muxer.is_closed
