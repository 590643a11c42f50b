"""Which connection goes when there are too many: decided without a socket."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pkad.core.peers import PeerId
from p2pkad.net.base import Usefulness
from p2pkad.net.connections import GRACE, IDLE, MAX_PER_PEER, SETTLE, Connections, Held

NONE, IN_TABLE, PROTECTED = Usefulness.NONE, Usefulness.IN_TABLE, Usefulness.PROTECTED
LATER = 1000.0


def held(name: str, *, used: float | None = None, opened: float = 0.0, inbound: bool = False) -> Held[str]:
    return Held(name, PeerId(name.encode()), None, inbound=inbound, opened=opened, used=used)


def connections(*open_ones: Held[str], limit: int, reserve: int = 0, **ranks: Usefulness) -> Connections[str]:
    table: Connections[str] = Connections(limit, reserve, lambda peer: ranks.get(peer.decode(), NONE))
    for each in open_ones:
        table.add(each)
    return table


def names(chosen: list[tuple[Held[str], str]]) -> list[str]:
    return [each.handle for each, _ in chosen]


def test_while_there_is_room_nothing_goes():
    table = connections(held("a"), limit=2)
    assert table.make_room(1, LATER) == []
    assert len(table) == 1


def test_what_is_chosen_is_forgotten_at_once():
    table = connections(held("a"), held("b"), limit=2)
    assert names(table.make_room(1, LATER)) == ["a"]
    assert names(table.make_room(1, LATER)) == []
    assert table.peers() == [PeerId(b"b")]


def test_the_least_useful_goes_first_and_among_equals_the_longest_idle():
    table = connections(held("tabled", used=1), held("fresh", used=9), held("idle", used=2), limit=3, tabled=IN_TABLE)
    assert names(table.make_room(3, LATER)) == ["idle", "fresh", "tabled"]


@pytest.mark.scenario("L18")
def test_protected_peers_and_those_in_use_never_go():
    table = connections(held("kept"), held("asked"), limit=4, kept=PROTECTED)
    with table.using(PeerId(b"asked")):
        assert table.make_room(4, LATER) == []
        assert len(table) == 2
    assert names(table.make_room(4, LATER)) == ["asked"]


def test_a_peer_is_in_use_before_its_connection_is_open():
    table = connections(held("a"), limit=1)
    with table.using(PeerId(b"new")):
        table.add(held("new"))
        assert names(table.make_room(1, LATER)) == ["a"]


def test_a_peer_that_asked_a_moment_ago_may_ask_again_and_stays():
    table = connections(held("asks", used=LATER - IDLE / 2, inbound=True), held("asked", used=LATER), limit=2)
    assert names(table.make_room(2, LATER)) == ["asked"]
    assert names(table.make_room(2, LATER + IDLE)) == ["asks"]


@pytest.mark.scenario("L18")
def test_a_peer_that_came_has_longer_for_its_first_request_than_between_two():
    came, asked = held("came", opened=LATER, inbound=True), held("asked", opened=LATER, used=LATER, inbound=True)
    table = connections(came, asked, limit=2)
    assert names(table.make_room(2, LATER + 2 * IDLE)) == ["asked"]
    assert names(table.make_room(2, LATER + 2 * IDLE)) == []
    assert names(table.make_room(2, LATER + SETTLE)) == ["came"]


def test_what_carries_another_protocol_stays():
    table = connections(held("a"), held("b"), limit=2)
    table.busy = lambda handle: handle == "a"
    assert names(table.make_room(2, LATER)) == ["b"]


def test_a_new_connection_is_the_last_to_go_whatever_the_others_are_good_for():
    fresh = held("new", opened=LATER - GRACE / 2)
    table = connections(held("tabled", used=LATER), fresh, limit=2, tabled=IN_TABLE)
    assert names(table.make_room(2, LATER)) == ["tabled", "new"]


def test_among_new_connections_the_first_to_come_is_the_first_to_go():
    first, second = held("first", opened=LATER - 2, used=LATER), held("second", opened=LATER - 1)
    table = connections(second, first, limit=2, first=IN_TABLE)
    assert names(table.make_room(2, LATER)) == ["first", "second"]


def test_at_most_a_quarter_of_the_places_is_protected_those_that_came_first():
    table = connections(*(held(name, opened=n) for n, name in enumerate("hgfedcba")), limit=8)
    table.usefulness = lambda peer: PROTECTED
    assert names(table.make_room(8, LATER)) == list("fedcba")
    assert names(table.make_room(8, LATER)) == []


def test_the_reason_says_what_decided():
    table = connections(held("a", used=LATER - 90), limit=1)
    assert table.make_room(1, LATER)[0][1] == "none, idle for 90.0 s, 1 connections at most"


@pytest.mark.scenario("L18")
def test_the_reserve_is_freed_also_at_the_cost_of_the_routing_table():
    table = connections(held("a"), held("t", used=1), held("u", used=2), limit=3, reserve=2, t=IN_TABLE, u=IN_TABLE)
    assert names(table.trim(LATER)) == ["a", "t"]
    assert names(table.trim(LATER)) == []


@pytest.mark.scenario("L18")
def test_those_that_others_open_leave_the_reserve_and_only_they_go_for_it():
    own, busy = held("own"), held("busy", inbound=True, used=LATER)
    table = connections(own, busy, held("idle", inbound=True, used=1), limit=4, reserve=2)
    assert table.most_of_others == 3, "of so few places the reserve is a quarter"
    assert names(table.make_room_for_others(1, LATER)) == []
    assert names(table.make_room_for_others(2, LATER)) == ["idle"]
    assert names(table.make_room_for_others(3, LATER)) == []


def test_what_is_new_may_use_the_reserve_until_it_is_judged():
    table = connections(held("a", opened=LATER - GRACE / 2), limit=1, reserve=1)
    assert names(table.trim(LATER)) == []
    assert names(table.trim(LATER + GRACE)) == ["a"]


@pytest.mark.scenario("L18")
@pytest.mark.parametrize(("limit", "dials", "handshakes"), [(4, 3, 2), (10, 8, 5), (300, 225, 150)])
def test_neither_dialling_nor_strangers_take_every_place(limit, dials, handshakes):
    table = connections(limit=limit)
    assert (table.most_dials, table.most_handshakes) == (dials, handshakes)


def test_one_peer_keeps_a_few_connections():
    same = [Held(str(n), PeerId(b"same"), None, inbound=True, opened=n) for n in range(MAX_PER_PEER + 2)]
    table = connections(*same, limit=100)
    assert names(table.surplus(PeerId(b"same"))) == [str(MAX_PER_PEER), str(MAX_PER_PEER + 1)]
    assert [each.handle for each in table.of(PeerId(b"same"))] == ["0", "1", "2", "3"]


def test_a_connection_is_removed_once():
    table = connections(held("a"), limit=2)
    assert table.remove("b", PeerId(b"a")) is None
    removed = table.remove("a", PeerId(b"a"))
    assert removed is not None
    assert table.remove("a", PeerId(b"a")) is None
    assert len(table) == 0


def test_the_state_is_shown_on_one_line():
    table = connections(held("a"), limit=7)
    with table.using(PeerId(b"a")):
        assert repr(table) == "<Connections 1/7 peers=1 inbound=0 in_use=1>"


open_ones = st.lists(
    st.tuples(st.sampled_from(Usefulness), st.booleans(), st.none() | st.floats(0, 900), st.floats(0, LATER - GRACE)),
    max_size=12,
)


@given(open_ones, st.integers(0, 12), st.integers(0, 4))
def test_whatever_is_open_as_many_go_as_needed_and_can(given_ones, limit, wanted):
    rank = {f"{n}": each[0] for n, each in enumerate(given_ones)}
    table = connections(
        *(held(f"{n}", used=used, opened=opened) for n, (_, _, used, opened) in enumerate(given_ones)), limit=limit, **rank
    )
    rank = dict(rank)
    in_use = [f"{n}" for n, (_, used, *_) in enumerate(given_ones) if used]
    oldest = sorted((n for n in range(len(given_ones)) if rank[f"{n}"] is PROTECTED), key=lambda n: given_ones[n][3])
    for n in oldest[limit // 4 :]:
        rank[f"{n}"] = IN_TABLE
    may_go = [name for name in rank if name not in in_use and rank[name] is not PROTECTED]
    with ExitStack() as stack:
        for name in in_use:
            stack.enter_context(table.using(PeerId(name.encode())))
        chosen = names(table.make_room(wanted, LATER))
    assert set(chosen) <= set(may_go)
    assert len(chosen) == min(len(may_go), max(0, len(given_ones) + wanted - limit))
    assert len(table) == len(given_ones) - len(chosen)
    left = [rank[name] for name in may_go if name not in chosen]
    assert not chosen or not left or max(rank[name] for name in chosen) <= min(left)
