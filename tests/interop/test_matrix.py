"""Playing cells, with peers that are not there or do not last."""

from __future__ import annotations

import sys
from pathlib import Path

from cells import Result, Verdict, cells_of
from driver import Language
from matrix import Matrix

from tests.interop.made_up import KEEP, READ

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
    assert all("there is no port left" in each.detail for each in run.results)


async def test_a_red_cell_leaves_logs_and_the_command_that_repeats_it(tmp_path: Path) -> None:
    await Matrix({"a": MORTAL}, {}, "my seed", tmp_path, lambda result: None).play(cells_of([READ], "a"))
    kept = tmp_path / "failed" / "read-a-a-a"
    assert (kept / "repeat").read_text() == "python interop/run.py --scenario read --cell a/a/a --seed 'my seed'\n"
    assert (kept / "bootstrap.log").read_text() == "there is no port left\n"
