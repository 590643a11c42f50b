"""What every store promises: the peers that a node knew are there for its next life."""

from __future__ import annotations

from p2pkad.core.peers import PeerId, PeerInfo
from p2pkad.store.base import MAX_PEERS, KeptPeer
from p2pkad.testing.stores import NEAR, PLACE, MakeStore, Suite, opened, put, record

SUITE = Suite()


@SUITE.promise
async def peers_are_kept_as_they_came(make_store: MakeStore) -> None:
    member = KeptPeer(peer=PeerInfo(PeerId(b"member"), (PLACE, PLACE)), stayed=7.5)
    missed = KeptPeer(peer=PeerInfo(PeerId(b"missed"), (PLACE,)), since=1.5, stayed=0.25, tried=2.5, tries=3)
    nowhere = KeptPeer(peer=PeerInfo(PeerId(b"nowhere")))
    async with opened(make_store) as store:
        assert list(await store.saved_peers()) == []
        await store.save_peers([member, missed, nowhere])
        assert list(await store.saved_peers()) == [member, missed, nowhere]


@SUITE.promise
async def the_peers_that_were_saved_last_are_kept_in_their_order(make_store: MakeStore) -> None:
    one, two, three = (KeptPeer(peer=PeerInfo(PeerId(name))) for name in (b"one", b"two", b"three"))
    async with opened(make_store) as store:
        await store.save_peers([one, two])
        await store.save_peers([three, one])
        assert list(await store.saved_peers()) == [three, one]
        await store.save_peers([])
        assert list(await store.saved_peers()) == []


@SUITE.promise
async def no_more_peers_are_kept_than_allowed_and_the_first_stay(make_store: MakeStore) -> None:
    many = [KeptPeer(peer=PeerInfo(PeerId(b"%d" % number), (PLACE,))) for number in range(MAX_PEERS + 10)]
    async with opened(make_store) as store:
        await store.save_peers(many)
        assert list(await store.saved_peers()) == many[:MAX_PEERS]


@SUITE.promise
async def peers_and_entries_leave_each_other_alone(make_store: MakeStore) -> None:
    one = KeptPeer(peer=PeerInfo(PeerId(b"one")))
    async with opened(make_store, max_records=1) as store:
        await store.save_peers([one])
        before = store.stats()
        await put(store, record(NEAR, expires=50))
        await store.expire(now=50)
        assert store.stats() == before
        assert list(await store.saved_peers()) == [one]
