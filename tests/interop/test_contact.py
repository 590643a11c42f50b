"""What becomes of a run of contact that cannot go on, and who is killed in it."""

from __future__ import annotations

from pathlib import Path
from random import Random

import contact
import pytest
from driver import Peer, PeerSilent
from gathering import Network, Setting, fitting_seeds
from restarts import casualties
from trials import Kind, Node


async def test_a_peer_that_falls_silent_in_a_nursery_breaks_a_run_off(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    async def gather(*_: object) -> contact.Network:
        raise ExceptionGroup("", [PeerSilent("server-1: no answer")])

    monkeypatch.setattr(contact, "gather", gather)
    monkeypatch.setattr(contact, "LOGS", tmp_path)
    assert not await contact.contact_all(contact.SETTINGS[:1], "seed", tmp_path)
    assert "defaults: BROKEN OFF: server-1: no answer" in capsys.readouterr().out


def node(name: str, kind: Kind) -> Node:
    made = Peer.__new__(Peer)
    made.name = name
    return Node(made, kind)


@pytest.mark.parametrize(("each", "killed"), [(10, 7), (5, 4), (3, 2)])
def test_a_third_is_killed_of_servers_and_of_clients(each: int, killed: int, tmp_path: Path) -> None:
    kinds: tuple[Kind, ...] = ("server", "client")
    nodes = [node(f"{kind}-{number}", kind) for kind in kinds for number in range(each)]
    network = Network(node("go", "go"), nodes, {}, tmp_path)
    chosen = casualties(network, Random(1))
    assert len({*map(str, chosen)}) == killed
    assert [each.kind for each in chosen] == [kinds[number % 2] for number in range(killed)]


def test_the_buckets_of_go_have_room_for_all_servers() -> None:
    setting = Setting("k=3", 5, 3, True)
    assert fitting_seeds("seed", setting) == fitting_seeds("seed", setting)
    assert len(fitting_seeds("seed", setting)) == 11
