"""What a connected peer can do with streams. Faults 1, 10, 26, 28."""

from __future__ import annotations

from libp2p.abc import INetConn, INetStream
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError

from tests.faults.subjects import KAD, Limits, OpenHost, Subject, connection_to
from tests.support.kad import FIND_NODE
from tests.support.neighbours import until
from tests.support.raw_peer import MULTISTREAM, RawPeer, RawStream, raw_peer, token

MANY = 20
LINGER = 6.0
"""Seconds after which a stream that one end has closed must be gone; the other end has a right to some of them."""


async def token_that_is_not_text(open_host: OpenHost) -> dict[str, object]:
    """A peer asks for a protocol whose name is not UTF-8. Do the others still get their answers?"""
    async with open_host(Limits()) as subject, raw_peer(subject.where) as bystander, raw_peer(subject.where) as peer:
        stream = await peer.open()
        await stream.send(token(MULTISTREAM) + token(b"\xff\xfe"))
        await stream.receive_token()
        await stream.ending()
        return await _who_is_answered(subject, bystander)


async def handler_that_raises(open_host: OpenHost) -> dict[str, object]:
    """The application's own handler has a bug. Do the others still get their answers?"""

    async def divide(stream: INetStream) -> None:
        await stream.read(1)
        raise ZeroDivisionError

    async with open_host(Limits()) as subject, raw_peer(subject.where) as bystander, raw_peer(subject.where) as peer:
        subject.host.set_stream_handler(TProtocol("/faults/divide"), divide)
        stream = await peer.open()
        await stream.negotiate("/faults/divide")
        await stream.send(b"!")
        await stream.ending()
        return await _who_is_answered(subject, bystander)


async def _who_is_answered(subject: Subject, bystander: RawPeer) -> dict[str, object]:
    async with raw_peer(subject.where) as newcomer:
        return {"bystander_answered": await bystander.ping(), "newcomer_answered": await newcomer.ping()}


async def reset_while_the_host_reads(open_host: OpenHost) -> dict[str, object]:
    """A peer resets streams on which the host waits for its bytes. What does the reader learn, and what remains?"""
    learnt: list[str] = []

    async def read(stream: INetStream) -> None:
        try:
            await stream.read(1)
        except BaseLibp2pError as error:
            learnt.append(type(error).__name__)
        await stream.reset()

    async with open_host(Limits()) as subject, raw_peer(subject.where) as peer:
        subject.host.set_stream_handler(TProtocol("/faults/read"), read)
        connection = await connection_to(subject, peer.id)
        before = _kept_by_the_muxer(connection)
        for _ in range(MANY):
            stream = await peer.open()
            await stream.negotiate("/faults/read")
            await stream.reset()
        await until(lambda: len(learnt) == MANY)
        return {"learnt": learnt[0] if len(set(learnt)) == 1 else learnt, "forgotten": await _forgotten(connection, before)}


async def _forgotten(connection: INetConn, before: int, within: float = 1.0) -> bool:
    # Identify has streams of its own, which come and go meanwhile: half of MANY is room enough for them.
    return await until(lambda: _kept_by_the_muxer(connection) < before + MANY // 2, within)


def _kept_by_the_muxer(connection: INetConn) -> int:
    # Whichever muxer it is: what it keeps for each stream lies in its dictionaries.
    return sum(len(kept) for kept in vars(connection.muxed_conn).values() if isinstance(kept, dict))


async def half_closed_and_forgotten(open_host: OpenHost) -> dict[str, object]:
    """A peer never closes its side of streams that the host has closed. What remains of them?"""

    async def close(stream: INetStream) -> None:
        await stream.close()

    async with open_host(Limits()) as subject, raw_peer(subject.where) as peer:
        subject.host.set_stream_handler(TProtocol("/faults/close"), close)
        connection = await connection_to(subject, peer.id)
        before = _kept_by_the_muxer(connection)
        for _ in range(MANY):
            stream = await peer.open()
            await stream.negotiate("/faults/close")
            await stream.ending()
        return {"forgotten": await _forgotten(connection, before, within=LINGER)}


async def streams_used_and_dropped(open_host: OpenHost) -> dict[str, object]:
    """The host asks one peer many times, and each time the peer ends the stream. Does it forget the streams?"""

    async def answer_once(stream: RawStream) -> None:
        await stream.send(await stream.receive_frame())
        await stream.reset()

    async with open_host(Limits()) as subject, raw_peer(subject.where, serves={KAD: answer_once}) as peer:
        connection = await connection_to(subject, peer.id)
        for _ in range(MANY):
            await subject.ask_lightly(peer.id)
        await until(lambda: len(connection.get_streams()) < MANY // 2, within=1)
        return {"kept": "all" if len(connection.get_streams()) >= MANY else "few"}


async def open_streams_outlive_the_server(open_host: OpenHost) -> dict[str, object]:
    """A peer holds a stream open while the host ceases to serve. Is it still served?"""
    async with open_host(Limits()) as subject, raw_peer(subject.where) as peer:
        await subject.set_server(True)
        stream = await peer.open()
        await stream.negotiate(KAD)
        await stream.send(FIND_NODE)
        answered = bool(await stream.receive_frame())
        await subject.set_server(False)
        return {"server_answered": answered, "client_answered": await _answers(stream)}


async def _answers(stream: RawStream) -> bool:
    try:
        await stream.send(FIND_NODE)
    except BaseLibp2pError:
        return False
    return await stream.ending(within=2) == "data"
