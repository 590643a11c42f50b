"""Starts peers of any language, tells them what to do, and leaves none behind.

    async with open_driver(logs) as driver:
        go = await driver.start("go-1", go_language(binary), mode="server")
        py = await driver.start("py-1", py_language(), mode="client", bootstrap=go.addresses)
        await py.ask("put", key=b"/violence/a", value=b"1")

A peer is a process that speaks the protocol of CONTROL.md. In the directory `logs`, `<name>.log` is what it wrote on
standard error, `<name>.jsonl` its requests (>) and lines (<), each with the seconds since the driver opened.

A peer that ends without having been told to ends the driver: `PeerDied` is raised out of `open_driver`, with the end of
its log. When the driver closes, for whatever reason, each peer gets an end of input, and is killed if that is not enough.
Who has to be killed, or ends with another status than 0, is in `bad_ends` then.
A peer also sees the end of its input when the driver itself is killed.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import trio

ROOT = Path(__file__).resolve().parent.parent

# Nothing takes as long, except on a machine that has far too much to do.
READY_SECONDS = 60.0
ANSWER_SECONDS = 60.0
# For an answer to arrive after the verb's own time-out.
GRACE_SECONDS = 5.0
# For a peer to end by itself: on an idle machine a moment, js at most two seconds.
END_SECONDS = 20.0
POLL_SECONDS = 0.05
# A value of 4 MiB in base64, and room for what is around it.
LONGEST_LINE = 8 * 1024 * 1024
LOG_TAIL_LINES = 20
LONGEST_QUOTE = 200

Answer = dict[str, Any]
T = TypeVar("T")


class PeerError(Exception):
    """A peer answered that a verb failed. kind: one of the words that CONTROL.md lists."""

    def __init__(self, peer: str, verb: str, kind: str, text: str) -> None:
        super().__init__(f"{peer}: {verb}: {kind}: {text}")
        self.kind = kind
        self.text = text


class PeerDied(Exception):
    """A peer's process ended, or was ended, while something was expected of it; or wrote what is no line of CONTROL.md."""


class PeerSilent(Exception):
    """A peer neither answered nor ended."""


class NeverHappened(Exception):
    """A condition did not come true within its time."""


@dataclass(frozen=True, slots=True)
class Language:
    """How to start peers of one kind."""

    command: tuple[str, ...]
    environment: Mapping[str, str] | None = None


def go_language(binary: Path) -> Language:
    """The peer of `peers/go`, as `builds.go_peer` makes it."""
    return Language((str(binary),))


def rust_language(binary: Path) -> Language:
    """The peer of `peers/rust`, as `builds.rust_peer` makes it."""
    return Language((str(binary),))


def js_language(directory: Path) -> Language:
    """The peer of `peers/js`, as `builds.js_peer` makes it, on the Node that was installed with it."""
    (node,) = directory.glob("node_modules/node-*/bin/node")
    return Language((str(node), str(directory / "peer.mjs")))


def py_language() -> Language:
    """p2pkad from this repository, installed or not."""
    search = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return Language((sys.executable, str(ROOT / "interop/peers/py/peer.py")), {**os.environ, "PYTHONPATH": search})


@contextlib.asynccontextmanager
async def open_driver(logs: Path) -> AsyncIterator[Driver]:
    """A driver that keeps its logs in `logs`, which is made. Raises PeerDied when a peer ends by itself.

    Errors that come at once, of two peers or of a peer and the program, are raised as a group.
    """
    try:
        async with trio.open_nursery() as nursery:
            driver = Driver(nursery, logs)
            try:
                yield driver
            finally:
                with trio.CancelScope(shield=True):
                    await driver.end_all()
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        raise group.exceptions[0] from None


