"""What a network of all implementations is judged by, and a small one."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import cast

import networks
import pytest
import shares
from cells import DEVIATIONS, lines_of
from crowd import Crowd, Kind, Member, Reading, Setting, Writing, Written, casualties, in_groups, key_of, together
from driver import Answer, Driver, Language, Peer, PeerDied, PeerSilent, plain
from failures import leaves
from shares import Report, Summary

from tests.interop.test_matrix import MORTAL

NAMES = ("go", "rust", "js", "p2pkad")


class Named:
    """All of a peer that is looked at here."""

    def __init__(self, name: str) -> None:
        self.name = name


def members(each: int) -> list[Member]:
    return [Member(name, cast("Peer", Named(f"{name}-{number}"))) for name in NAMES for number in range(each)]


def readings(name: str, complaints: Sequence[str | None], kind: Kind = "values") -> list[Reading]:
    member = Member(name, cast("Peer", Named(name)))
    return [Reading(member, Written(kind, b"key", member), complaint) for complaint in complaints]


def report(**phases: list[Reading]) -> Report:
    made = Report("go", "python interop/networks.py --bootstrap=go")
    for phase, of_phase in phases.items():
        made.count(phase, of_phase)
    return made


def test_reads_are_counted_for_the_implementation_that_reads() -> None:
    made = report(first=[*readings("go", [None, None, None, "lost"]), *readings("js", [None], "providers")])
    assert made.shares == {("first", "values", "go"): 75.0, ("first", "providers", "js"): 100.0}
    assert shares.row(made, "first", "values", ["go", "js"]) == ["75.0 %", "-"]
    assert made.complaints == ["first: lost"]


@pytest.mark.parametrize(("name", "missed"), [("p2pkad", 0), ("go", 1), ("rust", 1), ("js", 5)])
def test_each_implementation_may_miss_what_it_is_allowed_and_no_more(name: str, missed: int) -> None:
    made = report(first=readings(name, [None] * (100 - missed) + ["lost"] * missed))
    assert made.passes
    made = report(first=readings(name, [None] * (99 - missed) + ["lost"] * (missed + 1)))
    assert not made.passes
    assert shares.faults(made)[0] == f"first: {name} misses more than {missed} % of the values"


def test_each_phase_and_kind_is_judged_for_itself() -> None:
    made = report(first=readings("go", [None] * 1000), then=readings("go", ["lost"], "providers"))
    assert made.short == [("then", "providers", "go")]


def writings(name: str, failed: int, of: int) -> list[Writing]:
    member = Member(name, cast("Peer", Named(name)))
    return [Writing(Written("values", b"key", member), "put: failed" if number < failed else None) for number in range(of)]


@pytest.mark.parametrize(("name", "failed"), [("p2pkad", 0), ("go", 5), ("rust", 5), ("js", 5)])
def test_each_implementation_may_fail_so_many_writes_and_no_more(name: str, failed: int) -> None:
    made = report(first=readings("go", [None]))
    made.count_writes(writings(name, failed, of=50))
    assert made.passes
    made = report(first=readings("go", [None]))
    made.count_writes(writings(name, failed + 1, of=50))
    assert not made.passes
    assert shares.faults(made)[0] == f"more than {10 * failed // 5} % of what {name} was to write failed"
    assert f"; not written: {failed + 1} of 50 by {name}" in shares.heading(made)
    assert json.loads(shares.json_text(Summary([made], NAMES, {}, [])))["networks"][0]["unwritten"] == {name: failed + 1}


def test_every_allowance_has_a_line_that_explains_it() -> None:
    named = {allowed.line for allowed in shares.ALLOWED.values() if allowed.line is not None}
    assert named - lines_of(DEVIATIONS.read_text()) == set()


def test_a_third_is_lost_and_some_of_each_implementation() -> None:
    for seed in range(20):
        lost = casualties(members(5), Random(seed))
        assert len(lost) == len(set(map(id, lost))) == 6
        assert {member.implementation for member in lost} == set(NAMES)
    assert len({tuple(one.peer.name for one in casualties(members(5), Random(seed))) for seed in range(20)}) > 1


class Reader(Named):
    """Says whether it holds everything, and gets whatever it asks for."""

    def __init__(self, name: str, held: bool) -> None:
        super().__init__(name)
        self.held = held

    async def ask(self, verb: str, *, key: bytes, **_: object) -> Answer:
        if verb == "holds":
            return {"value": self.held, "providers": []}
        return {"value": plain(key)}

    async def kill(self) -> None:
        pass


def crowd_of(readers: int, held: Sequence[bool]) -> Crowd:
    """The first of these has written a record; each holds it or not."""
    setting = Setting("seed", readers=readers)
    crowd = Crowd(cast("Driver", None), {}, setting, "go")
    crowd.members = [Member("go", cast("Peer", Reader(f"go-{number}", each))) for number, each in enumerate(held)]
    crowd.written = [Written("values", b"key", crowd.members[0])]
    return crowd


async def readers_of(readers: int, held: Sequence[bool]) -> list[str]:
    """Who reads, in order."""
    crowd = crowd_of(readers, held)
    readings = await crowd.read(crowd.members)
    assert {reading.complaint for reading in readings} <= {None}
    return sorted(reading.reader.peer.name for reading in readings)


async def test_nobody_reads_what_it_wrote_or_holds() -> None:
    assert await readers_of(1, [False, True, False, True]) == ["go-2"]
    assert await readers_of(5, [False, True, False, False]) == ["go-2", "go-3"]
    assert await readers_of(5, [False, True, True, True]) == []


async def test_whom_a_seed_kills_does_not_depend_on_who_held_what() -> None:
    lost = set()
    for held in [False] * 12, [True] * 12, [False, True] * 6:
        crowd = crowd_of(5, held)
        await crowd.read(crowd.members)
        lost.add(tuple(member.peer.name for member in await crowd.lose()))
    assert len(lost) == 1


async def test_a_record_is_read_by_as_many_as_the_setting_says() -> None:
    assert len(await readers_of(2, [False] * 5)) == 2


def test_who_may_read_is_drawn_from_all_of_each_implementation() -> None:
    groups = in_groups(members(5), Random(1))
    assert [{member.implementation for member in group} for group in groups] == [{name} for name in NAMES]
    assert [len(set(map(id, group))) for group in groups] == [5] * 4
    assert len({in_groups(members(5), Random(seed))[0][0].peer.name for seed in range(20)}) > 1


def test_keys_are_what_each_implementation_takes() -> None:
    assert key_of("values", "a").startswith(b"/violence/")
    assert key_of("providers", "a")[:2] == b"\x12\x20"
    assert len(key_of("providers", "a")) == 34
    assert key_of("providers", "a") != key_of("providers", "b")


async def test_what_is_done_together_comes_back_in_its_order() -> None:
    async def double(number: int) -> int:
        return 2 * number

    assert await together(double, range(100)) == [2 * number for number in range(100)]


def test_the_tables_have_all_networks_and_what_repeats_them() -> None:
    good = report(first=readings("go", [None, None]))
    bad = report(first=readings("p2pkad", [None, "lost"]))
    summary = Summary([good, bad], NAMES, asdict(Setting("s")), ["NOT RUN: no js"])
    assert "first            values            100.0 %             -" in shares.text(good, NAMES)
    page = shares.markdown(summary)
    assert "| first | values | 100.0 % | - | - | - |" in page
    assert "| first | values | - | - | - | 50.0 % |" in page
    assert "- first: p2pkad misses more than 0 % of the values" in page
    assert "**NOT RUN: no js**" in page
    assert page.count("`python interop/networks.py --bootstrap=go`") == 2
    data = json.loads(shares.json_text(summary))
    assert [network["passes"] for network in data["networks"]] == [True, False]
    assert data["networks"][1]["shares"] == [{"phase": "first", "kind": "values", "reader": "p2pkad", "reads": 2, "right": 1}]
    assert data["missing"] == ["NOT RUN: no js"]
    assert summary.verdict == "1 as they should be; FAILED: go first; NOT RUN: no js"


def test_where_nothing_was_played_nothing_passes() -> None:
    summary = Summary([], NAMES, asdict(Setting("s")), ["NOT RUN: no rust"])
    assert not summary.passes
    assert summary.verdict == "FAILED: nothing was played; NOT RUN: no rust"


def test_links_of_the_table_reach_the_page_of_deviations() -> None:
    assert (networks.LOGS / shares.PAGE_OF_LINES).resolve() == DEVIATIONS


async def test_a_network_that_breaks_off_fails_and_says_why(tmp_path: Path) -> None:
    made = await networks.run("a", {"a": MORTAL}, Setting("my seed", each=2), tmp_path)
    assert not made.passes
    assert made.broken is not None
    assert "there is no port left" in made.broken
    assert made.repeat.startswith("python interop/networks.py --bootstrap=a '--seed=my seed' --each=2")


def test_errors_of_several_peers_are_all_named() -> None:
    one, two, three = PeerDied("one"), PeerSilent("two"), PeerDied("three")
    assert leaves(ExceptionGroup("", [one, ExceptionGroup("", [two, three])])) == [one, two, three]


@pytest.mark.foreign
async def test_a_small_network_reads_all(language_of: Callable[[str], Language], tmp_path: Path) -> None:
    languages = {name: language_of(name) for name in NAMES}
    setting = Setting("small", each=1, records=4, bucket_size=3)
    made = await networks.run("go", languages, setting, tmp_path)
    assert shares.faults(made) == []
    assert set(made.shares.values()) == {100.0}
    assert len(made.killed) == 1
    assert made.versions.keys() == set(NAMES)
