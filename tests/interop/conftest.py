"""Makes `interop/` importable as it is when its programs are run by path: libp2p's wheel owns the package name."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

import p2pkad
from p2pkad.net.base import Network

sys.path.insert(0, str(Path(__file__).parents[2] / "interop"))

from driver import Driver, Language, open_driver
from implementations import IMPLEMENTATIONS


@pytest.fixture(scope="session")
def language_of() -> Callable[[str], Language]:
    """How to start the peers in a language. The test is skipped where they cannot be built."""

    def find(name: str) -> Language:
        language = IMPLEMENTATIONS[name].language()
        if language is None:
            pytest.skip(IMPLEMENTATIONS[name].missing)
        return language

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
