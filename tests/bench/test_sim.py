"""The programs in virtual time: small runs of each measurement, and what a reader sees of them."""

from __future__ import annotations

import pytest
import sim_lookups
import sim_losses
import sim_memory
import sim_speed
from report import Figure, Section
from results import Results


@pytest.mark.long
def test_lookups_with_each_of_the_settings_find_who_is_alive() -> None:
    section = sim_lookups.measure(nodes=60, lookups=6, seed=1)
    assert [row[0] for row in section.rows] == list(sim_lookups.SETTINGS)
    for name in sim_lookups.SETTINGS:
        for lookup in section.raw[name]["lookups"]:
            assert lookup["recall"] >= 0.9
            assert 1 <= lookup["hops"] <= lookup["requests"]


@pytest.mark.long
def test_a_measurement_repeats_itself() -> None:
    once, again, other = (sim_losses.measure(nodes=40, keys=4, seed=seed).raw for seed in (1, 1, 2))
    assert once == again
    assert once["digest"] != other["digest"]


def test_nothing_is_lost_while_nobody_is_dead() -> None:
    (dead, values, providers, _), *_ = sim_losses.measure(nodes=40, keys=4, seed=1).raw["found"]
    assert (dead, values, providers) == (0.0, 4, 4)


@pytest.mark.long
def test_a_node_weighs_something() -> None:
    raw = sim_memory.measure(nodes=30, seed=1).raw
    assert raw["idle"]["connections"] == 0
    assert raw["idle"]["table"] > 20
    assert raw["joined"]["connections"] > 10
    assert 10 < raw["idle"]["kib"] < raw["joined"]["kib"]


def test_a_child_that_fails_is_said_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sim_memory, "__file__", "/nowhere/at_all.py")
    with pytest.raises(sim_memory.ChildFailed, match="at_all"):
        sim_memory.measure(nodes=1, seed=1)


def test_the_speed_is_that_of_everything_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sim_speed, "JOINS", 2)
    monkeypatch.setattr(sim_speed, "REFRESHES", 2)
    section = sim_speed.measure(nodes=40, lookups=2, seed=1)
    assert [row[0] for row in section.rows] == ["lookups", "joins", "refreshes", "all"]
    efforts = section.raw["efforts"].values()
    assert section.figures[0].value == pytest.approx(
        sum(each["messages"] for each in efforts) / sum(each["seconds"] for each in efforts)
    )


@pytest.mark.parametrize(("value", "missed"), [(95.0, False), (96.0, False), (97.0, True)])
def test_a_figure_above_its_bound_is_loud(value: float, missed: bool) -> None:
    figure = Figure("KiB a node", value, at_most=96.0)
    assert figure.missed is missed
    assert ("NOT MET" in str(figure)) is missed
    results = Results({"memory": Section("Memory", (), ("",), figures=[figure])})
    assert results.missed == ([figure] if missed else [])


def test_a_figure_below_its_bound_is_loud() -> None:
    assert Figure("requests a second", 2999.0, at_least=3000.0).missed
    assert not Figure("requests a second", 3000.0, at_least=3000.0).missed
    assert not Figure("requests a second", 1.0).missed
