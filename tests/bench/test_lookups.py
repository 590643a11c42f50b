"""What a lookup's figures are compared with, and that the networks of both kinds find what there is."""

from __future__ import annotations

from pathlib import Path

import lookups
import pytest
from lookups import Figures, Running
from processes import open_driver


def figures(*rounds: list[float], right: float = 1.0) -> Figures:
    return Figures(rounds=list(rounds), asked=[20] * 4, right=[right] * 4, pause=0.002, collecting=0.5)


def results(ours: float, theirs: float) -> lookups.Results:
    found: lookups.Results = {}
    for state in lookups.COLLECTOR:
        found["p2pkad", state] = figures([ours, ours], [ours, ours])
        found["stock", state] = figures([theirs, theirs], [theirs, theirs])
    return found


@pytest.mark.parametrize(("theirs", "missed"), [(0.1, False), (0.09, True)])
def test_the_targets_are_on_lookups_with_the_collector_at_work(theirs: float, missed: bool) -> None:
    ratios = lookups.report(results(0.01, theirs)).ratios
    assert [(ratio.target, ratio.missed) for ratio in ratios] == [(10.0, missed)] * 2 + [(None, False)] * 2


def test_a_ratio_is_one_of_all_lookups_beside_the_best_and_the_worst_round() -> None:
    ours, theirs = figures([0.01] * 9 + [0.05], [0.01] * 10), figures([0.1] * 10, [0.2] * 10)
    ratio = lookups.compared("us / them", ours, theirs, 0.9, target=None)
    assert (ratio.times, ratio.lowest, ratio.highest) == pytest.approx((20, 2, 20))


def test_the_share_of_the_collector_is_of_the_time_of_lookups() -> None:
    (row, *_) = lookups.report(results(0.25, 1.0)).rows
    assert row[:6] == ("p2pkad, as started", "4", "250.00", "250.00", "2.00", "50")


@pytest.mark.long
@pytest.mark.parametrize("kind", lookups.KINDS)
async def test_lookups_in_a_small_network_find_everybody(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "NODES", 2)
    monkeypatch.setattr(lookups, "KNOWN", {kind: 2})
    async with open_driver(tmp_path) as driver:
        running = await Running.start(driver, kind, seed=1)
        await running.warm_up()
        answers = await running.look_up(4)
        await running.freeze()
    assert [len(answer["seconds"]) for answer in answers] == [4, 4]
    assert min(asked for answer in answers for asked in answer["asked"]) >= 1
    assert min(right for answer in answers for right in answer["right"]) >= 2 / 3
