"""A node of this process as one to ask: the work behind each command, once.

`p2pkad run` lets its control socket ask one that stays; every other command asks one that leaves with it, unless it asks that
of the node that runs.
"""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, assert_never

import trio

import p2pkad
from p2pkad.cli.checks import LOOKS, Subject, examine
from p2pkad.cli.exits import UsageError
from p2pkad.cli.requests import (
    BETWEEN_PINGS,
    Answer,
    Closest,
    Doctor,
    FindPeer,
    FindProviders,
    Get,
    Keyed,
    Peers,
    Ping,
    Provide,
    Put,
    Request,
    Status,
    StopProviding,
    StopPublishing,
    Tell,
)
from p2pkad.cli.words import key_of

if TYPE_CHECKING:
    from p2pkad import Config, KademliaService, PeerId, PeerInfo


class LocalNode:
    """See `Asked`. config: what the node was opened with. namespaces: its `--validator` options.

    stays: it outlives whoever asks. What one that leaves keeps itself does not count as stored. directory: where state is
    kept, for the doctor to look at.
    """

    def __init__(
        self,
        node: KademliaService,
        config: Config,
        namespaces: Sequence[str] = (),
        *,
        stays: bool,
        directory: str | None = None,
    ) -> None:
        self.node = node
        self.config = config
        self.stays = stays
        self._namespaces = ("pk=pk", *namespaces)
        self._directory = directory
        self._began = trio.current_time()
        self._looks = trio.CapacityLimiter(LOOKS)

    async def ask(self, request: Request, tell: Tell) -> None:
        """Do what is asked, and tell what comes of it."""
        with _as_typed(request):
            await self._do(request, tell)

    async def _do(self, request: Request, tell: Tell) -> None:
        match request:
            case Put():
                await tell(await self._put(request))
            case Get():
                await tell(await self._get(request))
            case StopPublishing(key=key):
                await tell({"key": key, "stopped": await self.node.stop_publishing(key_of(key))})
            case Provide():
                await tell(await self._provide(request))
            case StopProviding(content=content):
                await tell({"content": content, "stopped": await self.node.stop_providing(content)})
            case FindProviders():
                await self._find_providers(request, tell)
            case FindPeer(peer=peer, timeout=timeout):
                await tell(place(await self.node.find_peer(peer, timeout=timeout)))
            case Closest():
                await self._closest(request, tell)
            case Ping():
                await self._ping(request, tell)
            case Status(timeout=timeout):
                await self._meet(timeout)
                await tell(self._status())
            case Peers(timeout=timeout):
                await self._meet(timeout)
                for state in self.node.peers():
                    await tell(described(state))
            case Doctor(timeout=timeout):
                await self._examine(timeout, tell)
            case never:
                assert_never(never)

    async def _put(self, request: Put) -> Answer:
        with self._rules_named(request.key), self._kept_told(), self._large_allowed(request):
            done = await self.node.put_value(
                key_of(request.key), b64decode(request.value), allow_large=request.allow_large, timeout=request.timeout
            )
        stored = [peer for peer in done.stored if self.stays or peer != self.node.id]
        return {"key": request.key, **_groups(stored=stored, refused=done.refused, unreachable=done.unreachable)}

    async def _get(self, request: Get) -> Answer:
        with self._rules_named(request.key), _less_agreed():
            found = await self.node.get_record(key_of(request.key), quorum=request.quorum, timeout=request.timeout)
        return {
            "key": request.key,
            "value": b64encode(found.value).decode(),
            "from": [str(peer) for peer in found.holders],
            "asked": found.asked,
            "answered": found.answered,
            "complete": found.complete,
        }

    async def _provide(self, request: Provide) -> Answer:
        # Confirmed, because whoever types it wants to know who serves the record, and can wait for one more request.
        with self._kept_told():
            done = await self.node.provide(request.content, confirm=True, timeout=request.timeout)
        groups = _groups(
            sent=done.sent,
            refused=done.refused,
            unreachable=done.unreachable,
            confirmed=done.confirmed,
            unknown=done.unknown,
        )
        return {"key": f"hex:{done.key.hex()}", **groups}

    async def _find_providers(self, request: FindProviders, tell: Tell) -> None:
        found = 0
        async with self.node.stream_providers(request.content, count=request.count or None, timeout=request.timeout) as stream:
            async for provider in stream:
                await tell(place(provider))
                found += 1
        if not found:
            raise _nothing(f"{request.content}: a provider", stream)

    async def _closest(self, request: Closest, tell: Tell) -> None:
        found = await self.node.closest_peers(key_of(request.key), count=request.count, timeout=request.timeout)
        for each in found:
            await tell(place(each))
        if not found:
            raise _nothing(f"{request.key}: a peer near it", found)

    async def _ping(self, request: Ping, tell: Tell) -> None:
        for number in range(request.count):
            if number:
                await trio.sleep(BETWEEN_PINGS)
            seconds = await self.node.ping(request.peer, timeout=request.timeout)
            await tell({"peer": request.peer, "milliseconds": round(1000 * seconds, 3)})

    async def _examine(self, timeout: float, tell: Tell) -> None:
        # A check asks a peer twice at most, one after the other, and what all of them find is to be told in time.
        most = timeout / 4
        await self._settle(most)
        hasty = replace(
            self.config,
            request_timeout=min(self.config.request_timeout, most),
            dial_timeout=min(self.config.dial_timeout, most),
        )
        await examine(Subject(node=self.node, config=hasty, directory=self._directory, looks=self._looks), tell)

    async def _settle(self, timeout: float) -> None:
        """A node that has just begun is given time to meet somebody, else there is nothing to tell of it."""
        first_moments = self.config.request_timeout - (trio.current_time() - self._began)
        if first_moments > 0:
            with suppress(p2pkad.NotReady):
                await self.node.wait_ready(timeout=min(timeout, first_moments))

    async def _meet(self, timeout: float) -> None:
        """A client is there to show whom it meets. Raises NoPeers: nobody."""
        if not self.stays:
            await self._settle(timeout)
            if not self.node.stats().table:
                raise p2pkad.NoPeers("this client")

    def _status(self) -> Answer:
        stats = self.node.stats()
        return {
            "id": str(self.node.id),
            "version": p2pkad.__version__,
            "pid": os.getpid(),
            "uptime": round(trio.current_time() - self._began, 3),
            "mode": stats.mode,
            "protocol": self.node.protocol,
            "addresses": list(self.node.addresses),
            "observed": self.node.observed_addresses(),
            "table": stats.table,
            "silent": stats.silent,
            "buckets": {str(bucket): peers for bucket, peers in stats.buckets.items()},
            "connections": stats.peers,
            "max_connections": self.config.max_connections,
            "lookups": stats.lookups,
            "records": stats.records,
            "provider_keys": stats.provider_keys,
            "providers": stats.providers,
            "published": stats.published,
            "store_bytes": stats.store_bytes,
            "max_store_bytes": self.config.max_store_bytes,
            "store_trouble": stats.store_trouble,
        }

    @contextmanager
    def _kept_told(self) -> Iterator[None]:
        """Add to the news that nobody took something what becomes of it: a node that stays has it, and goes on."""
        try:
            yield
        except p2pkad.NoPeers as error:
            if self.stays:
                error.args = (f"{error}. This node keeps it, and tells others when somebody is there",)
            raise

    @contextmanager
    def _large_allowed(self, request: Put) -> Iterator[None]:
        """Add to an error about a large value the option that it takes, where there is one."""
        try:
            yield
        except p2pkad.RecordTooLarge as error:
            if not request.allow_large and error.size <= self.config.max_message:
                error.args = (f"{error}. --allow-large sends it all the same, and some take it",)
            raise

    @contextmanager
    def _rules_named(self, key: str) -> Iterator[None]:
        """Add to an error about a namespace without rules which ones this node knows, and the slash that may be missing."""
        try:
            yield
        except p2pkad.NoValidator as error:
            known, how = ", ".join(self._namespaces), "p2pkad run --validator" if self.stays else "--validator"
            meant = f" Did you mean /{key}?" if "/" in key and not key.startswith(("/", "hex:")) else ""
            raise UsageError(
                f"{error}.{meant} Known namespaces: {known}; {how} NS=KIND adds one, --default-validator KIND is for the rest"
            ) from error


