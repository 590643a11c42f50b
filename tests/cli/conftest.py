"""A node without a network for the command line to talk to, and a way to type at it."""

from __future__ import annotations

import io
import json
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import p2pkad
from p2pkad.cli.main import main

OWN, ALICE, BOB = (p2pkad.PeerId(b"\x12\x20" + bytes([number]) * 32) for number in (1, 2, 3))
PEER = f"/ip4/127.0.0.1/tcp/4001/p2p/{ALICE}"
NOBODY = "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWNFe7uJyMSsPnBpYo8a4a9TtSoYAXZSyaivKtfbpVPXPj"
"""An address where nobody listens."""


class FakeNode:
    """Answers with what a test has put into `answers` (a value, or an error to raise), and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.config = p2pkad.Config()
        self.closed = False
        self.id = OWN
        self.addresses = (f"/ip4/192.0.2.1/tcp/4001/p2p/{OWN}", f"/ip4/127.0.0.1/tcp/4001/p2p/{OWN}")
        self.listeners: list[Callable[[Any], None]] = []

    @property
    def mode(self) -> str:
        return self.config.mode

    @property
    def protocol(self) -> str:
        return self.config.protocol

    def subscribe(self, listener: Callable[[Any], None], kinds: Any) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def __getattr__(self, name: str) -> Any:
        async def method(*args: Any, **options: Any) -> Any:
            self.calls.append((name, args, options))
            answer = self.answers[name]
            if callable(answer):
                return await answer()
            if isinstance(answer, BaseException):
                raise answer
            return answer

        return method

    @asynccontextmanager
    async def stream_providers(self, content: str, **options: Any) -> AsyncIterator[Stream]:
        yield Stream(await self.__getattr__("stream_providers")(content, **options))


class Stream:
    """Of peers that were found, which come one by one."""

    def __init__(self, found: p2pkad.PeersFound) -> None:
        self.asked, self.answered, self.complete = found.asked, found.answered, found.complete
        self._rest = iter(found)

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> p2pkad.PeerInfo:
        for info in self._rest:
            return info
        raise StopAsyncIteration


def peers_found(*infos: p2pkad.PeerInfo, answered: int = 3) -> p2pkad.PeersFound:
    """By a lookup in which three were asked, which is complete where all of them answered."""
    return p2pkad.PeersFound(peers=infos, asked=3, answered=answered, complete=answered == 3)


@dataclass
class Typed:
    """What a command left behind. code: its exit code."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> FakeNode:
    """The node that commands open. `node.config` is what they opened it with."""
    fake = FakeNode()

    @asynccontextmanager
    async def open_node(config: p2pkad.Config) -> AsyncIterator[FakeNode]:
        fake.config = config
        try:
            yield fake
        finally:
            fake.closed = True

    monkeypatch.setattr(p2pkad, "open_node", open_node, raising=False)
    return fake


@pytest.fixture
def type_in(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Callable[..., Typed]]:
    """Run `p2pkad` with these words, and with these bytes on standard input. A node's key goes to a scratch directory."""
    monkeypatch.setenv("P2PKAD_DATA_DIR", str(tmp_path / "state"))
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    root, ours = logging.getLogger(), logging.getLogger("p2pkad")
    handlers, levels = root.handlers[:], (root.level, ours.level)

    def run(*words: str, standard_input: bytes = b"") -> Typed:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(standard_input)))
        capfd.readouterr()
        code = main(words)
        out, err = capfd.readouterr()
        return Typed(code, out, err)

    yield run
    for number, handler in before.items():
        signal.signal(number, handler)
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


def info(peer: p2pkad.PeerId, *ports: int) -> p2pkad.PeerInfo:
    """A peer that listens on these ports of this machine."""
    from p2pkad.wire.addresses import parse_address

    return p2pkad.PeerInfo(peer, tuple(parse_address(f"/ip4/127.0.0.1/tcp/{port}") for port in ports))
