"""What a server does with each request.

request       answer                                              refused by a reset
FindNode      closer peers, the one asked for first
GetValue      the record while it lives and is valid, closer peers
PutValue      the record as stored                                no key, another key inside, invalid, a better one is here
AddProvider   nothing, ever                                       no key or a long one, the sender is not named
both                                                              the peer has had its share, or the store is full
GetProviders  providers that fit, closer peers                    no key or a long one
Ping          its echo

Any request of a peer that asks too often is answered later, or refused (node/limits.py).

kad-dht r2, "RPC messages". Whatever is refused raises a P2pkadError; the network resets the stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import assert_never

import trio

from p2pkad.config import KademliaConfig
from p2pkad.core.answers import Answers, Asker
from p2pkad.core.keyspace import SHA256
from p2pkad.core.messages import (
    NAMES,
    AddProvider,
    AnyReply,
    FindNode,
    FindNodeReply,
    GetProviders,
    GetProvidersReply,
    GetValue,
    GetValueReply,
    Ping,
    PingReply,
    PutValue,
    PutValueReply,
)
from p2pkad.core.peers import PeerId, PeerInfo
from p2pkad.core.records import StoredProvider, keep, served
from p2pkad.core.scope import connection_scope
from p2pkad.errors import LocalLimit, P2pkadError, RemoteProtocolError, StoreFailed, StoreFull
from p2pkad.events import RequestServed, ServedResult
from p2pkad.net.base import Network, Request
from p2pkad.node.clock import Clock
from p2pkad.node.limits import Limits
from p2pkad.node.membership import MAX_ADDRESSES_PER_PEER, Membership
from p2pkad.node.superseding import Superseding
from p2pkad.node.telling import Telling
from p2pkad.store.base import Store
from p2pkad.validators.base import Validators
from p2pkad.wire.codec import encoded_size
from p2pkad.wire.content import MAX_PROVIDER_KEY

SPARE = 8
"""Peers that are looked up beyond k: the asker is among the nearest, and some may have no address that it may hear."""


class Responding:
    """The serving half of a node: `answer` is the handler of its network."""

    def __init__(
        self,
        network: Network,
        membership: Membership,
        superseding: Superseding,
        store: Store,
        validators: Validators,
        limits: Limits,
        config: KademliaConfig,
        clock: Clock,
        random: Random,
        tell: Telling,
    ) -> None:
        self._network = network
        self._membership = membership
        self._superseding = superseding
        self._store = store
        self._validators = validators
        self._limits = limits
        self._config = config
        self._clock = clock
        self._random = random
        self._tell = tell
        self._answers = Answers(
            own=network.id,
            k=config.k,
            rule=config.scope,
            size=encoded_size,
            max_reply=config.max_reply,
            max_message=config.max_message,
        )

    async def answer(self, request: Request) -> AnyReply | None:
        """The reply to a request; None for ADD_PROVIDER. Raises P2pkadError: it is refused."""
        return await (self._answer_and_tell(request) if self._tell.wanted(RequestServed) else self._answer(request))

    async def _answer_and_tell(self, request: Request) -> AnyReply | None:
        began = self._clock.monotonic()
        result: ServedResult = "failed"
        try:
            reply = await self._answer(request)
            result = "answered"
        except P2pkadError as error:
            result = _result_of(error)
            raise
        except trio.Cancelled:
            result = "cancelled"
            raise
        finally:
            now, name = self._clock.monotonic(), NAMES[type(request.message)]
            self._tell(RequestServed(at=now, peer=request.peer, message=name, seconds=now - began, result=result))
        return reply

    async def _answer(self, request: Request) -> AnyReply | None:
        await self._limits.let_in(request.peer)
        asker = Asker(request.peer, connection_scope(request.remote_address))
        match request.message:
            case FindNode() as message:
                return self._find_node(message, asker)
            case GetValue() as message:
                return await self._get_value(message, asker)
            case PutValue() as message:
                return await self._put_value(message, request.peer)
            case AddProvider() as message:
                await self._add_provider(message, request)
                return None
            case GetProviders() as message:
                return await self._get_providers(message, asker)
            case Ping(key):
                return PingReply(key)
            case never:
                assert_never(never)

    def _find_node(self, message: FindNode, asker: Asker) -> FindNodeReply:
        # The key is any bytes: go sends record keys and multihashes, too. Only one that is a peer id can name a peer.
        known = self._known(PeerId(message.key)) if PeerId.valid(message.key) else None
        return self._answers.find_node(message, asker, self._near(message.key), known)

    async def _get_value(self, message: GetValue, asker: Asker) -> GetValueReply:
        now = self._clock.wall()
        stored = await self._store.get(message.key, now)
        record = None
        if stored is not None and self._validators.accepts(message.key, stored.record.value, now):
            record = served(stored, now)
        return self._answers.get_value(message, asker, self._near(message.key), record)

    async def _put_value(self, message: PutValue, sender: PeerId) -> PutValueReply:
        record = message.record
        if not message.key or record.key != message.key:
            raise RemoteProtocolError("the key of a PUT_VALUE is missing, or is not its record's")
        now = self._clock.wall()
        self._validators.validate(record.key, record.value, now)
        kept = keep(record, now=now, lifetime=self._config.record_lifetime, rules=self._validators)
        async with self._superseding.told(record.key, kept) as decide:
            stored = await self._limits.put(self._store, sender, record.key, decide)
        assert stored is not None, "what keep() decides is never nothing"
        # rust and js compare the record in the echo with what they sent. Peer lists would only travel back.
        return PutValueReply(message.key, served(stored, now))

    async def _add_provider(self, message: AddProvider, request: Request) -> None:
        key = self._provider_key(message.key)
        # A peer speaks for itself alone; and it must be possible to reach it.
        own = [info.addresses for info in message.providers if info.id == request.peer]
        told = tuple(dict.fromkeys(address for addresses in own for address in addresses))
        addresses = self._membership.believed(told, request.remote_address)[:MAX_ADDRESSES_PER_PEER]
        if not addresses:
            raise RemoteProtocolError("ADD_PROVIDER without an address of its sender", peer=request.peer)
        now = self._clock.wall()
        config = self._config
        provider = StoredProvider(
            PeerInfo(request.peer, addresses),
            received=now,
            expires=now + config.provider_lifetime,
            addresses_expire=now + config.provider_address_lifetime,
        )
        await self._limits.add_provider(self._store, key, provider)

    async def _get_providers(self, message: GetProviders, asker: Asker) -> GetProvidersReply:
        key = self._provider_key(message.key)
        known = [each.provider for each in await self._store.providers(key, self._clock.wall())]
        self._random.shuffle(known)
        return self._answers.get_providers(message, asker, self._near(key), [self._current(info) for info in known])

    def _provider_key(self, key: bytes) -> bytes:
        if not 1 <= len(key) <= MAX_PROVIDER_KEY:
            raise RemoteProtocolError(f"a provider key has 1 to {MAX_PROVIDER_KEY} bytes, this one {len(key)}")
        return key

    def _near(self, key: bytes) -> Iterator[PeerInfo]:
        return self._membership.nearest(SHA256.key(key), self._config.k + SPARE)

    def _known(self, peer: PeerId) -> PeerInfo | None:
        """A peer that is asked for by id, when it is us, connected, or in the table."""
        if peer == self._network.id:
            return PeerInfo(peer, self._network.local_addresses())
        if self._network.connection(peer) is not None or peer in self._membership.table:
            return self._membership.told(peer)
        return None

    def _current(self, provider: PeerInfo) -> PeerInfo:
        """Where a provider is now, not where it was when it announced itself, as far as that is known at first hand."""
        known = self._known(provider.id)
        return known if known is not None and known.addresses else provider


def _result_of(error: P2pkadError) -> ServedResult:
    match error:
        case StoreFull():
            return "full"
        case LocalLimit():
            return "limited"
        case StoreFailed():
            return "failed"
        case _:
            return "refused"
