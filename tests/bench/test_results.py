"""How the programs of the benchmark end: what they print last, and their status."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import pytest
import results
from report import Figure, Section
from results import INTERRUPTED, Results

MET, MISSED = Figure("KiB a node", 1.0, at_most=2.0), Figure("KiB a node", 3.0, at_most=2.0)


def section(*figures: Figure) -> Section:
    return Section("Memory", (), ("",), figures=[*figures])


@pytest.mark.parametrize(
    ("measured", "strict", "status", "says"),
    [
        (Results({"memory": section(MET)}), True, 0, "every figure: "),
        (Results({"memory": section(MISSED)}), False, 0, f"TARGET NOT MET: {MISSED}\n"),
        (Results({"memory": section(MISSED)}), True, 1, f"TARGET NOT MET: {MISSED}\n"),
        (Results(failures={"rates": "it died"}), False, 1, "NOT MEASURED: rates: it died\n"),
        (Results(lacking=["nothing was measured against go"]), True, 0, "nothing was measured against go\n"),
        (None, False, INTERRUPTED, ""),
    ],
)
def test_a_run_says_what_came_of_it_and_ends_so(
    measured: Results | None,
    strict: bool,
    status: int,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(results, "CACHE", tmp_path)
    options = Namespace(quick=True, strict=strict, seed=7, only=None)
    assert results.run("bench", options, lambda: measured) == status
    assert says in capsys.readouterr().out
    written = [json.loads(path.read_text()) for path in tmp_path.glob("bench-*.json")]
    assert [each["options"] for each in written] == ([] if measured is None else [vars(options)])
