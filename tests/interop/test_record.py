"""What the golden files of the codec say is what these releases of go, rust and js write: made again, they say the same."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from driver import Language
from implementations import FOREIGN
from record import GOLDEN, conversations

pytestmark = pytest.mark.foreign


def gist(exchange: dict[str, Any]) -> dict[str, Any]:
    """An exchange without what differs each time: when, in which order, and who was connected just then."""
    request, reply = exchange["request"]["message"], (exchange["reply"] or {}).get("message")
    return {part: exchange[part] for part in ("asks", "answers", "what")} | {
        "request": {part: request.get(part) for part in ("type", "key")},
        "fields": sorted(request) if reply is None else [sorted(request), sorted(reply)],
        "records": [
            {part: message["record"].get(part) for part in ("key", "value", "publisher")}
            for message in (request, reply)
            if message and "record" in message
        ],
    }


def libraries(recording: dict[str, Any]) -> dict[str, str]:
    """What it was made with, go itself left out: go.mod says which release at least, and a machine may have a later one."""
    return {name: version for name, version in recording["made_by"].items() if name != "go"}


@pytest.mark.scenario("W8")
@pytest.mark.parametrize("implementation", FOREIGN)
async def test_a_new_recording_says_the_same(
    implementation: str, language_of: Callable[[str], Language], tmp_path: Path
) -> None:
    languages = {name: language_of(name) for name in ("go", implementation)}
    golden = json.loads((GOLDEN / f"{implementation}.json").read_text())
    made = await conversations(implementation, languages, tmp_path, f"127.{os.getpid() % 250 + 1}")
    assert libraries(made) == libraries(golden)
    assert list(map(gist, made["exchanges"])) == list(map(gist, golden["exchanges"]))
