"""Which of two records stays, for how long, and what is told of it. Values are numbers: the larger is the better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pkad.core.peers import Address, PeerId, PeerInfo, Scope
from p2pkad.core.records import (
    Record,
    StoredProvider,
    StoredRecord,
    expiry,
    format_time,
    keep,
    provider_at,
    seconds_left,
    served,
)
from p2pkad.errors import InvalidRecord, StaleRecord

LIFETIME = 1000
PUBLISHER = b"the publisher"


def record(value: int = 1, *, ttl: int = 0, publisher: bytes = b"") -> Record:
    return Record(b"/n/k", b"%d" % value, ttl=ttl, publisher=publisher)


def largest(key: bytes, values: Sequence[bytes]) -> int:
    numbers = [int(value) for value in values]
    return numbers.index(max(numbers))


def put(stored: StoredRecord | None, came: Record, now: float, *, says: float | None = None, own: bool = False) -> StoredRecord:
    decide = keep(came, now=now, lifetime=LIFETIME, select=largest, expires=lambda key, value: says, own=own)
    return decide(stored)


def test_a_first_record_is_kept_as_it_came_with_the_time_it_came() -> None:
    came = record(ttl=7, publisher=PUBLISHER)
    stored = put(None, came, now=5)
    assert stored.record == replace(came, time_received="1970-01-01T00:00:05.000000000Z")
    assert (stored.received, stored.own) == (5, False)


@pytest.mark.parametrize(
    ("ttl", "says", "end"),
    [(0, None, 1010), (60, None, 70), (5000, None, 1010), (0, 90.0, 90), (60, 90.0, 70), (85, 90.0, 90), (0, 2000.0, 1010)],
)
def test_a_record_lives_as_long_as_the_shortest_word_says(ttl: int, says: float | None, end: float) -> None:
    assert expiry(record(ttl=ttl), now=10, lifetime=LIFETIME, expires=lambda key, value: says) == end


def test_the_validator_is_asked_about_this_very_value() -> None:
    asked = []
    expiry(record(7), now=0, lifetime=1, expires=lambda *what: asked.append(what))
    assert asked == [(b"/n/k", b"7")]


@pytest.mark.scenario("V8")
def test_a_record_that_is_dead_on_arrival_is_refused() -> None:
    with pytest.raises(InvalidRecord, match="expired 5 seconds ago"):
        put(None, record(), now=10, says=5)
    with pytest.raises(InvalidRecord):
        put(None, record(), now=10, says=10)


@pytest.mark.scenario("V3")
def test_a_worse_record_never_replaces_a_better_one() -> None:
    with pytest.raises(StaleRecord) as caught:
        put(put(None, record(2), now=0), record(1), now=1)
    assert caught.value.key == b"/n/k"


@pytest.mark.scenario("V3")
def test_of_two_records_that_are_equally_good_the_stored_one_stays() -> None:
    decide = keep(record(2), now=1, lifetime=LIFETIME, select=lambda key, values: 0, expires=lambda key, value: None)
    with pytest.raises(StaleRecord):
        decide(put(None, record(1), now=0))


@pytest.mark.scenario("V3")
def test_a_better_record_replaces_a_worse_one_and_brings_its_own_lifetime() -> None:
    stored = put(put(None, record(1), now=0), record(2, ttl=60), now=10)
    assert (stored.record.value, stored.received, stored.expires) == (b"2", 10, 70)


@pytest.mark.scenario("V8")
def test_what_has_expired_is_as_good_as_nothing() -> None:
    dead = put(None, record(2, ttl=10), now=0)
    assert put(dead, record(1), now=10).record.value == b"1"
    with pytest.raises(StaleRecord):
        put(dead, record(1), now=9.9)


@pytest.mark.scenario("V3")
def test_an_identical_record_renews_the_usual_lifetime() -> None:
    stored = put(put(None, record(), now=0), record(), now=400)
    assert (stored.received, stored.expires) == (400, 1400)
    assert stored.record.time_received == format_time(400)


@pytest.mark.scenario("V14")
def test_what_the_validator_says_is_never_renewed_beyond() -> None:
    stored = put(None, record(), now=0, says=500)
    for now in (100, 499):
        stored = put(stored, record(ttl=900, publisher=PUBLISHER), now, says=500)
        assert stored.expires == 500


@pytest.mark.scenario("V14")
def test_a_short_ttl_holds_when_the_record_comes_back_without_one() -> None:
    stored = put(None, record(ttl=60), now=0)
    assert put(stored, record(), now=30) == stored


@pytest.mark.scenario("V14")
def test_a_short_ttl_holds_when_rust_passes_on_a_copy_that_lost_its_own() -> None:
    stored = put(None, record(ttl=60, publisher=PUBLISHER), now=0)
    assert put(stored, record(ttl=900), now=30) == stored


def test_the_publisher_renews_with_a_new_ttl() -> None:
    stored = put(put(None, record(ttl=60, publisher=PUBLISHER), now=0), record(ttl=60, publisher=PUBLISHER), now=30)
    assert (stored.received, stored.expires) == (30, 90)


def test_a_publisher_who_never_gave_a_name_renews_with_a_new_ttl_too() -> None:
    assert put(put(None, record(ttl=60), now=0), record(ttl=60), now=30).expires == 90
    assert put(put(None, record(ttl=60), now=0), record(ttl=60, publisher=PUBLISHER), now=30).expires == 90


def test_a_holder_who_passes_on_the_seconds_left_renews_nothing() -> None:
    first = put(None, record(ttl=60, publisher=PUBLISHER), now=0)
    copy = served(first, now=20.5)
    assert copy.ttl == 39
    assert put(first, copy, now=20.5) == first


def test_nobody_can_end_a_record_by_putting_it_again_with_a_shorter_ttl() -> None:
    stored = put(None, record(publisher=PUBLISHER), now=0)
    assert put(stored, record(ttl=1, publisher=PUBLISHER), now=0.5) == stored


def test_a_ttl_that_comes_later_renews_but_does_not_bind_a_publisher_who_gives_none() -> None:
    stored = put(put(None, record(), now=0), record(ttl=900), now=500)
    assert (stored.expires, stored.record.ttl) == (1400, 0)
    assert put(stored, record(), now=600).expires == 1600


@pytest.mark.scenario("V14")
@given(st.lists(st.tuples(st.integers(0, 200), st.sampled_from(["lost both", "new ttl", "first hand"]), st.integers(1, 3000))))
def test_copies_on_their_way_round_never_move_the_end_and_renewals_never_shorten_it(
    puts: list[tuple[int, str, int]],
) -> None:
    now, stored = 0.0, put(None, record(ttl=500, publisher=PUBLISHER), now=0)
    for after, kind, ttl in puts:
        now += after
        if now >= stored.expires:
            return
        came = {"lost both": record(), "new ttl": record(ttl=ttl), "first hand": record(ttl=ttl, publisher=PUBLISHER)}[kind]
        then = put(stored, came, now)
        if kind == "first hand":
            assert then.expires == max(stored.expires, now + min(ttl, LIFETIME))
        else:
            assert then == stored
        stored = then


def test_the_nodes_own_record_stays_its_own_also_when_a_better_one_comes() -> None:
    own = put(None, record(1), now=0, own=True)
    assert own.own
    assert put(own, record(2), now=1).own


def test_only_the_node_itself_renews_its_own_record_and_may_shorten_it() -> None:
    own = put(None, record(ttl=100), now=0, own=True)
    assert put(own, record(ttl=900), now=1) == own
    assert put(own, record(ttl=50), now=1, own=True).expires == 51


def test_a_record_becomes_own_when_the_node_puts_the_same_value() -> None:
    stored = put(put(None, record(), now=0), record(ttl=50), now=1, own=True)
    assert (stored.own, stored.record.ttl) == (True, 50)


def test_a_ttl_is_told_as_the_seconds_left_and_never_as_none() -> None:
    stored = put(None, record(ttl=60, publisher=PUBLISHER), now=0)
    assert served(stored, now=10.2) == replace(stored.record, ttl=49)
    assert served(stored, now=59.9).ttl == 1


def test_a_record_that_came_without_a_ttl_is_told_without_one() -> None:
    stored = put(None, record(), now=0)
    assert served(stored, now=10) == stored.record


def test_seconds_left_fit_the_wire() -> None:
    assert seconds_left(float("inf"), now=0) == 2**32 - 1
    assert seconds_left(5, now=9) == 1


HOME = Address(b"\x04\x7f\0\0\1", "/ip4/127.0.0.1", Scope.LOOPBACK)


@pytest.mark.parametrize(("now", "left"), [(9, "all"), (10, "the id"), (19.9, "the id"), (20, "nothing")])
def test_a_providers_addresses_age_faster_than_the_provider(now: float, left: str) -> None:
    stored = StoredProvider(PeerInfo(PeerId(b"p"), (HOME,)), received=0, expires=20, addresses_expire=10)
    bare = replace(stored, provider=PeerInfo(PeerId(b"p")))
    assert provider_at(stored, now) == {"all": stored, "the id": bare, "nothing": None}[left]


def test_a_time_is_written_with_nine_digits_in_utc() -> None:
    assert format_time(1704164645.5) == "2024-01-02T03:04:05.500000000Z"
    assert format_time(0) == "1970-01-01T00:00:00.000000000Z"


@given(st.floats(0, 250_000_000_000))
def test_a_written_time_reads_back(seconds: float) -> None:
    back = datetime.fromisoformat(format_time(seconds)).timestamp()
    assert back == pytest.approx(seconds, abs=1e-6, rel=1e-15)
