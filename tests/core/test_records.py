"""Which of two records stays, for how long, and what is told of it. Values are numbers: the larger is the better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

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
    parse_time,
    passed_on,
    provider_at,
    seconds_left,
    served,
)
from p2pkad.errors import InvalidRecord, StaleRecord

LIFETIME = 1000
PUBLISHER = b"the publisher"


def record(value: int = 1, *, ttl: int = 0, publisher: bytes = b"") -> Record:
    return Record(b"/n/k", b"%d" % value, ttl=ttl, publisher=publisher)


class Numbers:
    """Values are numbers, and the largest wins; one of `outlawed` is not valid, nor comparable. says: when all of them die."""

    def __init__(self, says: float | None = None, outlawed: Sequence[int] = ()) -> None:
        self.says = says
        self.outlawed = outlawed

    def accepts(self, key: bytes, value: bytes, now: float) -> bool:
        return int(value) not in self.outlawed

    def select(self, key: bytes, values: Sequence[bytes]) -> int:
        numbers = [int(value) for value in values]
        if set(numbers) & set(self.outlawed):
            raise InvalidRecord(key, "it is outlawed")
        return numbers.index(max(numbers))

    def expires(self, key: bytes, value: bytes) -> float | None:
        return self.says


def put(stored: StoredRecord | None, came: Record, now: float, *, says: float | None = None, own: bool = False) -> StoredRecord:
    return keep(came, now=now, lifetime=LIFETIME, rules=Numbers(says), own=own)(stored)


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
    class Undecided(Numbers):
        def select(self, key: bytes, values: Sequence[bytes]) -> int:
            return 0

    with pytest.raises(StaleRecord):
        keep(record(2), now=1, lifetime=LIFETIME, rules=Undecided())(put(None, record(1), now=0))


@pytest.mark.scenario("V3", "V15")
def test_what_is_stored_and_not_valid_any_more_keeps_nothing_out() -> None:
    stored = put(None, record(9), now=0)
    stands = keep(record(2), now=1, lifetime=LIFETIME, rules=Numbers(outlawed=[9]))(stored)
    assert (stands.record.value, stands.expires) == (b"2", 1 + LIFETIME)


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


def test_the_nodes_own_record_is_its_own_until_a_better_one_of_somebody_else_comes() -> None:
    own = put(None, record(1), now=0, own=True)
    assert (own.own, put(own, record(1), now=1)) == (True, own)
    assert not put(own, record(2), now=1).own


def test_only_the_node_itself_renews_its_own_record_and_may_shorten_it() -> None:
    own = put(None, record(ttl=100), now=0, own=True)
    assert put(own, record(ttl=900), now=1) == own
    assert put(own, record(ttl=50), now=1, own=True).expires == 51


def test_a_record_becomes_own_when_the_node_puts_the_same_value() -> None:
    stored = put(put(None, record(), now=0), record(ttl=50), now=1, own=True)
    assert (stored.own, stored.record.ttl) == (True, 50)


def aged(seconds: float, now: float, *, ttl: int = 0) -> Record:
    """A copy that says it was renewed so long before `now`."""
    return replace(record(ttl=ttl), time_received=format_time(now - seconds))


@pytest.mark.scenario("V12")
def test_a_copy_lives_as_long_as_is_left_of_the_lifetime_of_what_was_copied() -> None:
    stored = put(None, aged(400, now=2000), now=2000)
    assert (stored.expires, stored.received) == (2600, 2000)
    assert served(stored, now=2500) == aged(400, now=2000), "and whoever gets it next learns the same age"


@pytest.mark.scenario("V12")
def test_a_copy_renews_what_is_stored_only_as_far_as_it_is_younger_itself() -> None:
    stored = put(None, record(), now=2000)
    assert put(stored, aged(700, now=2500), now=2500) == stored
    younger = put(stored, aged(100, now=2500), now=2500)
    assert younger.expires == 3400
    assert put(younger, record(), now=2600).expires == 3600, "the publisher renews it as ever"


@pytest.mark.parametrize("age", [-5, LIFETIME, LIFETIME + 1])
def test_an_age_that_cannot_be_is_not_believed(age: float) -> None:
    assert put(None, aged(age, now=5000), now=5000).expires == 5000 + LIFETIME


@pytest.mark.parametrize("text", ["", "yesterday", "1970-01-01", "1970-01-01T00:00:00", "1970-01-01T00:00:61Z", "\0", "²"])
def test_a_time_that_cannot_be_read_is_none(text: str) -> None:
    assert parse_time(text) is None
    assert put(None, replace(record(), time_received=text), now=1).expires == 1 + LIFETIME


@pytest.mark.parametrize("text", ["1970-01-01T00:01:00.000000000Z", "1970-01-01T00:01:00Z", "1970-01-01T02:01:00+02:00"])
def test_times_are_read_in_all_forms_of_the_rfc(text: str) -> None:
    assert parse_time(text) == 60


@pytest.mark.scenario("V12")
def test_a_copy_for_a_peer_without_one_has_the_age_of_the_youngest_and_for_rust_the_seconds_left() -> None:
    copies = [aged(900, now=2000), aged(300, now=2000), aged(500, now=2000)]
    assert passed_on(copies, asked=2000, now=2000, lifetime=LIFETIME) == aged(300, now=2000, ttl=700)


@pytest.mark.scenario("V14")
@pytest.mark.parametrize(("now", "ttl"), [(2000, 300), (2000.5, 299), (2298, 2), (2299, None), (2300, None), (1990, 300)])
def test_a_record_with_a_ttl_is_passed_on_as_it_came_with_the_seconds_left_since_the_reader_began_to_ask(
    now: float, ttl: int | None
) -> None:
    came = replace(record(ttl=300, publisher=PUBLISHER), time_received=format_time(1000))
    copy = passed_on([aged(900, now=2000), came], asked=2000, now=now, lifetime=LIFETIME)
    assert copy == (None if ttl is None else replace(came, ttl=ttl))


@pytest.mark.scenario("V14")
@given(
    st.sampled_from([PUBLISHER, b""]),
    st.lists(st.tuples(st.integers(0, 160), st.integers(0, 40), st.integers(0, 40), st.integers(0, 3), st.integers(0, 3))),
)
def test_however_readers_pass_a_record_on_its_ttl_holds(
    publisher: bytes, corrections: list[tuple[int, int, int, int, int]]
) -> None:
    begin = 10 * LIFETIME
    holders = [put(None, record(ttl=50, publisher=publisher), now=begin), *[None] * 3]
    now: float = begin
    for after, until_told, until_done, reads_from, brings_to in corrections:  # in quarters of a second
        asked = now + after / 4
        told_at = asked + until_told / 4
        now = told_at + until_done / 4
        source = holders[reads_from]
        if source is not None and source.expires > told_at:
            copy = passed_on([served(source, told_at)], asked=asked, now=now, lifetime=LIFETIME)
            holders[brings_to] = put(holders[brings_to], copy, now) if copy is not None else holders[brings_to]
        assert all(stored is None or stored.expires <= begin + 50 for stored in holders)


@pytest.mark.scenario("V12")
def test_what_was_passed_on_is_no_record_that_ends_early_its_publisher_renews_it_without_a_ttl() -> None:
    copy = put(None, passed_on([aged(300, now=2000)], asked=2000, now=2000, lifetime=LIFETIME), now=2000)
    assert (copy.expires, copy.record.ttl) == (2700, 0)
    assert put(copy, record(), now=2500).expires == 3500


@pytest.mark.scenario("V12")
def test_clocks_that_differ_make_no_copy_live_longer() -> None:
    sent = passed_on([aged(300, now=2000)], asked=2000, now=2000, lifetime=LIFETIME)
    behind = put(None, sent, now=100)
    assert behind.expires == 100 + 700
    again = passed_on([served(behind, now=200)], asked=200, now=200, lifetime=LIFETIME)
    assert again.ttl == 600


@pytest.mark.scenario("V12")
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 60), st.integers(0, 3), st.integers(0, 3)), max_size=30))
def test_however_readers_pass_a_record_on_it_is_gone_one_lifetime_after_its_last_renewal(
    corrections: list[tuple[int, int, int, int]],
) -> None:
    begin = 10 * LIFETIME
    holders = [put(None, record(), now=begin), *[None] * 3]
    now: float = begin
    for after, takes, reads_from, brings_to in corrections:
        now += after
        source = holders[reads_from]
        if source is not None and source.expires > now:
            copy = passed_on([served(source, now)], asked=now, now=now + takes, lifetime=LIFETIME)
            now += takes
            holders[brings_to] = put(holders[brings_to], copy, now) if copy is not None else holders[brings_to]
        assert all(stored is None or stored.expires <= begin + LIFETIME for stored in holders)


@pytest.mark.scenario("V12")
@pytest.mark.parametrize(("now", "ttl"), [(2008, 2), (2008.5, 1), (2009, None), (2010, None), (2011, None)])
def test_a_copy_that_ends_while_it_is_looked_up_does_not_begin_anew(now: float, ttl: int | None) -> None:
    copy = passed_on([aged(LIFETIME - 10, now=2000)], asked=2000, now=now, lifetime=LIFETIME)
    assert copy == (None if ttl is None else aged(LIFETIME - 10, now=2000, ttl=ttl))


def test_the_nodes_own_record_is_told_as_renewed_this_moment() -> None:
    own = put(None, record(), now=0, own=True)
    assert served(own, now=800).time_received == format_time(800)


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
    back = parse_time(format_time(seconds))
    assert back == pytest.approx(seconds, abs=1e-6, rel=1e-15)
