"""Beginning and ending: ports that are taken, hosts that are left. Faults 21, 22."""

from __future__ import annotations

import trio
from libp2p.abc import INetConn

from tests.faults.stock import neighbour
from tests.faults.subjects import Limits, OpenHost, connection_to, stay_with
from tests.support.census import census
from tests.support.neighbours import occupied_port

MANY = 10

A_WHILE = 0.5
"""Seconds that closing a connection takes here, at most: less than a host has for it, and enough to begin with all."""


async def port_of_a_stranger(open_host: OpenHost) -> dict[str, object]:
    """Another program listens on the host's port."""
    with occupied_port() as port:
        return await _starts_on(port, open_host)


async def port_of_another_host(open_host: OpenHost) -> dict[str, object]:
    """Another py-libp2p host, in another program or in this one, listens on the host's port."""
    async with neighbour() as other:
        return await _starts_on(int(str(other.where.addrs[0].value_for_protocol("tcp"))), open_host)


async def _starts_on(port: int, open_host: OpenHost) -> dict[str, object]:
    try:
        async with open_host(Limits(listen=(f"/ip4/127.0.0.1/tcp/{port}",))) as subject:
            return {"started": True, "listens": len(subject.where.addrs)}
    except Exception as error:  # the answer is its sentence
        return {"started": False, "names_the_port": str(port) in str(error)}


async def left_by_cancellation(open_host: OpenHost) -> dict[str, object]:
    """A program is cancelled while its host runs. What is left of it?"""
    await _run_and_cancel(open_host)  # the first one of a process opens what stays open anyway
    before = census()
    await _run_and_cancel(open_host)
    left = census() - before
    return {"tasks": left.tasks, "descriptors": left.descriptors}


async def _run_and_cancel(open_host: OpenHost) -> None:
    with trio.CancelScope() as program:
        async with open_host(Limits()):
            program.cancel()
            await trio.sleep_forever()


async def closed_with_connections(open_host: OpenHost) -> dict[str, object]:
    """The host closes while ten peers are connected. Does it close them all at once?"""
    closing = _Closing()
    async with trio.open_nursery() as outside:
        async with open_host(Limits()) as subject:
            for _ in range(MANY):
                guest = await outside.start(stay_with, subject)
                closing.watch(await connection_to(subject, guest))
            await subject.close()
        outside.cancel_scope.cancel()
    return {"all_at_once": closing.most == MANY}


class _Closing:
    """Counts how many connections are being closed at the same time, up to MANY. Each one takes a while, unless all are."""

    most = 0

    def __init__(self) -> None:
        self._now: set[INetConn] = set()
        self._all = trio.Event()

    def watch(self, connection: INetConn) -> None:
        """Count this connection from now on."""
        close = connection.muxed_conn.close

        async def counted() -> None:
            self._now.add(connection)
            self.most = max(self.most, len(self._now))
            if self.most == MANY:
                self._all.set()
            try:
                # Of connections with a stream more to end, the close begins later: on a busy machine after others are over.
                with trio.move_on_after(A_WHILE):
                    await self._all.wait()
                await close()
            finally:
                self._now.discard(connection)

        connection.muxed_conn.close = counted  # type: ignore[method-assign]
