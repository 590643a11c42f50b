"""Playing cells, with peers that are not there or do not last."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import matrix
import pytest
import stages
import trio
import trio.lowlevel
from cells import TRIPLE, Result, Scenario, Verdict, cells_of
from driver import Language, open_driver
from matrix import Matrix, Run
from stages import Network, Scene, Stage

from tests.interop.made_up import KEEP, READ

FAKE = Language((sys.executable, str(Path(__file__).with_name("fake_peer.py"))))
PATIENCE = 60.0
KEEP_BY_A = replace(KEEP, roles=TRIPLE)
MORTAL = Language((sys.executable, "-c", "import sys; sys.exit('there is no port left')"))


async def test_without_its_toolchain_a_cell_is_not_run_and_says_why(tmp_path: Path) -> None:
    told: list[Result] = []
    missing = {"a": "NOT RUN: no a", "p2pkad": "NOT RUN: no p2pkad"}
    run = await Matrix({}, missing, "seed", tmp_path, told.append).play(cells_of([READ, KEEP], ["a"]))
    assert [(str(each.cell), each.verdict, each.detail) for each in run.results] == [
        ("read a/a/a", Verdict.NOT_RUN, "NOT RUN: no a"),
        ("keep a/a", Verdict.NOT_RUN, "NOT RUN: no a; NOT RUN: no p2pkad"),
    ]
    assert told == run.results
    assert not (tmp_path / "failed").exists()


async def test_a_network_whose_peer_dies_is_red_and_the_next_one_is_played(tmp_path: Path) -> None:
    run = await Matrix({"a": MORTAL, "b": MORTAL}, {}, "seed", tmp_path, lambda result: None).play(cells_of([READ], "ab"))
    assert {each.verdict for each in run.results} == {Verdict.RED}
    assert len(run.results) == 8
    assert all("the network was broken off" in each.detail for each in run.results)


async def test_two_networks_are_played_at_a_time(tmp_path: Path) -> None:
    met = trio.Event()
    played = most = 0

    async def look(scene: Scene) -> str:
        nonlocal played, most
        played += 1
        most = max(most, played)
        if played == 2:
            met.set()
        with trio.fail_after(PATIENCE):
            await met.wait()
        await trio.lowlevel.checkpoint()
        played -= 1
        return "read"

    scenario = replace(READ, observe=look, only={"writer": ("a",), "reader": ("a",)})
    run = await Matrix(dict.fromkeys("abc", FAKE), {}, "seed", tmp_path, lambda result: None).play(cells_of([scenario], "abc"))
    assert run.summary == "3 green, 0 deviation, 0 red, 0 not run"
    assert most == 2


async def test_two_peers_that_end_at_once_make_their_cells_red_and_no_more(tmp_path: Path) -> None:
    async def look(scene: Scene) -> str:
        async with trio.open_nursery() as nursery:
            for node in (scene.writer, scene.reader):
                nursery.start_soon(node.peer.ask, "die")
        return "read"

    cells = cells_of([replace(READ, observe=look)], "ab")
    run = await Matrix({"a": FAKE, "b": FAKE}, {}, "seed", tmp_path, lambda result: None).play(cells)
    assert run.count(Verdict.RED) == len(run.results) == 8


async def test_a_peer_that_ends_badly_after_the_last_cell_is_no_cells_affair_and_fails_the_run(tmp_path: Path) -> None:
    failing = Language((*FAKE.command, "--failing-end"))
    cells = cells_of([recorded([])], "a")
    run = await Matrix({"a": failing}, {}, "seed", tmp_path, lambda result: None).play(cells)
    assert run.summary == "1 green, 0 deviation, 0 red, 0 not run, 3 bad ends"
    assert sorted(end.split()[0] for end in run.bad_ends) == ["a-reader", "a-writer", "bootstrap"]
    assert all("it broke at the end" in end for end in run.bad_ends)
    assert not run.passes


@pytest.mark.parametrize(
    ("verdicts", "passes"),
    [
        ([Verdict.GREEN, Verdict.DEVIATION, Verdict.NOT_RUN], True),
        ([Verdict.GREEN, Verdict.RED], False),
        ([Verdict.NOT_RUN], False),
    ],
)
def test_a_run_passes_when_something_was_played_and_nothing_is_red(verdicts: list[Verdict], passes: bool) -> None:
    (cell,) = cells_of([READ], "a")
    assert Run("seed", [Result(cell, verdict, "") for verdict in verdicts]).passes is passes


async def test_a_network_that_is_silent_again_and_again_is_broken_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix, "CELL_SECONDS", 1.0)
    scenes: list[Scene] = []
    cells = cells_of([recorded(scenes, "never")], "ab")
    run = await Matrix({"a": FAKE, "b": FAKE}, {}, "seed", tmp_path, lambda result: None).play(cells)
    assert len(scenes) == 2 * 3, "of four cells in each network"
    assert [each.detail for each in run.results if "broken off" in each.detail] == [
        "the network was broken off: in 3 cells nobody answered in time"
    ] * 2
    assert run.count(Verdict.RED) == len(run.results) == 8


async def test_a_writer_that_has_not_joined_when_its_cell_is_over_does_not_live_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*joining: object) -> None:
        await trio.sleep_forever()

    (cell,) = cells_of([READ], "a")
    async with open_driver(tmp_path) as driver:
        network = Network(driver, Stage.HUB, "a", {"a": FAKE}, "seed")
        await network.gather([cell])
        monkeypatch.setattr(stages, "join", never)
        with trio.move_on_after(1):
            await network.scene(cell)
        writer = driver._peers[-1]
        assert writer.name == "a-writer"
        with pytest.raises(ProcessLookupError):
            os.kill(writer.pid, 0)


async def test_why_a_network_was_broken_off_is_said_once(tmp_path: Path) -> None:
    run = await Matrix({"a": MORTAL}, {}, "seed", tmp_path, lambda result: None).play(cells_of([READ, KEEP_BY_A], "a"))
    first, second = (each.detail for each in run.results)
    assert "there is no port left" in first
    assert second == "the network was broken off: in read a/a/a"


async def test_a_red_cell_leaves_logs_and_the_command_that_repeats_it(tmp_path: Path) -> None:
    await Matrix({"a": MORTAL}, {}, "my seed", tmp_path, lambda result: None).play(cells_of([READ], "a"))
    kept = tmp_path / "failed" / "read-a-a-a"
    assert (kept / "repeat").read_text() == "python interop/run.py --scenario read --cell a/a/a --seed 'my seed'\n"
    assert (kept / "bootstrap.log").read_text() == "there is no port left\n"


def recorded(scenes: list[Scene], observe: str = "read") -> Scenario:
    """READ, but it keeps the scenes that it is played in."""

    async def look(scene: Scene) -> str:
        scenes.append(scene)
        await scene.reader.peer.ask("echo" if observe == "read" else observe)
        return observe

    return replace(READ, observe=look)


async def play(seed: str, place: Path, scenes: list[Scene], observe: str = "read") -> Run:
    cells = cells_of([recorded(scenes, observe)], "ab")
    return await Matrix({"a": FAKE, "b": FAKE}, {}, seed, place, lambda result: None).play(cells)


async def test_cells_share_peers_and_not_keys(tmp_path: Path) -> None:
    scenes: list[Scene] = []
    run = await play("seed", tmp_path, scenes)
    assert run.summary == "8 green, 0 deviation, 0 red, 0 not run"
    assert run.versions == {"a": {"fake": "1"}, "b": {"fake": "1"}}
    assert len({scene.key for scene in scenes}) == len(scenes) == 8
    peers = {id(node.peer) for scene in scenes for node in (scene.bootstrap, scene.writer, scene.reader, scene.other)}
    assert len(peers) == 2 * (1 + 2 + 2), "two networks of a bootstrap peer, two writers and two readers"


async def test_a_cell_alone_has_the_keys_that_it_had_among_others(tmp_path: Path) -> None:
    scenes: list[Scene] = []
    await play("seed", tmp_path, scenes)
    (cell,) = cells_of([recorded(scenes)], "ab", ("b", "a", "b"))
    await Matrix({"a": FAKE, "b": FAKE}, {}, "seed", tmp_path, lambda result: None).play([cell])
    *among_others, alone = (scene.key for scene in scenes)
    assert alone in among_others
    with_another_seed: list[Scene] = []
    await play("another", tmp_path, with_another_seed)
    assert alone not in {scene.key for scene in with_another_seed}


async def test_a_peer_that_cannot_makes_its_cell_red_and_no_other(tmp_path: Path) -> None:
    run = await play("seed", tmp_path, [], observe="fail")
    assert {each.detail for each in run.results} == {f"{name}-reader: fail: not_found: there is none" for name in "ab"}
    assert len(run.results) == run.count(Verdict.RED) == 8


async def test_an_answer_that_no_scenario_reckons_with_is_red(tmp_path: Path) -> None:
    async def look(scene: Scene) -> str:
        return str((await scene.reader.peer.ask("echo"))["value"])

    run = await Matrix({"a": FAKE}, {}, "seed", tmp_path, lambda result: None).play(
        cells_of([replace(READ, observe=look)], "a")
    )
    assert [(each.verdict, each.detail) for each in run.results] == [(Verdict.RED, "KeyError('value')")]
