"""Turns lines on standard input into verbs and results into lines on standard output, as CONTROL.md says it.

For peers in Python: `obey` says that the node serves, runs verbs concurrently, and returns when the input ends, "stop"
comes or a signal does.
"""

from __future__ import annotations

import base64
import json
import os
import platform
import signal
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import trio

ANSWER_SECONDS = 30.0
# What a verb may take beyond its time-out, which its own deadlines should make it keep.
GRACE_SECONDS = 1.0

Fields = dict[str, Any]


class UsageError(Exception):
    """A request that is none."""


class Request(dict[str, Any]):
    """A request's fields. One that is missing is the caller's mistake; any other KeyError is a defect."""

    def __missing__(self, field: str) -> Any:
        raise UsageError(f"{self.get('verb')} needs {field!r}")


Verb = Callable[[Request], Awaitable[Fields]]
Kinds = Sequence[tuple[type[BaseException], str]]
"""What errors are called in CONTROL.md, "Errors". The first that fits counts."""


COMMON: Kinds = ((UsageError, "usage"), (NotImplementedError, "unsupported"), (trio.TooSlowError, "timeout"))


async def obey(identity: Fields, versions: Mapping[str, str], verbs: Mapping[str, Verb], kinds: Kinds) -> None:
    """Serve until somebody ends it, and then cancel what still runs.

    identity: what `identity` answers now. versions: what a reader of results has to know. kinds: those of the errors that
    COMMON has not; what fits none is a defect, and its trace goes to standard error.
    """
    async with (
        trio.lowlevel.FdStream(os.dup(0)) as given,
        trio.lowlevel.FdStream(os.dup(1)) as output,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(_end_on_signal, nursery.cancel_scope)
        controller = _Controller(verbs, (*kinds, *COMMON), output)
        await controller.write({"event": "ready", **identity, "versions": dict(versions)})
        await controller.serve(_lines_of(given))
        nursery.cancel_scope.cancel()


def versions_of(*packages: str) -> dict[str, str]:
    """Those of Python and of installed packages."""
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def bytes_of(text: str) -> bytes:
    """The bytes of a field. Raises UsageError: they are not in base64."""
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{text!r} is not base64: {error}") from error


def text_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


class _Controller:
    def __init__(self, verbs: Mapping[str, Verb], kinds: Kinds, output: trio.abc.SendStream) -> None:
        self._verbs = verbs
        self._kinds = kinds
        self._output = output
        self._writing = trio.Lock()

    async def serve(self, lines: AsyncIterator[bytes]) -> None:
        async with trio.open_nursery() as nursery:
            async for line in lines:
                try:
                    request = Request({"timeout": ANSWER_SECONDS, **json.loads(line)})
                except (ValueError, TypeError) as error:
                    await self.write({"id": None, "ok": False, "error": {"kind": "usage", "text": str(error)}, "seconds": 0.0})
                    continue
                if request.get("verb") == "stop":
                    await self.write({"id": request.get("id"), "ok": True, "seconds": 0.0})
                    break
                nursery.start_soon(self._execute, request)
            nursery.cancel_scope.cancel()

    async def write(self, line: Fields) -> None:
        async with self._writing:
            await self._output.send_all(json.dumps(line).encode() + b"\n")

    async def _execute(self, request: Request) -> None:
        started = time.perf_counter()
        try:
            answer = {"ok": True, **await self._result(request)}
        except Exception as error:  # whatever it is, the request gets an answer
            answer = {"ok": False, "error": {"kind": self._kind_of(error), "text": f"{error or type(error).__name__}"}}
        await self.write({"id": request.get("id"), **answer, "seconds": time.perf_counter() - started})

    async def _result(self, request: Request) -> Fields:
        verb = self._verbs.get(request.get("verb", ""))
        if verb is None:
            raise NotImplementedError(f"verb {request.get('verb')!r}")
        with trio.fail_after(request["timeout"] + GRACE_SECONDS):
            return await verb(request)

    def _kind_of(self, error: Exception) -> str:
        for base, kind in self._kinds:
            if isinstance(error, base):
                return kind
        traceback.print_exception(error)
        return "defect"


async def _lines_of(stream: trio.abc.ReceiveStream) -> AsyncIterator[bytes]:
    pending = b""
    async for chunk in stream:
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            yield line


async def _end_on_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()
