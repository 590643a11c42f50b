"""Makes `interop/` importable as it is when its programs are run by path: libp2p's wheel owns the package name."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

import p2pkad
from p2pkad.net.base import Network

sys.path.insert(0, str(Path(__file__).parents[2] / "interop"))

from builds import GO_MISSING, JS_MISSING, RUST_MISSING, go_peer, js_peer, rust_peer
from driver import Driver, Language, go_language, js_language, open_driver, rust_language

PEERS: dict[str, tuple[Callable[[], Path | None], Callable[[Path], Language], str]] = {
    "go": (go_peer, go_language, GO_MISSING),
    "rust": (rust_peer, rust_language, RUST_MISSING),
    "js": (js_peer, js_language, JS_MISSING),
}


@pytest.fixture(scope="session")
def language_of() -> Callable[[str], Language]:
    """How to start the peers in a language. The test is skipped where they cannot be built."""

    def find(name: str) -> Language:
        build, language, missing = PEERS[name]
        product = build()
        if product is None:
            pytest.skip(missing)
        return language(product)

    return find


@pytest.fixture
async def driver(tmp_path: Path) -> AsyncIterator[Driver]:
    async with open_driver(tmp_path) as one:
        yield one


@pytest.fixture
async def raw() -> AsyncIterator[Network]:
    """Our host without a node on it, for requests that no node would send."""
    host = p2pkad.new_host(p2pkad.HostConfig(listen=("/ip4/127.0.0.1/tcp/0",)))
    async with host.run(), host.open_network(protocol="/violence/kad/1.0.0", max_message=1 << 22) as network:
        yield network
