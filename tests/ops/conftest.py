"""A node that is nothing but its figures and its events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from p2pkad.config import Config
from p2pkad.core.peers import PeerId
from p2pkad.errors import NodeClosed
from p2pkad.events import NodeEvent
from p2pkad.node.results import NodeStats
from p2pkad.node.telling import Telling

OWN, ALICE, BOB = (PeerId(b"\x12\x20" + bytes([number]) * 32) for number in (1, 2, 3))


class FakeNode:
    """Says of itself what a test has put there. stats_now: its figures; table: how many peers, in bucket 0."""

    def __init__(self, *, table: int = 0, silent: int = 0, **options: Any) -> None:
        self.id = OWN
        self.config = Config(**options)
        self.addresses: tuple[str, ...] = (f"/ip4/127.0.0.1/tcp/4001/p2p/{OWN}",)
        self.closed = False
        self.telling = Telling()
        self.stats_now = NodeStats(
            mode=self.config.mode,
            peers=table,
            inbound=0,
            table=table,
            silent=silent,
            buckets={0: table} if table else {},
            lookups=0,
            records=0,
            provider_keys=0,
            providers=0,
            published=0,
            provided=0,
            store_bytes=0,
            store_trouble=None,
        )

    @property
    def listeners(self) -> tuple[object, ...]:
        return self.telling._listeners

    @property
    def mode(self) -> str:
        return self.config.mode

    def stats(self) -> NodeStats:
        if self.closed:
            raise NodeClosed
        return self.stats_now

    def subscribe(self, listener: Callable[[Any], None], kinds: Any) -> Callable[[], None]:
        return self.telling.subscribe(listener, kinds)

    def tell(self, event: NodeEvent) -> None:
        self.telling(event)


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()
