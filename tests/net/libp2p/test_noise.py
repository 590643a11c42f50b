"""What noise carries: messages, however the bytes of them arrive."""

from __future__ import annotations

from typing import Any

import pytest
from libp2p.abc import IRawConnection
from libp2p.io.exceptions import ConnectionClosedError, IncompleteReadError
from noise.connection import Keypair, NoiseConnection
from noise.exceptions import NoiseInvalidMessage

from p2pkad.net.libp2p.noise import Channel


class Wire:
    """A connection: `arriving` is what comes, piece by piece, and `sent` what left in each write."""

    def __init__(self, *arriving: bytes) -> None:
        self._arriving = list(arriving)
        self.sent: list[bytes] = []

    async def read(self, n: int | None = None) -> bytes:
        assert n is None, "as much as there is"
        return self._arriving.pop(0) if self._arriving else b""

    async def write(self, data: bytes) -> None:
        self.sent.append(data)


def states() -> tuple[NoiseConnection, NoiseConnection]:
    """Both ends, after the handshake."""
    name = b"Noise_XX_25519_ChaChaPoly_SHA256"
    caller, called = NoiseConnection.from_name(name), NoiseConnection.from_name(name)
    caller.set_as_initiator()
    called.set_as_responder()
    for number, end in enumerate((caller, called), 1):
        end.set_keypair_from_private_bytes(Keypair.STATIC, bytes([number]) * 32)
        end.start_handshake()
    for writer, reader in ((caller, called), (called, caller), (caller, called)):
        reader.read_message(writer.write_message())
    return caller, called


def channel(wire: Any, state: NoiseConnection) -> Channel:
    connection: IRawConnection = wire
    return Channel(connection, state)


async def sealed(state: NoiseConnection, *messages: bytes) -> bytes:
    """The bytes of messages on the wire."""
    wire = Wire()
    for message in messages:
        await channel(wire, state).write_msg(message)
    return b"".join(wire.sent)


@pytest.mark.parametrize("piece", [1, 3, 17, 1000])
async def test_messages_come_out_as_they_went_in_however_they_are_split(piece):
    caller, called = states()
    messages = [b"one", b"two" * 100, b"x"]
    data = await sealed(caller, *messages)
    reader = channel(Wire(*(data[at : at + piece] for at in range(0, len(data), piece))), called)
    read = b""
    while len(read) < sum(map(len, messages)):
        part = await reader.read_msg()
        assert part
        read += part
    assert read == b"".join(messages)


async def test_what_has_arrived_is_read_at_once_and_the_begin_of_the_next_message_is_kept():
    caller, called = states()
    data = await sealed(caller, b"one", b"two", b"three")
    reader = channel(Wire(data[:-4], data[-4:]), called)
    assert await reader.read_msg() == b"onetwo"
    assert await reader.read_msg() == b"three"


async def test_what_is_long_is_several_messages_that_leave_in_one_piece():
    caller, called = states()
    wire = Wire()
    await channel(wire, caller).write_msg(bytes(200_000))
    (left,) = wire.sent
    assert await channel(Wire(left), called).read_msg() == bytes(200_000)


async def test_a_message_without_content_is_not_the_end():
    caller, called = states()
    empty = caller.encrypt(b"")
    reader = channel(Wire(len(empty).to_bytes(2, "big") + empty, await sealed(caller, b"more")), called)
    assert await reader.read_msg() == b"more"


async def test_the_end_between_two_messages_is_one_and_within_one_it_is_a_cut():
    caller, called = states()
    data = await sealed(caller, b"one", b"two")
    with pytest.raises(ConnectionClosedError):
        await channel(Wire(), called).read_msg()
    reader = channel(Wire(data[:-1]), called)
    assert await reader.read_msg() == b"one"
    with pytest.raises(IncompleteReadError):
        await reader.read_msg()


async def test_what_was_changed_on_the_way_is_refused():
    caller, called = states()
    data = bytearray(await sealed(caller, b"one"))
    data[-1] ^= 1
    with pytest.raises(NoiseInvalidMessage):
        await channel(Wire(bytes(data)), called).read_msg()
