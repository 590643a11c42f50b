"""hypercorn behind bounds: what its own `serve` leaves open.

hypercorn.trio.serve            here
any number of connections       MOST_CONNECTIONS at a time; the next one waits until one is over
an error in one of them ends    it ends that connection, and is logged
the server, and so the node
an answer that is not read is   a connection has LONGEST seconds for everything; when the server ends, its socket is closed
waited for, shielded, for ever  under it, which no shield keeps off

So it is hypercorn's connection (`TCPServer`) that is used, under a listener of our own. A connection is one request: to open
one costs nothing on this machine, and who has none open holds nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from logging import getLogger
from typing import TYPE_CHECKING, cast

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState, LifespanState

if TYPE_CHECKING:
    from hypercorn.typing import ASGIFramework
    from starlette.types import ASGIApp

log = getLogger(__name__)

MOST_CONNECTIONS = 32
"""At a time. A scraper and a few browsers have one or two each."""

LONGEST = 15.0
"""Seconds that a connection may last, from its first byte to the last one of the answer."""

SILENCE = 5.0
"""Seconds in which the whole head of the request must have come."""

LARGEST_HEAD = 16 * 1024
"""Bytes of the head of a request."""

PAUSE = 1.0
"""Seconds until it is tried again to accept a connection, after the system refused to."""


async def serve(app: ASGIApp, listener: trio.SocketListener) -> None:
    """Answer with `app` what comes in at the listener, until cancelled. Afterwards all of its connections are closed."""
    wrapped = cast("ASGIFramework", app)
    handle = partial(TCPServer, ASGIWrapper(wrapped), _config(), WorkerContext(None), ConnectionState(LifespanState()))
    free = trio.Semaphore(MOST_CONNECTIONS)
    streams: set[trio.SocketStream] = set()
    async with trio.open_nursery() as nursery:
        try:
            while True:
                await free.acquire()
                stream = await _accepted(listener)
                streams.add(stream)
                nursery.start_soon(_serve_one, handle, stream, streams, free)
        finally:
            for stream in streams:
                stream.socket.close()


async def _accepted(listener: trio.SocketListener) -> trio.SocketStream:
    while True:
        try:
            return await listener.accept()
        except OSError as error:
            # For want of file descriptors, as a rule. They come back.
            log.warning("a connection could not be accepted", extra={"reason": str(error)})
            await trio.sleep(PAUSE)


async def _serve_one(
    handle: Callable[..., TCPServer], stream: trio.SocketStream, streams: set[trio.SocketStream], free: trio.Semaphore
) -> None:
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_close_in_time, stream)
            await handle(stream)
            nursery.cancel_scope.cancel()
    except Exception as error:
        log.warning("a connection ended with an error", extra={"error": type(error).__name__})
    finally:
        stream.socket.close()
        streams.discard(stream)
        free.release()


async def _close_in_time(stream: trio.SocketStream) -> None:
    await trio.sleep(LONGEST)
    stream.socket.close()


def _config() -> Config:
    config = Config()
    config.errorlog = log
    config.include_server_header = False
    config.keep_alive_max_requests = 0
    config.keep_alive_timeout = SILENCE
    config.h11_max_incomplete_size = LARGEST_HEAD
    return config
