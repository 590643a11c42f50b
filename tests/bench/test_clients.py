"""A crowd and what is counted of it."""

from __future__ import annotations

from pathlib import Path

import clients
import pytest
from clients import Burst, Stage
from processes import open_driver

pytestmark = pytest.mark.long

NOBODY = Stage(0, 0, 90 * clients.MIB, [])


def test_memory_is_told_for_each_client_and_the_slowest_burst_beside_all_of_them() -> None:
    calm, rough = Burst([0.1] * 120, []), Burst([0.1] * 79 + [0.3], [])
    section = clients.report([NOBODY, Stage(100, 100, 100 * clients.MIB, [calm, rough])])
    assert section.rows[1] == ("100", "100", "100.0", "102", "2", "200", "0", "100.00", "100.00", "300.00")
    assert [figure.missed for figure in section.figures] == [False]


def test_a_request_that_failed_misses_the_target_and_is_named() -> None:
    section = clients.report([NOBODY, Stage(300, 300, 100 * clients.MIB, [Burst([0.1], ["RequestTimeout: after 10 s"])])])
    assert [(figure.value, figure.missed) for figure in section.figures] == [(1, True)]
    assert section.warnings == ["at 300 clients: RequestTimeout: after 10 s"]


def test_clients_that_lost_their_connection_make_the_figures_doubtful() -> None:
    assert clients.report([NOBODY, Stage(300, 284, 100 * clients.MIB, [])]).warnings == ["of 300 clients 284 are connected"]


async def test_all_of_a_crowd_are_connected_and_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smaller = {"STEPS": (2, 4), "IN_A_PROCESS": 3, "REQUESTS": 20, "EVERY_SECONDS": 0.0, "SETTLE_SECONDS": 0.0}
    for name, value in smaller.items():
        monkeypatch.setattr(clients, name, value)
    async with open_driver(tmp_path) as driver:
        section = await clients.measure(driver, seed=1, many=5, bursts=2)
    assert [(row[0], row[1]) for row in section.rows] == [("0", "0"), ("2", "2"), ("4", "4"), ("5", "5")]
    assert [row[4:7] for row in section.rows[2:]] == [("2", "40", "0"), ("2", "40", "0")]
