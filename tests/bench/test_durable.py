"""Every case of the durable puts is measured."""

from __future__ import annotations

from pathlib import Path

import durable
import pytest


async def test_each_durability_is_measured_with_each_number_of_clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "CACHE", tmp_path)
    section = await durable.measure(rounds=1, seconds=0.05)
    assert [row[:2] for row in section.rows] == [
        (durability, clients) for durability in ("normal", "full") for clients in ("1", "10", "100")
    ]
    assert all(min(case["rates"]) > 0 and case["p99"] for case in section.raw["cases"])
