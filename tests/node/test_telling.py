"""Who listens hears what it asked for, and nothing else is made."""

from __future__ import annotations

from typing import Any

import pytest

from p2pkad import events
from p2pkad.core.peers import PeerId
from p2pkad.errors import ConfigError
from p2pkad.node.telling import Telling

ALICE = PeerId(b"alice")
ADMITTED = events.PeerAdmitted(at=1.0, peer=ALICE, bucket=0)
ASKED = events.PeerAsked(at=2.0, lookup=1, key=b"key", peer=ALICE)
CHANGED = events.ModeChanged(at=3.0, mode="client")


def tell_all(telling: Telling) -> None:
    for event in (ADMITTED, ASKED, CHANGED):
        telling(event)


@pytest.mark.parametrize(
    ("kinds", "heard"),
    [
        (events.NodeEvent, [ADMITTED, ASKED, CHANGED]),
        (events.LookupEvent, [ASKED]),
        (events.ModeChanged, [CHANGED]),
        (events.ModeChanged | events.PeerAdmitted, [ADMITTED, CHANGED]),
    ],
)
def test_a_listener_hears_the_kinds_it_asked_for(kinds: type[events.NodeEvent], heard: list[events.NodeEvent]) -> None:
    telling, told = Telling(), list[events.NodeEvent]()
    telling.subscribe(told.append, kinds)
    tell_all(telling)
    assert told == heard


@pytest.mark.parametrize("listener", [None, "print"])
def test_who_cannot_be_called_does_not_listen(listener: Any) -> None:
    with pytest.raises(ConfigError, match="cannot be called with an event"):
        Telling().subscribe(listener, events.NodeEvent)


def test_who_has_to_be_awaited_does_not_listen() -> None:
    async def listener(_: events.NodeEvent) -> None:
        pass

    with pytest.raises(ConfigError, match="a plain function"):
        Telling().subscribe(listener, events.NodeEvent)  # type: ignore[arg-type]

    class Listener:
        async def __call__(self, _: events.NodeEvent) -> None:
            pass

    with pytest.raises(ConfigError, match="a plain function"):
        Telling().subscribe(Listener(), events.NodeEvent)  # type: ignore[arg-type]


@pytest.mark.parametrize("kinds", ["PeerAdmitted", int, list[events.PeerAdmitted], events.PeerAdmitted | int, None])
def test_only_events_are_listened_to(kinds: Any) -> None:
    with pytest.raises(ConfigError, match="is no class of events"):
        Telling().subscribe(print, kinds)


def test_wanted_is_what_somebody_listens_to() -> None:
    telling = Telling()
    assert not telling.wanted(events.PeerAsked)
    stop = telling.subscribe(print, events.LookupEvent)
    telling.subscribe(print, events.ModeChanged)
    assert [telling.wanted(kind) for kind in (events.PeerAsked, events.ModeChanged, events.PeerAdmitted)] == [True, True, False]
    stop()
    assert not telling.wanted(events.PeerAsked)


def test_who_has_enough_hears_no_more_and_others_go_on() -> None:
    telling, first, second = Telling(), list[events.NodeEvent](), list[events.NodeEvent]()

    def once(event: events.NodeEvent) -> None:
        first.append(event)
        stop()

    stop = telling.subscribe(once, events.NodeEvent)
    telling.subscribe(second.append, events.NodeEvent)
    tell_all(telling)
    stop()
    assert (first, second) == ([ADMITTED], [ADMITTED, ASKED, CHANGED])
