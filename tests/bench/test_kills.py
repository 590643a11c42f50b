"""Nothing that a node acknowledged is lost when it is killed; and the program that says so would notice."""

from __future__ import annotations

from pathlib import Path

import kills
import pytest
import trio
from kills import Tally, book, kill_again_and_again, missing

from p2pkad import Identity, KademliaConfig, open_store

pytestmark = pytest.mark.long


@pytest.mark.scenario("H5")
def test_what_was_acknowledged_is_there_after_three_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kills, "LONGEST", 0.5)
    tally = kill_again_and_again(tmp_path, 3, "normal", seed=1)
    assert tally.lost == []
    assert (tally.kills, tally.puts > 10, tally.provides > 10) == (3, True, True)


def test_what_was_said_last_counts() -> None:
    known: dict[str, bytes] = {}
    tally = Tally()
    book([["put", "aa", "01"], ["provide", "bb"], ["provide", "cc"], ["stopping", "bb"], ["stop", "bb"]], known, tally)
    book([["provide", "dd"], ["stopping", "dd"]], known, tally)
    assert known == {"value aa": b"\1", "content bb": b"", "content cc": b"provided"}
    assert str(tally) == "0 x kill -9: acknowledged 1 puts, 3 provides and 1 withdrawals; lost 0"


def test_what_is_not_there_is_missing(tmp_path: Path) -> None:
    async def make() -> None:
        async with open_store(tmp_path, Identity.in_directory(tmp_path).id, KademliaConfig()):
            pass

    trio.run(make)
    known = {"value aa": b"\1", "content bb": b"", "content cc": b"provided"}
    assert trio.run(missing, tmp_path, known) == ["value aa", "content cc"]
