"""The command's end of the control socket."""

from __future__ import annotations

from pathlib import Path

import trio

from p2pkad.cli.control.lines import LineReader, read_answer, request_line, socket_path
from p2pkad.cli.exits import NodeSaid
from p2pkad.cli.requests import Request, Tell
from p2pkad.errors import ConfigError

CONNECT_TIMEOUT = 5.0
"""Seconds for a node on the same machine to take a connection."""


class RemoteNode:
    """See `Asked`. The node behind a control socket; each request has a connection of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def ask(self, request: Request, tell: Tell) -> None:
        """Let the node do it. Cancelled: the connection ends, and the node's work with it."""
        stream = await _connect(self._path)
        if stream is None:
            raise NodeSaid("NodeClosed", f"the node behind {self._path} has just ended", 1)
        async with stream:
            try:
                await stream.send_all(request_line(request))
                lines = LineReader(stream)
                while (line := await lines.next()) is not None:
                    answer = read_answer(line)
                    if answer is None:
                        return
                    await tell(answer)
            except trio.BrokenResourceError:
                pass
        raise NodeSaid("NodeClosed", "the node ended before it had answered", 1)


async def running_node(directory: str | Path) -> RemoteNode | None:
    """The node that runs with this state directory; None when there is none. Raises ConfigError: it cannot be asked."""
    path = socket_path(directory)
    stream = await _connect(path)
    if stream is None:
        return None
    await stream.aclose()
    return RemoteNode(path)


async def _connect(path: Path) -> trio.SocketStream | None:
    with trio.move_on_after(CONNECT_TIMEOUT):
        try:
            return await trio.open_unix_socket(str(path))
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            return None
        except OSError as error:
            raise ConfigError(
                f"{path}: cannot ask the node ({error.strerror}). Be the user that it runs as, or root"
            ) from error
    raise ConfigError(f"{path}: the node there does not take a connection. Its log may say why")
