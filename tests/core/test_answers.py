"""What a server tells whom. Peers are numbered from the nearest on; the size is that of ids, addresses and values alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pkad.core.answers import FEW_ADDRESSES, Answers, Asker
from p2pkad.core.messages import (
    AnyReply,
    FindNode,
    FindNodeReply,
    GetProviders,
    GetProvidersReply,
    GetValue,
    GetValueReply,
)
from p2pkad.core.peers import Address, PeerId, PeerInfo, Scope
from p2pkad.core.records import Record

OWN = PeerId(b"own")
FAR = Asker(PeerId(b"asker"), Scope.PUBLIC)
NEAR = Asker(PeerId(b"asker"), Scope.LOOPBACK)
KEY = b"/n/key"


def address(number: int, scope: Scope = Scope.PUBLIC) -> Address:
    return Address(b"%8d" % number, f"{scope.name} {number}", scope)


def peer(number: int, addresses: int = 1, scope: Scope = Scope.PUBLIC) -> PeerInfo:
    return PeerInfo(PeerId(b"%8d" % number), tuple(address(each, scope) for each in range(addresses)))


def weight(reply: AnyReply) -> int:
    peers = (*getattr(reply, "closer", ()), *getattr(reply, "providers", ()))
    record = getattr(reply, "record", None)
    return (len(record.value) if record else 0) + sum(
        len(each.id) + sum(len(address.raw) for address in each.addresses) for each in peers
    )


class Scale:
    """Weighs replies and counts how often."""

    def __init__(self) -> None:
        self.used = 0

    def __call__(self, reply: AnyReply) -> int:
        self.used += 1
        return weight(reply)


def answers(k: int = 3, max_reply: int = 1000, max_message: int = 5000, scale: Scale | None = None) -> Answers:
    return Answers(own=OWN, k=k, rule="auto", size=scale or weight, max_reply=max_reply, max_message=max_message)


def ids(peers: tuple[PeerInfo, ...]) -> list[PeerId]:
    return [each.id for each in peers]


PEERS = [peer(number) for number in range(8)]


def test_the_k_nearest_are_told_without_this_node_and_the_asker() -> None:
    nearest = [PeerInfo(OWN, (address(1),)), PEERS[0], PeerInfo(FAR.id, (address(2),)), *PEERS[1:]]
    assert answers(k=3).find_node(FindNode(KEY), FAR, nearest).closer == tuple(PEERS[:3])
    assert answers(k=3).get_value(GetValue(KEY), FAR, nearest, None).closer == tuple(PEERS[:3])
    assert answers(k=3).get_providers(GetProviders(KEY), FAR, nearest, ()).closer == tuple(PEERS[:3])


def test_the_peer_whose_id_the_key_is_comes_first_and_does_not_count() -> None:
    reply = answers(k=3).find_node(FindNode(PEERS[7].id), FAR, PEERS[:4], known=PEERS[7])
    assert reply.closer == (PEERS[7], *PEERS[:3])


def test_it_is_told_once_when_it_is_among_the_nearest() -> None:
    better_known = peer(0, addresses=2)
    reply = answers(k=3).find_node(FindNode(PEERS[0].id), FAR, PEERS, known=better_known)
    assert reply.closer == (better_known, PEERS[1], PEERS[2])


def test_it_is_told_also_when_it_is_the_asker() -> None:
    asker = PeerInfo(FAR.id, (address(1),))
    assert answers().find_node(FindNode(FAR.id), FAR, [asker, PEERS[0]], known=asker).closer == (asker, PEERS[0])


def test_a_peer_that_is_known_without_addresses_is_not_told() -> None:
    assert answers().find_node(FindNode(KEY), FAR, [], known=PeerInfo(PeerId(KEY))).closer == ()


def test_asked_for_this_node_the_answer_has_it_also_when_the_asker_may_hear_no_address_of_it() -> None:
    own = PeerInfo(OWN, (address(1, Scope.PRIVATE),))
    assert answers().find_node(FindNode(OWN), NEAR, PEERS[:1], known=own).closer == (own, PEERS[0])
    assert answers().find_node(FindNode(OWN), FAR, PEERS[:1], known=own).closer == (PeerInfo(OWN), PEERS[0])


def test_addresses_that_are_not_for_the_asker_are_left_out_and_so_is_who_has_no_others() -> None:
    mixed = PeerInfo(PeerId(b"mixed"), (address(1, Scope.PRIVATE), address(2)))
    hidden = PeerInfo(PeerId(b"hidden"), (address(3, Scope.PRIVATE),))
    nearest = [hidden, PeerInfo(PeerId(b"bare")), mixed, PEERS[0]]
    told = PeerInfo(mixed.id, (address(2),))
    assert answers(k=2).find_node(FindNode(KEY), FAR, nearest).closer == (told, PEERS[0])
    assert answers(k=2).find_node(FindNode(KEY), NEAR, nearest).closer == (hidden, mixed)


def test_the_usual_answer_is_weighed_once_and_its_peers_are_not_copied() -> None:
    scale = Scale()
    reply = answers(scale=scale).find_node(FindNode(KEY), FAR, PEERS)
    answers(scale=scale).get_value(GetValue(KEY), FAR, PEERS, Record(KEY, b"v"))
    answers(scale=scale).get_providers(GetProviders(KEY), FAR, PEERS, PEERS)
    assert scale.used == 3
    assert reply.closer[0] is PEERS[0]


@pytest.mark.scenario("W6")
def test_twenty_peers_of_180_addresses_fit_and_none_of_them_is_lost() -> None:
    scale = Scale()
    nearest = [peer(number, addresses=180) for number in range(20)]
    reply = answers(k=20, max_reply=16 * 1024, scale=scale).find_node(FindNode(KEY), FAR, nearest)
    assert 15 * 1024 < weight(reply) <= 16 * 1024
    assert ids(reply.closer) == ids(tuple(nearest))
    assert scale.used < 12


@pytest.mark.scenario("W6")
def test_those_with_most_addresses_lose_their_last_ones_first() -> None:
    reply = answers(max_reply=64).find_node(FindNode(KEY), FAR, [peer(0, addresses=2), peer(1, addresses=100)])
    assert reply.closer == (peer(0, addresses=2), peer(1, addresses=4))


@pytest.mark.scenario("W6")
def test_the_farthest_peers_go_when_one_address_each_is_too_much() -> None:
    reply = answers(k=8, max_reply=5 * 16).find_node(FindNode(KEY), FAR, [peer(number, addresses=3) for number in range(8)])
    assert reply.closer == tuple(PEERS[:5])


@pytest.mark.scenario("W6")
def test_a_record_never_makes_room_for_peers() -> None:
    record = Record(KEY, b"v" * 970)
    assert answers(max_reply=1000).get_value(GetValue(KEY), FAR, PEERS, record) == GetValueReply(KEY, record, (PEERS[0],))


def test_a_record_that_is_longer_than_a_reply_is_told_with_its_peers_to_those_who_read_it() -> None:
    record = Record(KEY, b"v" * 1001)
    reply = answers(k=3, max_reply=1000, max_message=5000).get_value(GetValue(KEY), FAR, PEERS, record)
    assert reply == GetValueReply(KEY, record, tuple(PEERS[:3]))


def test_beside_a_very_long_record_the_peers_fit_the_longest_message() -> None:
    record = Record(KEY, b"v" * 4980)
    reply = answers(k=3, max_reply=1000, max_message=5000).get_value(GetValue(KEY), FAR, PEERS, record)
    assert reply == GetValueReply(KEY, record, (PEERS[0],))


def test_a_record_that_nobody_could_read_is_not_told() -> None:
    record = Record(KEY, b"v" * 5001)
    reply = answers(k=3, max_reply=1000, max_message=5000).get_value(GetValue(KEY), FAR, PEERS, record)
    assert reply == GetValueReply(KEY, None, tuple(PEERS[:3]))


def test_providers_are_told_as_they_come_and_the_asker_among_them() -> None:
    asker = PeerInfo(FAR.id, (address(1),))
    providers = (PEERS[5], asker, PEERS[4])
    assert answers(k=1).get_providers(GetProviders(KEY), FAR, PEERS, providers) == GetProvidersReply(
        KEY, providers, (PEERS[0],)
    )


def test_a_provider_whose_addresses_are_not_for_the_asker_is_told_by_its_id() -> None:
    hidden = peer(1, scope=Scope.PRIVATE)
    assert answers().get_providers(GetProviders(KEY), FAR, (), (hidden,)).providers == (PeerInfo(hidden.id),)


@pytest.mark.scenario("P3")
def test_as_many_of_the_shuffled_providers_are_told_as_fit_beside_the_nearest() -> None:
    providers = tuple(peer(number, addresses=5) for number in range(100, 300))
    reply = answers(k=3, max_reply=1000).get_providers(GetProviders(KEY), FAR, PEERS, providers)
    assert reply.closer == tuple(PEERS[:3])
    assert ids(reply.providers) == ids(providers[:23])  # (1000 - 3 * 16) / (8 + 4 * 8)
    assert all(len(each.addresses) == FEW_ADDRESSES for each in reply.providers)


@pytest.mark.scenario("P3")
def test_the_nearest_with_many_addresses_leave_half_of_the_reply_to_the_providers() -> None:
    nearest = [peer(number, addresses=180) for number in range(3)]
    providers = tuple(peer(number, addresses=5) for number in range(100, 300))
    reply = answers(k=3, max_reply=1000).get_providers(GetProviders(KEY), FAR, nearest, providers)
    assert len(reply.closer) == 3
    assert 400 < weight(FindNodeReply(reply.closer)) <= 500
    assert len(reply.providers) == 13


@pytest.mark.scenario("P3")
def test_the_nearest_take_what_few_providers_leave() -> None:
    nearest = [peer(number, addresses=180) for number in range(3)]
    reply = answers(k=3, max_reply=1000).get_providers(GetProviders(KEY), FAR, nearest, (peer(100, addresses=5),))
    assert reply.providers == (peer(100, addresses=5),)
    assert weight(reply) > 900


@pytest.mark.scenario("P3")
def test_providers_that_fit_beside_fewer_addresses_of_the_nearest_are_all_told() -> None:
    nearest = [peer(number, addresses=180) for number in range(3)]
    for addresses in (0, 1, 5):
        providers = tuple(peer(number, addresses) for number in range(100, 108))
        assert answers(k=3, max_reply=1000).get_providers(GetProviders(KEY), FAR, nearest, providers).providers == providers


def test_a_limit_below_everything_gives_an_empty_answer() -> None:
    assert answers(max_reply=1).find_node(FindNode(KEY), FAR, PEERS) == FindNodeReply(())


crowd = st.lists(st.builds(peer, st.integers(0, 9999), st.integers(0, 30), st.sampled_from(Scope)), max_size=30)


@pytest.mark.scenario("W6", "P3")
@given(nearest=crowd, providers=crowd, limit=st.integers(0, 3000), value=st.integers(0, 3000))
def test_every_answer_fits_and_is_a_part_of_what_was_asked_for(
    nearest: list[PeerInfo], providers: list[PeerInfo], limit: int, value: int
) -> None:
    told = answers(k=20, max_reply=limit, max_message=max(limit, 2500))
    record = Record(KEY, b"v" * value)
    for reply in (
        told.find_node(FindNode(KEY), NEAR, nearest),
        told.get_value(GetValue(KEY), NEAR, nearest, record),
        told.get_providers(GetProviders(KEY), NEAR, nearest, providers),
    ):
        longest = told.max_message if isinstance(reply, GetValueReply) and value > limit else limit
        assert weight(reply) <= longest
        asked_for = [each for each in nearest if each.addresses]
        for answer, known in zip(reply.closer, asked_for, strict=False):
            assert answer.id == known.id
            assert answer.addresses == known.addresses[: len(answer.addresses)]
            assert answer.addresses