class Driver:
    """The running peers. Made by `open_driver`."""

    def __init__(self, nursery: trio.Nursery, logs: Path) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self._nursery = nursery
        self._logs = logs
        self._started = trio.current_time()
        self._peers: list[Peer] = []
        self.bad_ends: list[str] = []
        """What was wrong with the ends of peers that nobody had ended before. There when the driver is closed."""

    async def start(self, name: str, language: Language, **options: object) -> Peer:
        """Start a peer and return once it serves.

        options: the flags of CONTROL.md, with underscores for dashes; a list is a flag repeated, None is left out.
        Raises PeerDied, PeerSilent. Then, and when it is cancelled, the peer is gone.
        """
        with (self._logs / f"{name}.log").open("wb") as log:
            process = await trio.lowlevel.open_process(
                [*language.command, *flags(options)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=language.environment,
                # Ctrl-C on a terminal is for the driver; its peers end when it says so.
                start_new_session=True,
            )
        peer = Peer(name, process, self._logs, self._started)
        self._peers.append(peer)
        self._nursery.start_soon(peer.listen)
        try:
            await peer.wait_ready()
        except BaseException:
            await peer.kill()
            raise
        return peer

    async def end_all(self) -> None:
        """End every peer, all at once. Never raises."""
        async with trio.open_nursery() as nursery:
            for peer in self._peers:
                nursery.start_soon(self._end, peer)

    async def _end(self, peer: Peer) -> None:
        if wrong := await peer.end():
            print(wrong, file=sys.stderr)
            self.bad_ends.append(wrong)


class Peer:
    """A running peer. What it said of itself when it was ready: id, addresses (first: `address`), mode, protocol, versions."""

    def __init__(self, name: str, process: trio.Process, logs: Path, started: float) -> None:
        self.name = name
        self.ready: Answer = {}
        self._process = process
        self._logs = logs
        self._started = started
        self._is_ready = trio.Event()
        self._leaving = False
        self._gone = trio.Event()
        self._asked = 0
        self._waiting: dict[int, trio.Event] = {}
        self._answers: dict[int, Answer] = {}
        self._writing = trio.Lock()

    def __repr__(self) -> str:
        return f"<{self.name} {self.id[-6:]}>" if self.ready else f"<{self.name} starting>"

    @property
    def id(self) -> str:
        return str(self.ready["peer"]["id"])

    @property
    def addresses(self) -> list[str]:
        return list(self.ready["peer"]["addresses"])

    @property
    def address(self) -> str:
        return self.addresses[0]

    @property
    def versions(self) -> dict[str, str]:
        return dict(self.ready["versions"])

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ask(self, verb: str, *, timeout: float = ANSWER_SECONDS, **arguments: object) -> Answer:
        """The peer's answer to a verb; bytes among the arguments travel in base64.

        timeout: seconds that the peer may take. Raises PeerError when it says that it failed, PeerSilent when it says
        nothing, PeerDied when it ends meanwhile.
        """
        if self._gone.is_set():
            raise PeerDied(f"{self.name} is gone: {verb}")
        self._asked += 1
        number = self._asked
        answered = self._waiting[number] = trio.Event()
        request = {"id": number, "verb": verb, "timeout": timeout, **{k: plain(v) for k, v in arguments.items()}}
        try:
            with trio.fail_after(timeout + GRACE_SECONDS):
                await self._send(request)
                await answered.wait()
        except trio.TooSlowError:
            raise PeerSilent(f"{self.name}: no answer to {verb} in {timeout + GRACE_SECONDS:g} s{self._log_tail()}") from None
        finally:
            del self._waiting[number]
        answer = self._answers.pop(number, None)
        if answer is None:
            raise PeerDied(f"{self.name} was ended while it was asked to {verb}")
        if not answer["ok"]:
            raise PeerError(self.name, verb, answer["error"]["kind"], answer["error"]["text"])
        return answer

    async def stop(self) -> int:
        """Ask the peer to end, and return its exit status. Raises PeerSilent when it does not."""
        self._leaving = True
        await self.ask("stop")
        with trio.move_on_after(END_SECONDS):
            return await self._process.wait()
        raise PeerSilent(f"{self.name} said that it stops and did not{self._log_tail()}")

    async def kill(self) -> None:
        """End the peer as a power cut would, and return when it is gone; when this is cancelled, the process is."""
        self._leaving = True
        self._process.kill()
        with trio.CancelScope(shield=True):
            await self._process.wait()
        await self._gone.wait()

    async def end(self) -> str | None:
        """End the peer by ending its input, or by a signal when that does not help. Never raises.

        Returns what is wrong with how it ended. That of a peer that was ended or reported before is nobody's concern.
        """
        known = self._leaving or self._gone.is_set()
        self._leaving = True
        assert self._process.stdin is not None
        # Closing under a request that is being written ends that request.
        await self._process.stdin.aclose()
        with trio.move_on_after(END_SECONDS):
            await self._process.wait()
        wrong = f"ended with status {self._process.returncode}" if self._process.returncode else None
        if self._process.returncode is None:
            wrong = "did not end with its input and was killed"
            self._process.kill()
            await self._process.wait()
        return None if known or wrong is None else f"{self.name} {wrong}{self._log_tail()}"

    async def wait_ready(self) -> None:
        """Return when the peer has said that it serves. Raises PeerSilent."""
        with trio.move_on_after(READY_SECONDS):
            await self._is_ready.wait()
            return
        raise PeerSilent(f"{self.name} was not ready after {READY_SECONDS:g} s{self._log_tail()}")

    async def listen(self) -> None:
        """Hand out the peer's lines until it ends. Raises PeerDied when nobody told it to."""
        async for line in self._lines():
            self._note("<", line)
            self._take(self._read(line))
        status = await self._process.wait()
        self._gone.set()
        if not self._leaving:
            raise PeerDied(f"{self.name} ended by itself with status {status}{self._log_tail()}")
        for answered in self._waiting.values():
            answered.set()

    def _read(self, line: bytes) -> Answer:
        try:
            read = json.loads(line)
        except ValueError:
            read = None
        if not isinstance(read, dict):
            raise PeerDied(f"{self.name} wrote what is no answer: {line[:LONGEST_QUOTE]!r}{self._log_tail()}")
        return read

    def _take(self, line: Answer) -> None:
        if line.get("event") == "ready":
            self.ready = line
            self._is_ready.set()
        elif line.get("id") in self._waiting:
            self._answers[line["id"]] = line
            self._waiting[line["id"]].set()

    async def _send(self, request: Answer) -> None:
        line = json.dumps(request).encode()
        assert self._process.stdin is not None
        async with self._writing:
            self._note(">", line)
            # A peer that is gone is reported by `listen`, which knows more.
            with contextlib.suppress(trio.BrokenResourceError):
                await self._process.stdin.send_all(line + b"\n")

    async def _lines(self) -> AsyncIterator[bytes]:
        assert self._process.stdout is not None
        pending = bytearray()
        while chunk := await self._process.stdout.receive_some():
            pending += chunk
            *lines, rest = pending.split(b"\n")
            pending = bytearray(rest)
            for line in lines:
                yield bytes(line)
            if len(pending) > LONGEST_LINE:
                raise PeerDied(f"{self.name} wrote a line of more than {LONGEST_LINE} bytes")

    def _note(self, direction: str, line: bytes) -> None:
        with (self._logs / f"{self.name}.jsonl").open("ab") as notes:
            notes.write(f"{trio.current_time() - self._started:9.3f} {direction} ".encode() + line + b"\n")

    def _log_tail(self) -> str:
        path = self._logs / f"{self.name}.log"
        lines = path.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        return "".join(f"\n    {line}" for line in [f"the end of {path}:", *lines])


async def eventually(probe: Callable[[], Awaitable[T]], holds: Callable[[T], bool], *, within: float, what: str) -> T:
    """Probe until `holds` is true of the result, and return that. Raises NeverHappened after `within` seconds."""
    seen: object = "nothing"
    with trio.move_on_after(within):
        while True:
            seen = result = await probe()
            if holds(result):
                return result
            await trio.sleep(POLL_SECONDS)
    raise NeverHappened(f"not within {within:g} s: {what}. Last seen: {seen}")


def flags(options: Mapping[str, object]) -> list[str]:
    """Options as a command line: `bucket_size=3` is `--bucket-size=3`."""
    written = []
    for name, value in options.items():
        values = value if isinstance(value, list | tuple) else [] if value is None else [value]
        written += [f"--{name.replace('_', '-')}={str(one).lower() if isinstance(one, bool) else one}" for one in values]
    return written


def plain(value: object) -> object:
    """A value as JSON can carry it."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def unbase64(text: str | None) -> bytes:
    """What a peer wrote as base64; null is a Go program's empty value."""
    return base64.b64decode(text or "")
