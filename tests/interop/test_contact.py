"""What becomes of a run of contact that cannot go on."""

from __future__ import annotations

from pathlib import Path

import contact
import pytest
from driver import PeerSilent


async def test_a_peer_that_falls_silent_in_a_nursery_breaks_a_run_off(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    async def gather(*_: object) -> contact.Network:
        raise ExceptionGroup("", [PeerSilent("server-1: no answer")])

    monkeypatch.setattr(contact, "gather", gather)
    monkeypatch.setattr(contact, "LOGS", tmp_path)
    assert not await contact.contact_all(contact.SETTINGS[:1], "seed", tmp_path)
    assert "defaults: BROKEN OFF: server-1: no answer" in capsys.readouterr().out
