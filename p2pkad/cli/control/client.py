"""The command's end of the control socket."""

from __future__ import annotations

import socket
from contextlib import ExitStack, suppress
from pathlib import Path

import trio

from p2pkad.cli.control.lines import MAX_LINE, LineReader, read_answer, request_line, socket_path
from p2pkad.cli.exits import NodeSaid, UsageError
from p2pkad.cli.requests import Request, Tell
from p2pkad.errors import ConfigError

CONNECT_TIMEOUT = 5.0
"""Seconds for a node on the same machine to take a connection."""
PAUSE = 0.05
"""Seconds until it is tried again."""


class RemoteNode:
    """See `Asked`. The node behind a control socket; each request has a connection of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def ask(self, request: Request, tell: Tell) -> None:
        """Let the node do it. Cancelled: the connection ends, and the node's work with it."""
        line = request_line(request)
        if len(line) > MAX_LINE:
            raise UsageError(f"a running node is asked in {MAX_LINE} bytes at most, and this takes {len(line)}")
        stream = await _connect(self._path)
        if stream is None:
            raise NodeSaid("NodeClosed", f"the node behind {self._path} has just ended", 1)
        async with stream:
            try:
                with suppress(trio.BrokenResourceError):  # a node that refuses says why before it has read all
                    await stream.send_all(line)
                lines = LineReader(stream)
                while (said := await lines.next()) is not None:
                    answer = read_answer(said)
                    if answer is None:
                        return
                    await tell(answer)
            except trio.BrokenResourceError:
                pass
        raise NodeSaid("NodeClosed", "the node ended before it had answered", 1)


async def running_node(directory: str | Path) -> RemoteNode | None:
    """The node that runs with this state directory; None when there is none.

    Raises ConfigError: it may not be asked. TimeoutError: it has too much to do.
    """
    path = socket_path(directory)
    stream = await _connect(path)
    if stream is None:
        return None
    await stream.aclose()
    return RemoteNode(path)


async def _connect(path: Path) -> trio.SocketStream | None:
    with ExitStack() as unless_connected:
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        unless_connected.callback(opened.close)
        opened.setblocking(False)
        try:
            await _knock(opened, path)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            return None
        except PermissionError as error:
            raise ConfigError(
                f"{path}: cannot ask the node ({error.strerror}). Be the user that it runs as, or root"
            ) from error
        unless_connected.pop_all()
    return trio.SocketStream(trio.socket.from_stdlib_socket(opened))


async def _knock(opened: socket.socket, path: Path) -> None:
    # Not as trio does: it takes a backlog that is full for a connection on its way, and writes to one that is none.
    with trio.move_on_after(CONNECT_TIMEOUT):
        while True:
            try:
                return opened.connect(str(path))
            except BlockingIOError:  # unix(7), EAGAIN
                await trio.sleep(PAUSE)
    raise TimeoutError(
        f"{path}: the node there is busy: it took no connection within {CONNECT_TIMEOUT:g} s. "
        "Try again in a moment; its log may say why"
    )
