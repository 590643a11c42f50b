"""The node's end of the control socket.

bound to a name of its own, mode 600, listening, then renamed: nobody sees half of it
who asks        the user that the node runs as, or root, as the kernel says (SO_PEERCRED)
a connection    one request, for which it has REQUEST_TIMEOUT; every line that it is sent has WRITE_TIMEOUT
it ends early   what it asked for is cancelled
no more than MAX_CLIENTS at a time
"""

from __future__ import annotations

import logging
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import trio

from p2pkad.cli.control.lines import LineReader, answer_line, done_line, error_line, read_request, socket_path
from p2pkad.cli.exits import leaf
from p2pkad.cli.requests import GRACE, Answer, Asked, Request
from p2pkad.errors import ConfigError, P2pkadError

log = logging.getLogger(__name__)

MAX_CLIENTS = 16
"""Commands that are answered at the same time."""
BACKLOG = 16
"""Commands that the system keeps waiting beside them."""
REQUEST_TIMEOUT = 10.0
"""Seconds for a request to arrive whole."""
WRITE_TIMEOUT = 30.0
"""Seconds for a line to be taken. A command that is stopped, or pipes into one that is, takes none."""
ROOT = 0
LEFT = (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError)
"""How it shows that a command takes no more lines."""


@asynccontextmanager
async def control_socket(directory: str | Path, node: Asked) -> AsyncIterator[Path]:
    """Let commands ask `node` through the control socket in its state directory, inside the block.

    What a killed node left there is replaced. Leaving the block cancels what is asked, and removes the socket.
    Raises ConfigError: a living node has its socket there; the directory cannot be written, or lies too deep.
    """
    path = socket_path(directory)
    listener, mark = _listen(path)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(trio.serve_listeners, Server(node).serve, [trio.SocketListener(listener)]))
            yield path
            nursery.cancel_scope.cancel()
    finally:
        listener.close()
        with suppress(OSError):
            if path.stat().st_ino == mark:  # else another node has put its own there
                path.unlink()


def _listen(path: Path) -> tuple[trio.socket.SocketType, int]:
    """A listening socket under this path, and the number by which it is known again."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    refuse_a_second(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # As long as the final name at most, so that it fits where that one does.
    unfinished = path.with_name(f".{os.getpid()}")
    try:
        with suppress(FileNotFoundError):
            unfinished.unlink()
        listener.bind(str(unfinished))
        unfinished.chmod(0o600)
        listener.listen(BACKLOG)
        mark = unfinished.stat().st_ino
        unfinished.rename(path)
    except OSError as error:
        listener.close()
        unfinished.unlink(missing_ok=True)
        raise ConfigError(
            f"{path}: cannot make the control socket ({error.strerror}). Make its directory writable, or name another"
        ) from error
    return trio.socket.from_stdlib_socket(listener), mark


def refuse_a_second(path: Path) -> None:
    """Raise ConfigError when a node listens on a control socket."""
    if _alive(path):
        raise ConfigError(f"{path}: a node that runs listens there. Stop it first, or pass another --data-dir")


def _alive(path: Path) -> bool:
    """Whether somebody listens on a socket. A stale one refuses."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except BlockingIOError:  # its backlog is full
            return True
        except OSError:
            return False
        return True


class Server:
    """Answers connections to the control socket with what a node does."""

    def __init__(self, node: Asked) -> None:
        self._node = node
        self._clients = 0

    async def serve(self, stream: trio.SocketStream) -> None:
        """One connection. It never raises: nothing that a command does may end the node."""
        self._clients += 1
        try:
            async with stream:
                await self._converse(stream)
        except Exception as error:
            if isinstance(leaf(error), LEFT):  # in groups, where several tasks were at work for it
                log.debug("a command left: %r", leaf(error))
            else:
                log.exception("a connection to the control socket failed")
        finally:
            self._clients -= 1

    async def _converse(self, stream: trio.SocketStream) -> None:
        lines = LineReader(stream)
        try:
            self._let_in(stream)
            with trio.fail_after(REQUEST_TIMEOUT):
                line = await lines.next()
            if line is None:
                return  # somebody looked whether a node is here
            request = read_request(line)
        except (P2pkadError, TimeoutError) as error:
            await _send(stream, error_line(error))
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_until_it_ends, lines, nursery.cancel_scope)
            await self._answer(request, stream)
            nursery.cancel_scope.cancel()

    async def _answer(self, request: Request, stream: trio.SocketStream) -> None:
        try:
            await _send(stream, await self._last_line(request, stream))
        except LEFT as error:
            log.debug("a command left: %r", error)

    def _let_in(self, stream: trio.SocketStream) -> None:
        # unix(7), SO_PEERCRED: struct ucred, who it was when the socket was connected.
        credentials = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        _, user, _ = struct.unpack("3i", credentials)
        if user not in (os.geteuid(), ROOT):
            raise ConfigError(f"user {user} may not control this node, which runs as user {os.geteuid()}")
        if self._clients > MAX_CLIENTS:
            raise TimeoutError(f"{MAX_CLIENTS} commands are being answered, which is all at a time. Try again in a moment")

    async def _last_line(self, request: Request, stream: trio.SocketStream) -> bytes:
        """Send the answers; returns what says how it ended."""

        async def tell(answer: Answer) -> None:
            await _send(stream, answer_line(answer))

        try:
            with trio.move_on_after(request.timeout + GRACE):
                await self._node.ask(request, tell)
                return done_line()
            return error_line(TimeoutError(f"no result within {request.timeout:g} s"))
        except Exception as raised:
            error = leaf(raised)
            if isinstance(error, LEFT):
                raise error from raised
            if not isinstance(error, P2pkadError | OSError):
                log.exception("a command failed")
                error = RuntimeError(f"this is a bug in p2pkad: {error!r}. The log of the node shows where it happened.")
            return error_line(error)


async def _send(stream: trio.SocketStream, line: bytes) -> None:
    with trio.fail_after(WRITE_TIMEOUT):
        await stream.send_all(line)


async def _until_it_ends(lines: LineReader, scope: trio.CancelScope) -> None:
    """Whoever asked has left, or says more than it may: either way nobody waits for the answer."""
    with suppress(P2pkadError, trio.BrokenResourceError):
        await lines.next()
    scope.cancel()
