"""What the rates are compared with, and the peers that are measured: they answer, all of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import rates
from processes import open_driver
from rates import Case, Figures, best_without_errors


def figures(*rounds: float, failed: int = 0, peers: float = 20.0) -> Figures:
    return Figures(rates=list(rounds), peers=[peers] * len(rounds), requests=100, failed=failed)


def results(**changed: Figures) -> dict[Case, Figures]:
    """kad_dht is quickest at 8, among those that never failed; p2pkad is ten times as fast."""
    found = {Case("stock", "stock", number): figures(100, 100) for number in rates.STOCK_IN_FLIGHT}
    found |= {Case("p2pkad", "p2pkad", number): figures(2000, 2000) for number in rates.IN_FLIGHT}
    found[Case("stock", "stock", 8)] = figures(200, 200)
    found[Case("stock", "stock", 12)] = figures(300, 300, failed=1)
    return found | {Case("p2pkad", "p2pkad", int(at[2:])): new for at, new in changed.items()}


def test_what_failed_once_is_not_the_best_rate() -> None:
    assert best_without_errors(results()) == 8


def test_the_targets_are_at_1_in_flight_and_at_50_against_the_best() -> None:
    at_1, at_50 = rates._ratios(results(), with_go=False)
    assert (at_1.times, at_1.target) == (20, 3)
    assert (at_50.times, at_50.target) == (10, 5)


def test_a_case_of_ours_in_which_requests_fail_is_named() -> None:
    case = Case("p2pkad", "p2pkad", 50)
    assert list(rates._warnings(case, figures(2000, failed=3))) == ["p2pkad -> p2pkad at 50: 3 of 100 requests failed"]


def test_empty_answers_are_quick_and_cannot_be_compared() -> None:
    (warning,) = rates._warnings(Case("go", "p2pkad", 1), figures(9000, peers=0.0))
    assert "cannot be compared" in warning


@pytest.mark.long
@pytest.mark.parametrize("kind", ["p2pkad", "stock"])
async def test_each_request_is_answered_with_twenty_peers(kind: str, tmp_path: Path) -> None:
    async with open_driver(tmp_path) as driver:
        running = await rates.kinds(go=None, seed=1)[kind].start(driver, kind)
        answer = await running.client.ask("load", peer=running.server.address, in_flight=4, requests=20)
    assert (answer["requests"], answer["failed"]) == (20, 0)
    assert answer["peers_per_reply"] >= rates.NAMED
