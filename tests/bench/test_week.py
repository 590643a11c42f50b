"""The simulated week, in small: what stays published is found, what does not is missed, and a run repeats itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import week
from village import Diary, Village

from p2pkad.testing import open_simulated_network, run_simulated

ROOT = Path(__file__).parents[2]
SMALL = ("--days", "0.0834", "--nodes", "30", "--publishers", "5", "--keys", "5")


def run(*arguments: str, hash_seed: str = "0") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "bench/week.py", *SMALL, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def digest(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout.rpartition("digest ")[2].split()[0]


@pytest.mark.long
def test_everything_is_found_and_two_processes_agree_on_every_detail() -> None:
    once, again = run(hash_seed="1"), run(hash_seed="2")
    assert once.returncode == 0, once.stdout + once.stderr
    assert " 20       0 " in once.stdout  # 10 keys, 2 hours
    assert digest(once) == digest(again)
    assert len(digest(once)) == 64


def test_what_nobody_holds_any_more_is_missed_and_the_status_says_so() -> None:
    diary = Diary()

    async def main() -> None:
        plan = week.plan_of(week.parse(["--nodes", "50", "--publishers", "1", "--keys", "1"]))
        async with open_simulated_network(50, **plan.options) as net:
            village = Village(net, plan, 1, diary)
            await village._publish()
            for each in village._published:
                for node in [node for node in net.nodes if await village._holds(each, node)]:
                    await net.crash(node)
            village._came = dict.fromkeys(net.nodes, -100.0)
            for each in village._published:
                await village._check(each)

    run_simulated(main)
    value, provider = map(str, diary.misses)
    assert "value /week/0: NotFound" in value
    assert "provider of 1220" in provider
    assert "0 hold it, 0 of the k nearest" in value
    assert week.status(diary) == 1


def test_the_reasons_are_in_figures() -> None:
    told = week.reasons(week.plan_of(week.parse([])))
    assert "every 1 h" in told
    assert "60.2% are still up" in told


def test_progress_says_how_long_it_will_take(capsys: pytest.CaptureFixture[str]) -> None:
    progress = week.Progress(hours=12)
    progress(Diary(hours=6))
    assert "6/12 h" in capsys.readouterr().err
    progress(Diary(hours=7))
    assert capsys.readouterr().err == ""
