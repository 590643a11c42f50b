"""Which addresses the address book tells, in which order, and whom it forgets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pkad.core.address_book import AddressBook, Pin
from p2pkad.core.peers import Address, PeerId, PeerInfo, Scope
from tests.support.generated import examples

ALICE, BOB, CAROL, DAVE = (PeerId(name) for name in (b"alice", b"bob", b"carol", b"dave"))
HOUR = 3600.0
LATER = 10 * HOUR


def at(name: str) -> Address:
    return Address(name.encode(), name, Scope.PUBLIC)


def book(peers: int = 100, addresses: int = 100) -> AddressBook:
    return AddressBook(max_peers=peers, max_addresses=addresses)


def learn(known: AddressBook, peer: PeerId, *names: str, now: float = 0, lifetime: float = HOUR) -> None:
    known.learn(PeerInfo(peer, tuple(at(name) for name in names)), now, lifetime)


def told(known: AddressBook, peer: PeerId, now: float = 0) -> list[str]:
    info = known.info(peer, now)
    assert info.id == peer
    return [address.text for address in info.addresses]


# What others are told


def passed_on(known: AddressBook, peer: PeerId, now: float = 0) -> list[str]:
    return [address.text for address in known.told(peer, now).addresses]


@pytest.mark.scenario("L9")
def test_hearsay_is_not_passed_on_beside_what_is_known_at_first_hand() -> None:
    known = book()
    learn(known, ALICE, "left", "home")
    assert passed_on(known, ALICE) == ["left", "home"], "there is nothing better"
    known.worked(ALICE, at("home"), 0)
    assert passed_on(known, ALICE) == ["home"]
    assert told(known, ALICE) == ["home", "left"], "it may be tried all the same"
    known.declared(PeerInfo(ALICE, (at("moved"),)), None, now=1, lifetime=HOUR)
    learn(known, ALICE, "elsewhere", now=2)
    assert passed_on(known, ALICE, now=3) == ["moved"]
    known.failed(ALICE, at("moved"))
    assert passed_on(known, ALICE, now=3) == told(known, ALICE, now=3) != ["moved"], "it may be that it moved again"


@pytest.mark.parametrize("before", [(), ("home",)], ids=["told alone", "told beside what worked"])
def test_a_name_may_lead_as_near_as_anybody_who_tells_it_is_believed(before: tuple[str, ...]) -> None:
    def name(down_to: Scope) -> Address:
        return replace(at("name"), down_to=down_to)

    known = book()
    learn(known, ALICE, *before)
    for each in before:
        known.worked(ALICE, at(each), 0)
    for told_down_to, leads in [
        (Scope.PUBLIC, Scope.PUBLIC),
        (Scope.PRIVATE, Scope.PRIVATE),
        (Scope.PUBLIC, Scope.PRIVATE),
        (Scope.LOOPBACK, Scope.LOOPBACK),
    ]:
        known.learn(PeerInfo(ALICE, (*map(at, before), name(told_down_to))), 0, HOUR)
        assert known.info(ALICE, 0).addresses[-1].down_to is leads


def test_of_who_is_unknown_nothing_is_passed_on() -> None:
    assert book().told(ALICE, 0) == PeerInfo(ALICE)


# Order


def test_addresses_are_told_as_they_came() -> None:
    known = book()
    learn(known, ALICE, "first", "second", "third")
    assert told(known, ALICE) == ["first", "second", "third"]
    assert known.info(ALICE, 0) == PeerInfo(ALICE, (at("first"), at("second"), at("third")))


def test_nothing_is_told_of_a_stranger() -> None:
    known = book()
    assert known.info(ALICE, 0) == PeerInfo(ALICE)
    assert len(known) == 0


def test_the_address_that_worked_goes_first_and_the_one_that_failed_goes_last() -> None:
    known = book()
    learn(known, ALICE, "one", "two", "three", "four")
    known.failed(ALICE, at("one"))
    known.worked(ALICE, at("three"), now=1)
    known.worked(ALICE, at("four"), now=2)
    known.failed(ALICE, at("two"))
    assert told(known, ALICE) == ["four", "three", "one", "two"]


def test_what_failed_may_work_again_and_what_worked_may_fail() -> None:
    known = book()
    learn(known, ALICE, "one", "two", "three")
    known.failed(ALICE, at("one"))
    known.worked(ALICE, at("two"), now=1)
    known.worked(ALICE, at("one"), now=2)
    known.failed(ALICE, at("two"))
    assert told(known, ALICE) == ["one", "three", "two"]


def test_a_new_address_comes_before_older_hearsay_and_behind_what_worked() -> None:
    known = book()
    learn(known, ALICE, "old", "proven", "dead")
    known.worked(ALICE, at("proven"), now=1)
    known.failed(ALICE, at("dead"))
    learn(known, ALICE, "new", "old", now=2)
    assert told(known, ALICE) == ["proven", "new", "old", "dead"]


@pytest.mark.scenario("L9")
def test_a_peer_that_moved_is_told_at_its_new_address() -> None:
    known = book(addresses=2)
    learn(known, ALICE, "old", "older")
    known.worked(ALICE, at("older"), now=1)
    known.worked(ALICE, at("old"), now=1)
    known.failed(ALICE, at("old"))
    known.failed(ALICE, at("older"))
    learn(known, ALICE, "new", now=2)
    assert told(known, ALICE) == ["new", "old"]
    known.worked(ALICE, at("new"), now=3)
    assert told(known, ALICE) == ["new", "old"]


@pytest.mark.scenario("L9")
def test_a_peer_that_says_where_it_is_is_told_there_and_what_was_known_of_it_ages_out() -> None:
    known = book()
    learn(known, ALICE, "reached", "rumour", "same", lifetime=10)
    known.pin(ALICE, Pin.TABLE, now=0)
    known.worked(ALICE, at("reached"), now=0)
    known.declared(PeerInfo(ALICE, (at("new"), at("same"))), None, now=5, lifetime=10)
    assert told(known, ALICE, now=5) == ["new", "same", "reached", "rumour"]
    assert told(known, ALICE, now=LATER) == ["new", "same"]
    known.declared(PeerInfo(BOB, ()), None, now=5, lifetime=10)
    assert told(known, BOB) == []


def test_what_worked_at_the_host_that_a_peer_is_connected_from_goes_on_working() -> None:
    known = book()
    forwarded, connected, inside, moved = (
        Address(text.encode(), text, Scope.PRIVATE)
        for text in ("/ip4/10.0.0.5/tcp/4001", "/ip4/10.0.0.5/tcp/51234", "/ip4/172.17.0.2/tcp/4001", "/ip4/10.0.0.6/tcp/7")
    )
    known.pin(ALICE, Pin.TABLE, now=0)
    known.learn(PeerInfo(ALICE, (forwarded,)), now=0, lifetime=10)
    known.worked(ALICE, forwarded, now=0)
    known.declared(PeerInfo(ALICE, (inside,)), connected, now=1, lifetime=10)
    assert known.info(ALICE, now=LATER).addresses == (forwarded, inside)
    known.declared(PeerInfo(ALICE, (inside,)), moved, now=2, lifetime=10)
    assert known.info(ALICE, now=LATER).addresses == (inside,)


def test_what_a_peer_says_of_itself_is_passed_on_from_then_on_and_saying_it_again_changes_nothing() -> None:
    known = book()
    reached, inside = (Address(text.encode(), text, Scope.PRIVATE) for text in ("/ip4/10.0.0.5/tcp/1", "/ip4/10.0.0.6/tcp/2"))
    known.learn(PeerInfo(ALICE, (reached, inside)), now=0, lifetime=HOUR)
    known.worked(ALICE, reached, now=0)
    assert known.told(ALICE, now=0).addresses == (reached,)
    known.declared(PeerInfo(ALICE, (inside,)), reached, now=1, lifetime=HOUR)
    told = known.told(ALICE, now=1)
    assert told.addresses == (reached, inside)
    known.declared(PeerInfo(ALICE, (inside,)), reached, now=2, lifetime=HOUR)
    assert known.told(ALICE, now=2) is told, "servers look twenty times a request"


@pytest.mark.scenario("L14")
def test_hearsay_does_not_push_out_what_a_peer_says_of_itself() -> None:
    known = book(addresses=3)
    known.declared(PeerInfo(ALICE, (at("one"), at("two"))), None, now=0, lifetime=HOUR)
    learn(known, ALICE, "three", "four", "five", now=1)
    assert passed_on(known, ALICE, now=1) == ["one", "two"]
    assert told(known, ALICE, now=1) == ["three", "one", "two"]
    known.failed(ALICE, at("two"))
    learn(known, ALICE, "six", now=2)
    assert told(known, ALICE, now=2) == ["six", "three", "one"]


@pytest.mark.scenario("L9")
def test_none_of_many_addresses_has_failed_because_it_is_named_behind_those_that_are_kept() -> None:
    known = book(addresses=2)
    known.pin(ALICE, Pin.TABLE, now=0)
    names = [at(name) for name in ("one", "two", "three", "four")]
    known.declared(PeerInfo(ALICE, tuple(names)), None, now=0, lifetime=HOUR)
    known.worked(ALICE, at("one"), now=0)
    known.declared(PeerInfo(ALICE, tuple(reversed(names))), None, now=1, lifetime=HOUR)
    assert passed_on(known, ALICE, now=1) == ["one", "four"]


@pytest.mark.scenario("L9")
def test_a_peer_of_many_addresses_is_told_at_its_new_best_one() -> None:
    known = book(addresses=3)
    names = [at(name) for name in ("one", "two", "three")]
    known.declared(PeerInfo(ALICE, tuple(names)), None, now=0, lifetime=HOUR)
    known.declared(PeerInfo(ALICE, (at("new"), *names)), None, now=1, lifetime=HOUR)
    assert passed_on(known, ALICE, now=1) == ["new", "one", "two"]


def test_what_was_reached_lives_on_while_others_tell_just_that_of_it() -> None:
    known = book()
    learn(known, ALICE, "one", "two", lifetime=10)
    known.worked(ALICE, at("one"), now=0)
    learn(known, ALICE, "one", "two", now=8, lifetime=10)
    assert told(known, ALICE, now=17) == ["one", "two"]
    known.failed(ALICE, at("two"))
    learn(known, ALICE, "one", "two", now=17, lifetime=10)
    assert told(known, ALICE, now=20) == ["one"], "what failed is not kept alive by those who still tell it"
    learn(known, ALICE, "three", now=20, lifetime=10)
    assert told(known, ALICE, now=20) == ["one", "three"]


def test_what_a_peer_still_says_of_itself_lives_on() -> None:
    known = book()
    known.declared(PeerInfo(ALICE, (at("one"), at("two"))), None, now=0, lifetime=10)
    known.declared(PeerInfo(ALICE, (at("two"),)), None, now=8, lifetime=10)
    assert told(known, ALICE, now=11) == ["two"]


@pytest.mark.scenario("L9")
def test_a_peer_of_the_table_that_moved_is_not_told_at_its_old_address_for_ever() -> None:
    known = book()
    learn(known, ALICE, "old", lifetime=10)
    known.pin(ALICE, Pin.TABLE, now=0)
    known.worked(ALICE, at("old"), now=0)
    learn(known, ALICE, "new", now=LATER, lifetime=10)
    known.failed(ALICE, at("old"))
    assert told(known, ALICE, now=9) == ["new", "old"]
    assert told(known, ALICE, now=LATER + 11) == ["new"]
    known.expire(LATER + 11)
    learn(known, ALICE, "old", now=LATER + 11, lifetime=10)
    assert told(known, ALICE, now=LATER + 11) == ["old", "new"], "forgotten, and so heard of anew"


def test_what_the_user_said_of_a_bootstrap_peer_is_never_dropped() -> None:
    known = book()
    learn(known, ALICE, "configured", lifetime=10)
    known.pin(ALICE, Pin.BOOTSTRAP, now=0)
    known.declared(PeerInfo(ALICE, (at("private"),)), None, now=0, lifetime=10)
    assert told(known, ALICE, now=LATER) == ["private", "configured"]


def test_the_port_a_peer_dialled_from_is_no_address_of_it() -> None:
    known = book()
    learn(known, ALICE, "listens")
    known.worked(ALICE, at("dialled-from"), now=1)
    known.failed(ALICE, at("dialled-from"))
    known.worked(BOB, at("dialled-from"), now=1)
    known.failed(BOB, at("dialled-from"))
    assert told(known, ALICE) == ["listens"]
    assert told(known, BOB) == []
    assert len(known) == 1


# Expiry


def test_an_address_is_told_until_its_lifetime_is_over() -> None:
    known = book()
    learn(known, ALICE, "short", lifetime=10)
    learn(known, ALICE, "long", lifetime=20)
    assert told(known, ALICE, now=9) == ["long", "short"]
    assert told(known, ALICE, now=10) == ["long"]
    assert told(known, ALICE, now=20) == []


def test_an_address_lives_on_when_it_is_told_again_or_works() -> None:
    known = book()
    learn(known, ALICE, "told", "works", "forgotten", lifetime=10)
    learn(known, ALICE, "told", now=9, lifetime=10)
    known.worked(ALICE, at("works"), now=9)
    assert told(known, ALICE, now=18) == ["works", "told"]
    assert told(known, ALICE, now=19) == []


def test_the_very_same_that_is_told_again_and_again_lives_on_and_counts_no_more_once_it_has_failed() -> None:
    known = book()
    same = PeerInfo(ALICE, (at("a"), at("b")))
    known.learn(same, 0, HOUR)
    known.worked(ALICE, at("a"), 0)
    for number in range(1, 6):
        known.learn(same, number * HOUR / 2, HOUR)
        assert told(known, ALICE, number * HOUR / 2) == ["a", "b"]
    assert told(known, ALICE, 3.4 * HOUR) == ["a", "b"]
    known.failed(ALICE, at("b"))
    known.learn(same, 3.4 * HOUR, HOUR)
    assert told(known, ALICE, 4 * HOUR) == ["a"]


def test_a_shorter_lifetime_takes_nothing_away() -> None:
    known = book()
    learn(known, ALICE, "one", lifetime=100)
    learn(known, ALICE, "one", now=1, lifetime=5)
    assert told(known, ALICE, now=99) == ["one"]
    known.worked(ALICE, at("one"), now=99)
    assert told(known, ALICE, now=198) == ["one"]


def test_hearsay_does_not_keep_a_failed_address_alive() -> None:
    known = book()
    learn(known, ALICE, "dead", "other", lifetime=10)
    known.failed(ALICE, at("dead"))
    learn(known, ALICE, "dead", "other", now=9, lifetime=10)
    assert told(known, ALICE, now=10) == ["other"]
    learn(known, ALICE, "dead", now=11, lifetime=10)
    assert told(known, ALICE, now=11) == ["dead", "other"]


def test_an_address_that_expired_while_it_was_dialled_is_back_when_it_works() -> None:
    known = book()
    learn(known, ALICE, "one", lifetime=10)
    assert told(known, ALICE, now=10) == []
    known.worked(ALICE, at("one"), now=12)
    assert told(known, ALICE, now=12) == ["one"]


def test_expired_addresses_hold_no_place() -> None:
    known = book(addresses=2)
    learn(known, ALICE, "proven", "other", lifetime=10)
    known.worked(ALICE, at("proven"), now=0)
    known.worked(ALICE, at("other"), now=0)
    learn(known, ALICE, "new", "newer", now=10, lifetime=10)
    assert told(known, ALICE, now=10) == ["new", "newer"]


def test_a_sweep_frees_who_has_no_address_left() -> None:
    known = book()
    learn(known, ALICE, "one", lifetime=10)
    learn(known, BOB, "one", "two", lifetime=10)
    learn(known, BOB, "two", lifetime=20)
    known.expire(now=10)
    assert len(known) == 1
    assert told(known, BOB, now=10) == ["two"]


# Bounds


def test_the_peer_untouched_for_longest_is_forgotten_first() -> None:
    known = book(peers=3)
    for peer in (ALICE, BOB, CAROL):
        learn(known, peer, "one")
    learn(known, ALICE, "one", now=1)
    known.worked(BOB, at("one"), now=2)
    learn(known, DAVE, "one", now=3)
    assert len(known) == 3
    assert [told(known, peer, now=3) for peer in (ALICE, BOB, CAROL, DAVE)] == [["one"], ["one"], [], ["one"]]


@pytest.mark.scenario("L14")
def test_ten_thousand_made_up_peers_do_not_displace_our_own() -> None:
    known = book(peers=50)
    known.pin(ALICE, Pin.CONNECTED, now=0)
    for peer in (ALICE, BOB):
        learn(known, peer, "one")
    known.pin(BOB, Pin.TABLE, now=0)
    for number in range(10_000):
        learn(known, PeerId(number.to_bytes(4, "big")), "lie", now=1)
    assert len(known) == 50
    assert told(known, ALICE, now=1) == told(known, BOB, now=1) == ["one"]


@pytest.mark.scenario("L14")
def test_peers_without_addresses_take_no_place() -> None:
    known = book(peers=2)
    learn(known, ALICE, "one")
    for number in range(10_000):
        learn(known, PeerId(number.to_bytes(4, "big")))
    assert len(known) == 1
    learn(known, ALICE)
    assert told(known, ALICE) == ["one"]


@pytest.mark.scenario("L14")
def test_of_hundreds_of_addresses_those_that_worked_and_the_first_told_stay() -> None:
    known = book(addresses=4)
    learn(known, ALICE, "proven", "old", "dead")
    known.worked(ALICE, at("proven"), now=0)
    known.failed(ALICE, at("dead"))
    learn(known, ALICE, *(f"lie-{number}" for number in range(300)), now=1)
    assert told(known, ALICE, now=1) == ["proven", "lie-0", "lie-1", "lie-2"]


@pytest.mark.scenario("L14")
def test_only_as_many_addresses_are_read_as_can_be_kept() -> None:
    class Lies(tuple[Address, ...]):
        def __iter__(self) -> Iterator[Address]:
            raise AssertionError("all of them are read")

    known = book(addresses=3)
    for _ in range(2):
        known.learn(PeerInfo(ALICE, Lies(at(f"lie-{number}") for number in range(10_000))), now=0, lifetime=HOUR)
        assert told(known, ALICE) == ["lie-0", "lie-1", "lie-2"]


@pytest.mark.scenario("L14")
def test_an_address_told_twice_is_kept_once() -> None:
    known = book()
    learn(known, ALICE, "one", "one", "two", "one")
    assert told(known, ALICE) == ["one", "two"]


# Pins


def test_a_pinned_peer_is_neither_forgotten_nor_do_its_addresses_expire() -> None:
    known = book(peers=1)
    learn(known, ALICE, "one", lifetime=10)
    known.pin(ALICE, Pin.BOOTSTRAP, now=0)
    learn(known, BOB, "one")
    known.forget(ALICE)
    known.expire(LATER)
    learn(known, ALICE, "two", now=LATER, lifetime=10)
    assert told(known, ALICE, now=LATER * 2) == ["two", "one"]
    assert len(known) == 1


def test_an_outage_of_hours_costs_a_pinned_peer_no_address() -> None:
    known = book()
    learn(known, ALICE, "one", "two")
    known.pin(ALICE, Pin.TABLE, now=0)
    for name in ("one", "two"):
        known.failed(ALICE, at(name))
    known.expire(LATER)
    assert told(known, ALICE, now=LATER) == ["one", "two"]


def test_a_peer_may_be_pinned_before_anything_is_known_of_it() -> None:
    known = book(peers=1)
    known.pin(ALICE, Pin.CONNECTED, now=0)
    learn(known, ALICE, "one")
    learn(known, BOB, "one")
    assert told(known, ALICE) == ["one"]
    assert told(known, BOB) == []


def test_pinned_peers_are_kept_beyond_the_bound_and_displace_others() -> None:
    known = book(peers=1)
    learn(known, BOB, "one")
    known.pin(ALICE, Pin.CONNECTED, now=0)
    known.pin(CAROL, Pin.TABLE, now=0)
    assert told(known, BOB) == []
    assert len(known) == 2


def test_a_peer_is_held_until_the_last_reason_is_gone() -> None:
    known = book()
    learn(known, ALICE, "one", lifetime=10)
    known.pin(ALICE, Pin.CONNECTED, now=0)
    known.pin(ALICE, Pin.CONNECTED, now=0)
    known.pin(ALICE, Pin.TABLE, now=0)
    known.unpin(ALICE, Pin.CONNECTED, now=LATER)
    known.unpin(ALICE, Pin.BOOTSTRAP, now=LATER)
    assert told(known, ALICE, now=LATER + 100) == ["one"]
    known.unpin(ALICE, Pin.TABLE, now=LATER + 200)
    assert told(known, ALICE, now=LATER + 209) == ["one"]
    assert told(known, ALICE, now=LATER + 210) == []


def test_addresses_live_on_from_the_end_of_a_connection_but_for_those_that_failed() -> None:
    known = book()
    learn(known, ALICE, "one", "dead", lifetime=10)
    known.failed(ALICE, at("dead"))
    known.pin(ALICE, Pin.CONNECTED, now=0)
    known.unpin(ALICE, Pin.CONNECTED, now=LATER)
    assert told(known, ALICE, now=LATER) == ["one"]


def test_an_unpinned_peer_without_an_address_is_forgotten() -> None:
    known = book()
    learn(known, CAROL, "dead", lifetime=10)
    for peer in (ALICE, CAROL):
        known.pin(peer, Pin.CONNECTED, now=0)
        known.pin(peer, Pin.TABLE, now=0)
        known.unpin(peer, Pin.TABLE, now=LATER)
    known.failed(CAROL, at("dead"))
    assert len(known) == 2
    for peer in (ALICE, BOB, CAROL):
        known.unpin(peer, Pin.CONNECTED, now=LATER)
    assert len(known) == 0


def test_a_pin_does_not_bring_back_what_has_expired() -> None:
    known = book()
    learn(known, ALICE, "one", lifetime=10)
    known.pin(ALICE, Pin.CONNECTED, now=10)
    assert told(known, ALICE, now=10) == []


def test_an_unpinned_peer_counts_as_touched() -> None:
    known = book(peers=2)
    learn(known, ALICE, "one")
    known.pin(ALICE, Pin.CONNECTED, now=0)
    learn(known, BOB, "one")
    known.unpin(ALICE, Pin.CONNECTED, now=1)
    learn(known, CAROL, "one")
    assert told(known, ALICE) == ["one"]
    assert told(known, BOB) == []


def test_a_forgotten_peer_is_a_stranger() -> None:
    known = book()
    learn(known, ALICE, "one")
    known.forget(ALICE)
    known.forget(BOB)
    assert told(known, ALICE) == []
    assert len(known) == 0


def test_its_repr_is_its_state() -> None:
    known = book(peers=9)
    learn(known, ALICE, "one")
    known.pin(BOB, Pin.BOOTSTRAP, now=0)
    assert repr(known) == "<AddressBook peers=2/9 pinned=1>"


# Against plain lists


@dataclass
class Naive:
    """The same rules on plain lists: each address has a rank, and every question sorts by it."""

    max_peers: int
    max_addresses: int
    recent: list[PeerId] = field(default_factory=list)
    pins: dict[PeerId, set[Pin]] = field(default_factory=dict)
    places: dict[PeerId, dict[str, dict[str, float]]] = field(default_factory=dict)
    clock: int = 0

    def pinned(self, peer: PeerId) -> bool:
        return bool(self.pins.get(peer))

    def learn(self, peer: PeerId, names: list[str], now: float, lifetime: float) -> None:
        if names:
            self.hear(peer, names, now, lifetime)
            self.keep_best(peer)
            self.touch(peer)

    def hear(self, peer: PeerId, names: list[str], now: float, lifetime: float) -> None:
        names = list(dict.fromkeys(names[: self.max_addresses]))
        self.places.setdefault(peer, {})
        self.sweep(peer, now)
        mine = self.places[peer]
        self.clock += 1
        for position, name in enumerate(names):
            if name not in mine:
                mine[name] = {"class": 1, "rank": -self.clock, "position": position, "life": lifetime, "end": now + lifetime}
                mine[name]["sure"] = False
            elif mine[name]["class"] != 2:
                mine[name]["life"] = max(mine[name]["life"], lifetime)
                mine[name]["end"] = max(mine[name]["end"], now + mine[name]["life"])

    def keep_best(self, peer: PeerId) -> None:
        mine = self.places[peer]
        by_worth = sorted(self.order(peer), key=lambda name: not (mine[name]["sure"] and mine[name]["class"] != 2))
        for name in by_worth[self.max_addresses :]:
            del mine[name]

    def judge(self, peer: PeerId, name: str, now: float, works: bool) -> None:
        place = self.places.get(peer, {}).get(name)
        if place is None:
            return
        self.clock += 1
        place |= {"class": 0, "rank": -self.clock} if works else {"class": 2, "rank": self.clock}
        if works:
            place["end"] = max(place["end"], now + place["life"])
            place["sure"] = True
            self.touch(peer)

    def pin(self, peer: PeerId, why: Pin, now: float) -> None:
        self.places.setdefault(peer, {})
        self.sweep(peer, now)
        self.pins.setdefault(peer, set()).add(why)
        self.make_room()

    def unpin(self, peer: PeerId, why: Pin, now: float) -> None:
        if why not in self.pins.get(peer, set()):
            return
        self.pins[peer].remove(why)
        if self.pinned(peer):
            return
        for place in self.places[peer].values():
            if place["class"] != 2:
                place["end"] = max(place["end"], now + place["life"])
        self.sweep(peer, now)
        if self.places[peer]:
            self.touch(peer)
        else:
            del self.places[peer]

    def forget(self, peer: PeerId) -> None:
        if not self.pinned(peer):
            self.places.pop(peer, None)

    def expire(self, now: float) -> None:
        for peer in list(self.places):
            self.sweep(peer, now)
            if not self.places[peer]:
                self.forget(peer)

    def declare(self, peer: PeerId, names: list[str], now: float, lifetime: float) -> None:
        for name in self.order(peer):
            if name not in names:
                self.judge(peer, name, now, works=False)
        if names:
            self.hear(peer, names, now, lifetime)
            for name in set(names) & set(self.places[peer]):
                self.places[peer][name]["sure"] = True
            self.keep_best(peer)
            self.touch(peer)

    def sweep(self, peer: PeerId, now: float) -> None:
        self.places[peer] = {name: self.places[peer][name] for name in self.told(peer, now)}

    def touch(self, peer: PeerId) -> None:
        self.recent = [each for each in self.recent if each != peer] + [peer]
        self.make_room()

    def make_room(self) -> None:
        loose = [peer for peer in self.recent if peer in self.places and not self.pinned(peer)]
        for peer in loose[: max(0, len(self.places) - self.max_peers)]:
            del self.places[peer]

    def order(self, peer: PeerId) -> list[str]:
        mine = self.places.get(peer, {})
        return sorted(mine, key=lambda name: (mine[name]["class"], mine[name]["rank"], mine[name].get("position", 0)))

    def told(self, peer: PeerId, now: float) -> list[str]:
        held, places = self.pinned(peer), self.places.get(peer, {})
        for_ever = held and Pin.BOOTSTRAP in self.pins[peer]
        stays = {name for name, place in places.items() if for_ever or (held and place["class"] != 2) or now < place["end"]}
        current = [name for name in self.order(peer) if name in stays]
        return current or (self.order(peer) if held else [])


PEERS = [ALICE, BOB, CAROL, DAVE]
a_peer = st.sampled_from(PEERS)
a_name = st.sampled_from("abcdef")
a_step = st.one_of(
    st.tuples(st.just("learn"), a_peer, st.lists(a_name, max_size=5), st.integers(1, 5)),
    st.tuples(st.just("declare"), a_peer, st.lists(a_name, max_size=5), st.integers(1, 5)),
    st.tuples(st.just("worked"), a_peer, a_name),
    st.tuples(st.just("failed"), a_peer, a_name),
    st.tuples(st.just("pin"), a_peer, st.sampled_from(list(Pin))),
    st.tuples(st.just("unpin"), a_peer, st.sampled_from(list(Pin))),
    st.tuples(st.just("forget"), a_peer),
    st.tuples(st.just("expire")),
)


@pytest.mark.scenario("L14")
@settings(max_examples=examples(500))
@given(peers=st.integers(1, 3), addresses=st.integers(1, 4), steps=st.lists(st.tuples(st.integers(0, 2), a_step), max_size=60))
def test_the_book_does_what_plain_lists_do(peers: int, addresses: int, steps: list) -> None:
    known = book(peers, addresses)
    naive = Naive(peers, addresses)
    now = 0
    for pause, step in steps:
        now += pause
        match step:
            case "learn", peer, names, lifetime:
                learn(known, peer, *names, now=now, lifetime=lifetime)
                naive.learn(peer, names, now, lifetime)
            case "declare", peer, names, lifetime:
                known.declared(PeerInfo(peer, tuple(at(name) for name in names)), None, now, lifetime)
                naive.declare(peer, names, now, lifetime)
            case "worked", peer, name:
                known.worked(peer, at(name), now)
                naive.judge(peer, name, now, works=True)
            case "failed", peer, name:
                known.failed(peer, at(name))
                naive.judge(peer, name, now, works=False)
            case "pin", peer, why:
                known.pin(peer, why, now)
                naive.pin(peer, why, now)
            case "unpin", peer, why:
                known.unpin(peer, why, now)
                naive.unpin(peer, why, now)
            case "forget", peer:
                known.forget(peer)
                naive.forget(peer)
            case _:
                known.expire(now)
                naive.expire(now)
        assert len(known) == len(naive.places)
        assert [told(known, peer, now) for peer in PEERS] == [naive.told(peer, now) for peer in PEERS]
        pinned = sum(naive.pinned(peer) for peer in PEERS)
        assert len(known) <= max(peers, pinned)
        assert all(len(told(known, peer, now)) <= addresses for peer in PEERS)
