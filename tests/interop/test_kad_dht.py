"""A node of ours beside py-libp2p's own Kademlia: each gets what the other has, and nothing of the guest stays.

`libp2p.kad_dht` comes with libp2p, so this needs no toolchain. What else works between them is in the table that
interop/kad_dht.py makes.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import kad_dht
import pytest
from cells import Cell, Result, Scenario, Verdict
from driver import Driver, NeverHappened, Peer, PeerDied, PeerError, PeerSilent, eventually, unbase64
from kad_dht import PROTOCOL, Siege, found, guest_name, languages
from matrix import Run
from stages import Stage

import p2pkad
from p2pkad.identity import peer_id
from tests.interop.asking import PATIENCE, open_node
from tests.interop.test_matrix import MORTAL
from tests.support.census import count_tasks

ROUNDS = 4


@pytest.fixture
async def guest(driver: Driver) -> Peer:
    return await driver.start("guest", languages()["kad_dht"], validator="violence=opaque")


async def exchange(node: p2pkad.KademliaService, guest: Peer, number: int) -> None:
    """A value each way, and the guest as a provider."""
    theirs, ours = f"/violence/theirs/{number}".encode(), f"/violence/ours/{number}".encode()
    await guest.ask("put", key=theirs, value=theirs)
    assert await node.local_value(theirs) == theirs
    await node.put_value(ours, ours)
    assert unbase64((await guest.ask("get", key=ours))["value"]) == ours
    content = p2pkad.content_key(theirs)
    await guest.ask("provide", key=content)

    async def providers() -> set[str]:
        return {str(info.id) for info in await node.local_providers(content)}

    await eventually(providers, {guest.id}.__eq__, within=PATIENCE, what="the guest is a provider")


@pytest.mark.long
async def test_a_guest_is_served_and_serves_while_others_are_and_leaves_nothing_behind(guest: Peer) -> None:
    async with open_node(protocol=PROTOCOL) as node, open_node(node.addresses[0], protocol=PROTOCOL, mode="client") as other:
        await other.wait_ready(timeout=PATIENCE)
        before = count_tasks()
        await guest.ask("bootstrap", peers=[node.addresses[0]])
        for number in range(ROUNDS):
            await exchange(node, guest, number)
            key = b"/violence/others/%d" % number
            await other.put_value(key, key)
            # The guest replies to announcements: it is the one that loses by that.
            await other.provide(p2pkad.content_key(key))
            assert await other.get_value(key) == key
            assert [info.id for info in await other.find_providers(p2pkad.content_key(key))] == [other.id]
        assert peer_id(guest.id) in {info.id for info in await node.closest_peers(b"key")}
        await guest.kill()

        async def tasks() -> int:
            return count_tasks()

        await eventually(tasks, lambda count: count <= before, within=PATIENCE, what=f"{before} tasks are left")
        assert node.stats().peers == 1


@pytest.mark.long
async def test_what_it_cannot_be_asked_for_it_says(guest: Peer) -> None:
    assert (guest.ready["protocol"], guest.ready["mode"]) == (PROTOCOL, "server")
    for kind, verb, arguments in (
        ("no_peers", "put", {"key": b"/violence/a", "value": b"1"}),
        ("unsupported", "get", {"key": b"/violence/\xff"}),
        ("unsupported", "set_mode", {"mode": "client"}),
        ("usage", "connect", {}),
    ):
        with pytest.raises(PeerError) as raised:
            await guest.ask(verb, **arguments)
        assert raised.value.kind == kind


def test_the_table_tells_what_works_what_is_seen_elsewhere_and_what_was_not_tried() -> None:
    async def nothing(_: object) -> str:
        return ""

    scenario = Scenario("talk", "they talk", (), Stage.HUB, ("bootstrap", "writer"), nothing, "all")
    seen = [("p2pkad", "kad_dht", Verdict.GREEN, "all"), ("kad_dht", "p2pkad", Verdict.RED, "half, instead of: all")]
    seen.append(("kad_dht", "kad_dht", Verdict.RED, "writer: put: unsupported: verb 'put'"))
    run = Run("seed", [Result(Cell(scenario, (one, other)), verdict, detail) for one, other, verdict, detail in seen])
    *_, row = found(run).splitlines()
    elsewhere = "kad_dht/p2pkad: half<br>kad_dht/kad_dht: not tried: verb 'put'"
    assert row == f"| talk (bootstrap/writer) | p2pkad/kad_dht | {elsewhere} |"


def played() -> Siege:
    worked = Counter(map(guest_name, range(kad_dht.GUESTS)))
    return Siege(rounds=kad_dht.WARM_UP + kad_dht.ROUNDS, worked=worked)


def test_a_siege_that_took_place_and_was_not_noticed_passes() -> None:
    seen = played()
    seen.look_back()
    assert seen.passes
    assert seen.verdict == "kad_dht does no harm: 13 rounds, 4 things that its peers were told worked"


def test_a_siege_without_all_of_its_rounds_or_guests_shows_nothing() -> None:
    short, idle = played(), played()
    short.rounds -= 1
    idle.worked["guest-2"] = 0
    for seen, why in (short, "12 of 13 rounds were played"), (idle, "nothing that was asked of guest-2 worked"):
        seen.look_back()
        assert not seen.passes
        assert seen.verdict == f"the siege was not finished: {why}"


def test_whoever_else_ends_or_falls_silent_was_harmed() -> None:
    seen = played()
    for error in PeerDied("node ended by itself"), NeverHappened("not within 60 s"), PeerSilent("guest-1: no answer"):
        seen.broken_off(error)
    assert seen.harm == ["node ended by itself", "not within 60 s"]
    assert seen.unfinished == ["guest-1: no answer"]
    assert not seen.passes


@pytest.mark.long
async def test_a_guest_that_ends_by_itself_leaves_a_siege_unfinished(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with_a_mortal = {**languages(), "kad_dht": MORTAL}
    monkeypatch.setattr(kad_dht, "languages", lambda: with_a_mortal)
    seen = await kad_dht.siege(tmp_path)
    assert (seen.passes, seen.harm, seen.rounds) == (False, [], 0)
    assert seen.verdict.startswith("the siege was not finished: guest-0 ended by itself")
