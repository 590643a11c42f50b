"""Playing cells, with peers that are not there or do not last."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from cells import TRIPLE, Result, Scenario, Verdict, cells_of
from driver import Language
from matrix import Matrix, Run
from stages import Scene

from tests.interop.made_up import KEEP, READ

FAKE = Language((sys.executable, str(Path(__file__).with_name("fake_peer.py"))))
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
    assert scenes[5].key == scenes[8].key
    await play("another", tmp_path, scenes)
    assert scenes[9 + 5].key != scenes[5].key


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
