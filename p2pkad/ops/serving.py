"""hypercorn's HTTP/1.1 behind bounds: what its own `serve` leaves open.

hypercorn.trio.serve            here
any number of connections       MOST_CONNECTIONS at a time: of those that have not asked yet the oldest goes for the next one,
                                so that nobody keeps a question waiting by asking none, or by asking slowly; where all have
                                asked, the next one waits until one has its answer
an error in one of them ends    it ends that connection, and is logged
the server, and so the node
an answer that is not read is   a connection has LONGEST seconds for everything
waited for, shielded, for ever
changes to HTTP/2 when asked    HTTP/1.1 alone: an upgrade is not taken up, and who begins with HTTP/2 gets 505

So it is hypercorn's protocol (`H11Protocol`) that is used, on connections of our own. A connection is one request, which HTTP/2
has no idea of: to open one costs nothing on this machine, and who has none open holds nothing.
"""

from __future__ import annotations

from contextlib import suppress
from logging import getLogger
from math import inf
from typing import TYPE_CHECKING, Any, cast

import h11
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState, LifespanState
from hypercorn.utils import parse_socket_addr

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

CHUNK = 64 * 1024
"""Bytes asked of the operating system at once."""

PAUSE = 1.0
"""Seconds until it is tried again to accept a connection, after the system refused to."""

ANOTHER_VERSION = b"HTTP/1.1 505 HTTP Version Not Supported\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


async def serve(app: ASGIApp, listener: trio.SocketListener) -> None:
    """Answer with `app` what comes in at the listener, until cancelled. Afterwards all of its connections are closed."""
    wrapped = ASGIWrapper(cast("ASGIFramework", app))
    free = trio.Semaphore(MOST_CONNECTIONS)
    held: dict[Connection, None] = {}  # oldest first
    async with trio.open_nursery() as nursery:
        try:
            while True:
                newest = Connection(await _accepted(listener))
                if not free.value and (idle := next((each for each in held if not each.asked), None)):
                    del held[idle]
                    idle.dismiss()
                held[newest] = None
                await free.acquire()
                nursery.start_soon(_serve_one, newest, wrapped, held, free)
        finally:
            for each in held:
                each.close()


async def _accepted(listener: trio.SocketListener) -> trio.SocketStream:
    while True:
        try:
            return await listener.accept()
        except OSError as error:
            # For want of file descriptors, as a rule. They come back.
            log.warning("a connection could not be accepted", extra={"reason": str(error)})
            await trio.sleep(PAUSE)


async def _serve_one(connection: Connection, app: ASGIWrapper, held: dict[Connection, None], free: trio.Semaphore) -> None:
    try:
        await connection.serve(app)
    except Exception as error:
        log.warning("a connection ended with an error", extra={"error": type(error).__name__})
    finally:
        connection.close()
        held.pop(connection, None)
        free.release()


class AnotherVersion(Exception):
    """Somebody speaks a version of HTTP that is not spoken here."""


class Http1(H11Protocol):
    """hypercorn's HTTP/1.1, which does not become HTTP/2 or a WebSocket in the middle."""

    @property
    def owes(self) -> bool:
        """Whether an answer is under way."""
        return self.stream is not None and self.connection.our_state in (h11.SEND_RESPONSE, h11.SEND_BODY)

    async def _check_protocol(self, event: h11.Request) -> None:
        if event.http_version not in (b"1.0", b"1.1"):
            raise AnotherVersion

    async def _create_stream(self, request: h11.Request) -> None:
        # hypercorn would take up a WebSocket, and wait for ever behind its refusal. Without the header a page is asked for.
        headers = [(name, value) for name, value in request.headers if name != b"upgrade"]
        page = h11.Request(method=request.method, target=request.target, headers=headers, http_version=request.http_version)
        await super()._create_stream(page)


class Connection:
    """One connection: a request, and its answer. asked: the whole head of the request has come."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.asked = False
        self._stream = stream
        self._scope = trio.CancelScope()
        self._silence = trio.CancelScope()
        self._sending = trio.Lock()
        self._protocol: Http1 | None = None

    async def serve(self, app: ASGIWrapper) -> None:
        """Answer what comes, until that is done, or its time is over. Raises what the application or a library does."""
        self._scope.deadline = trio.current_time() + LONGEST
        with suppress(OSError):  # the peer has gone
            client, server = (parse_socket_addr(self._stream.socket.family, end) for end in self._ends())
            with self._scope:
                async with TaskGroup() as group:
                    state, context = ConnectionState(LifespanState()), WorkerContext(None)
                    protocol = Http1(app, _config(), context, group, state, False, client, server, self._send)
                    self._protocol = protocol
                    await self._read(protocol)

    def dismiss(self) -> None:
        """Let it end, without an answer."""
        self._scope.cancel()

    def close(self) -> None:
        """At once, whatever has not been sent. Twice is once."""
        self._stream.socket.close()

    def _ends(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return self._stream.socket.getpeername(), self._stream.socket.getsockname()

    @property
    def _owes(self) -> bool:
        return self._protocol is not None and self._protocol.owes

    async def _read(self, protocol: Http1) -> None:
        self._silence.deadline = trio.current_time() + SILENCE
        with self._silence, suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            ended = False
            while not ended:
                data = bytes(await self._stream.receive_some(CHUNK))
                ended = not data
                try:
                    await protocol.handle(RawData(data))
                except AnotherVersion:
                    await self._send(RawData(ANOTHER_VERSION))
                    ended = True
        if self._owes:
            return  # it has said all that it wants to say, and listens
        await protocol.handle(Closed())
        await self._end()

    async def _send(self, event: Event) -> None:
        match event:
            case RawData(data=data):
                # That the peer has gone is seen by whoever reads.
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    async with self._sending:
                        await self._stream.send_all(data)
            case Closed() if self._owes:
                pass  # what came behind the request is no reason to cut its answer off
            case Closed():
                await self._end()
            case Updated(idle=False):
                self.asked = True
                self._silence.deadline = inf
            case _:
                pass

    async def _end(self) -> None:
        if not self._sending.locked():  # else whoever sends to a peer that has gone is not waited for
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                async with self._sending:
                    await self._stream.send_eof()
        await self._stream.aclose()


def _config() -> Config:
    config = Config()
    config.errorlog = log
    config.include_server_header = False
    config.keep_alive_max_requests = 0
    config.h11_max_incomplete_size = LARGEST_HEAD
    return config