@contextmanager
def _less_agreed() -> Iterator[None]:
    """Add to the news that too few agreed how to see what there is."""
    try:
        yield
    except p2pkad.QuorumNotMet as error:
        error.args = (f"{error}. --quorum 0 prints the best value that is found",)
        raise


@contextmanager
def _as_typed(request: Request) -> Iterator[None]:
    """Let an error that names a key, or content, by its bytes in hex name what was typed for it instead."""
    try:
        yield
    except p2pkad.P2pkadError as error:
        match request:
            case Keyed(key=typed) | Provide(content=typed) | StopProviding(content=typed) | FindProviders(content=typed):
                named, colon, rest = str(error).partition(": ")
                if named.startswith("hex:") and not typed.startswith("hex:"):
                    error.args = (f"{typed}{colon}{rest}",)
            case _:
                pass
        raise


def _nothing(what: str, found: p2pkad.PeersFound | p2pkad.ProviderStream) -> p2pkad.NotFound:
    """The error that a search came to nothing. The node's own calls have an empty result for it."""
    return p2pkad.NotFound(what, asked=found.asked, answered=found.answered, complete=found.complete)


def place(info: PeerInfo) -> Answer:
    """A peer and where it is. Its addresses are complete: each can be dialled as it stands."""
    return {"id": str(info.id), "addresses": [f"{address}/p2p/{info.id}" for address in info.addresses]}


def described(state: p2pkad.PeerState) -> Answer:
    """A peer that is connected or in the routing table."""
    said = state.description
    return {
        **place(state.info),
        "bucket": state.bucket,
        "in_table": state.in_table,
        "connected": state.connected,
        "agent": None if said is None else said.agent,
        "protocols": None if said is None else sorted(said.protocols),
    }


def _groups(**peers: Sequence[PeerId]) -> dict[str, list[str]]:
    return {what: [str(each) for each in group] for what, group in peers.items()}
