"""What a real host refuses for its limits, and that it says so."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio

from p2pkad.core.messages import AnyReply
from p2pkad.errors import P2pkadError
from p2pkad.net.base import Limited, Request
from p2pkad.net.libp2p.prefixes import Prefixes, public_prefix
from p2pkad.net.libp2p.transport import Place
from tests.net.libp2p.ends import End, an_end, ends, eventually

pytestmark = pytest.mark.scenario("H4")


async def hold(request: Request) -> AnyReply | None:
    await trio.sleep_forever()


@pytest.mark.parametrize(
    ("host", "prefix"),
    [
        ("8.8.4.4", "8.8.4.0/24"),
        ("2001:4860:4860::8888", "2001:4860:4860::/48"),
        ("127.0.0.1", None),
        ("192.168.1.7", None),
        ("::1", None),
        ("fe80::1%eth0", None),
        (None, None),
    ],
)
def test_public_addresses_have_a_prefix(host: str | None, prefix: str | None) -> None:
    assert public_prefix(host) == prefix


def test_nothing_is_remembered_of_prefixes_whose_connections_are_gone() -> None:
    prefixes = Prefixes(1)
    for number in range(200):
        prefix = public_prefix(f"8.8.{number}.1")
        assert prefixes.enter(prefix)
        assert not prefixes.enter(prefix)
        prefixes.leave(prefix)
    assert len(prefixes) == 0


async def test_from_one_corner_of_the_internet_come_only_so_many() -> None:
    async with an_end(max_connections_per_prefix=2) as victim:
        door = victim.host.backbone
        places = [Place(f"8.8.8.{number}") for number in range(3)]
        assert [await door.admit(place) for place in places] == [True, True, False]
        assert victim.told(Limited) == [Limited("connections_per_prefix", None)]
        assert await door.admit(Place("8.8.9.1")), "another corner"
        for _ in range(10):
            assert await door.admit(Place("10.0.0.1")), "a private network is not counted"
        door.left(places[0])
        assert await door.admit(Place("8.8.8.9")), "one has gone"


async def test_who_was_not_let_in_does_not_count_for_its_prefix() -> None:
    async with (
        an_end(max_connections=4, connection_reserve=0, max_connections_per_prefix=1) as full,
        ends(4, handler=hold) as others,
        trio.open_nursery() as nursery,
    ):
        door = full.host.backbone
        for other in others:
            nursery.start_soon(full.ask, other)
        await eventually(lambda: all(other.requests for other in others))
        with trio.move_on_after(0.05):
            await door.admit(Place("8.8.8.8"))
        assert not await door.admit(Place("8.8.8.8"))
        assert victim_told(full, "connections") == 1
        nursery.cancel_scope.cancel()


def victim_told(victim: End, limit: str) -> int:
    """How often."""
    return sum(event.limit == limit for event in victim.told(Limited))


async def test_a_real_connection_is_counted_for_where_it_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2pkad.net.libp2p.transport.public_prefix", lambda host: f"{host}/24")
    async with an_end(max_connections_per_prefix=2) as victim, ends(3) as others:
        await others[0].ask(victim)
        await others[1].ask(victim)
        with pytest.raises(P2pkadError):
            await others[2].ask(victim)
        assert victim_told(victim, "connections_per_prefix") >= 1
        await others[0].network.disconnect(victim.id)
        await eventually(lambda: len(victim.network.connections()) == 1)
        await others[2].ask(victim)


async def test_so_many_streams_are_open_whoever_opened_them() -> None:
    async with an_end(max_inbound_streams=3, handler=hold) as victim, ends(2) as askers, trio.open_nursery() as nursery:
        refused: list[End] = []

        async def ask(asker: End) -> None:
            try:
                await asker.ask(victim)
            except P2pkadError:
                refused.append(asker)

        for asker in (askers[0], askers[0], askers[0]):
            nursery.start_soon(ask, asker)
        await eventually(lambda: len(victim.requests) == 3)
        nursery.start_soon(ask, askers[1])
        await eventually(lambda: len(victim.requests) == 4)
        await eventually(lambda: refused == [askers[0]])  # who has three gives one up
        await ask(askers[1])
        assert refused == askers  # and who would have as many as the other is refused
        assert victim.told(Limited) == [Limited("streams", asker.id) for asker in askers]
        nursery.cancel_scope.cancel()


async def test_who_opens_more_streams_than_it_may_is_named() -> None:
    async with an_end(max_streams_per_peer=4, handler=hold) as victim, an_end() as greedy, trio.open_nursery() as nursery:

        async def ask() -> None:
            with suppress(P2pkadError):
                await greedy.ask(victim)

        for _ in range(10):
            nursery.start_soon(ask)
        await eventually(lambda: victim_told(victim, "streams_per_peer") >= 6)
        assert set(victim.told(Limited)) == {Limited("streams_per_peer", greedy.id)}
        nursery.cancel_scope.cancel()
