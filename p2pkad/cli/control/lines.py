"""The lines of the control protocol, and the socket that they travel on.

    command -> node   {"version": 1, "do": "get", "key": "/demo/greeting", "timeout": 60}
    node -> command   {"answer": {…}}                                      as often as there is one
                      {"done": true}                                       or
                      {"error": "NotFound", "sentence": "…", "exit": 3}    the last line

A connection carries one request. Whoever closes it early wants the rest no more.
"""

from __future__ import annotations

import json
import os
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any, get_type_hints

import trio

from p2pkad.cli.exits import NodeSaid, UsageError, exit_code
from p2pkad.cli.requests import REQUESTS, VERBS, Answer, Request
from p2pkad.cli.typed import described, fits
from p2pkad.errors import ConfigError, P2pkadError

VERSION = 1
"""Of the protocol. A node and a command of different ones tell each other so, and no more."""
SOCKET = "control.sock"
"""Its name in the state directory."""
LONGEST_PATH = 107
"""Bytes of a socket's path: `sun_path` in unix(7), less the zero at its end."""
MAX_LINE = 8 * 1024 * 1024
"""Bytes of a line: LARGEST_VALUE in base64, and the longest key that can be typed, each byte of it escaped."""
CHUNK = 64 * 1024


class LineTooLong(P2pkadError):
    """A line above MAX_LINE. Nothing that comes after it can be read."""


def socket_path(directory: str | Path) -> Path:
    """Where the node of a state directory listens. Raises ConfigError when the system knows no sockets that deep."""
    path = Path(directory).absolute() / SOCKET
    size = len(os.fsencode(path))
    if size > LONGEST_PATH:
        raise ConfigError(
            f"{path}: the path of a socket has {LONGEST_PATH} bytes at most, this one has {size}. Name a shorter --data-dir"
        )
    return path


def request_line(request: Request) -> bytes:
    """A request, as it is sent."""
    return _line({"version": VERSION, "do": VERBS[type(request)], **asdict(request)})


def answer_line(answer: Answer) -> bytes:
    """An answer, as it is sent."""
    return _line({"answer": answer})


def done_line() -> bytes:
    """There are no more answers."""
    return _line({"done": True})


def error_line(error: BaseException) -> bytes:
    """Why there are no more answers."""
    return _line({"error": type(error).__name__, "sentence": str(error), "exit": exit_code(error)})


def read_request(line: bytes) -> Request:
    """The request in a line. Raises UsageError, with what is wrong with it."""
    said = _object(line)
    version, verb = said.pop("version", None), said.pop("do", None)
    if version != VERSION or isinstance(version, bool):
        raise UsageError(
            f"the node speaks version {VERSION} of the control protocol, the command {version!r}. "
            "Start the node again with the p2pkad that is installed now"
        )
    kind: Any = REQUESTS.get(verb) if isinstance(verb, str) else None
    if kind is None:
        raise UsageError(f'"do": {verb!r} is none of {", ".join(REQUESTS)}')
    hints = get_type_hints(kind)
    for name, value in said.items():
        if name not in hints:
            raise UsageError(f"{verb}: there is no {name!r}")
        if not fits(value, hints[name]):
            raise UsageError(f"{verb}: {name!r} is {described(hints[name])}")
    for each in fields(kind):
        if each.default is MISSING and each.name not in said:
            raise UsageError(f"{verb}: {each.name!r} is missing")
    request: Request = kind(**said)
    return request


def read_answer(line: bytes) -> Answer | None:
    """The answer in a line; None when there are no more. Raises NodeSaid."""
    match _object(line):
        case {"answer": dict(answer)}:
            return answer
        case {"error": str(kind), "sentence": str(sentence), "exit": int(code)}:
            raise NodeSaid(kind, sentence, code)
        case {"done": True}:
            return None
        case _:
            raise NodeSaid("Nonsense", "the node answers on its control socket what no p2pkad does", 1)


class LineReader:
    """The lines that come on a stream."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._rest = b""

    async def next(self) -> bytes | None:
        """The next line, without its end; None when the stream ended first. Raises LineTooLong, trio.BrokenResourceError."""
        parts, size = [self._rest], len(self._rest)
        while b"\n" not in parts[-1]:
            if size > MAX_LINE:
                raise LineTooLong(f"a line on the control socket has {MAX_LINE} bytes at most")
            data = await self._stream.receive_some(CHUNK)
            if not data:
                return None
            parts.append(data)
            size += len(data)
        line, _, self._rest = b"".join(parts).partition(b"\n")
        return line


def _line(said: dict[str, Any]) -> bytes:
    return json.dumps(said).encode("ascii") + b"\n"


def _object(line: bytes) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError("a line on the control socket is an object of JSON") from error
    if not isinstance(said, dict):
        raise UsageError("a line on the control socket is an object of JSON")
    return said
