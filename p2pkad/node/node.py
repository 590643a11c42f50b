"""A host and a Kademlia service on it, opened together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any

from p2pkad.config import Config
from p2pkad.core.peers import PeerId
from p2pkad.errors import ConfigError
from p2pkad.net.libp2p import new_host
from p2pkad.node.service import KademliaService
from p2pkad.store.base import Store
from p2pkad.store.sqlite import open_store


@asynccontextmanager
async def open_node(config: Config | None = None, **options: Any) -> AsyncIterator[KademliaService]:
    """A running node: `async with open_node(bootstrap=[...], listen=[...]) as node`.

    options: the fields of `Config`, instead of one. The node has begun to look for its network when the block is entered;
    `await node.wait_ready(...)` waits for it. Leaving the block, or cancelling it, closes everything.
    With `data_dir` it begins with what it had there: its id, its records and providers, what it publishes and provides, and the
    peers that it knew.
    Raises ConfigError, with nothing left behind: a bad option or address, a port that is taken, an unusable key file, a data
    directory that is in use, broken, or cannot be written.
    """
    if config is not None and options:
        raise ConfigError("open_node: pass a Config or options, not both")
    config = config or Config.of(options)
    host = new_host(config)
    async with _store(config, host.id) as store, host.run(), KademliaService(host, config, store=store) as node:
        yield node


def _store(config: Config, own: PeerId) -> AbstractAsyncContextManager[Store | None]:
    return nullcontext() if config.data_dir is None else open_store(config.data_dir, own, config)
