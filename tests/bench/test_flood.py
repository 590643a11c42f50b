"""What is said of a flood: how much longer others wait, and whether that is too long."""

from __future__ import annotations

from typing import Any, cast

from flood import Server, _report


def server(name: str, quiet: float, flooded: float, failed: int = 0) -> Server:
    nobody = cast("Any", None)
    return Server(name, "", nobody, nobody, quiet=[quiet] * 3, flooded=[flooded] * 3, answered=[200.0] * 3, failed=failed)


def test_twice_as_long_is_met_and_more_is_not() -> None:
    for flooded, missed in ((0.002, False), (0.0021, True)):
        limited, unlimited = _report([server("usual", 0.001, flooded), server("none", 0.001, 0.05)], rounds=3).figures
        assert limited.missed is missed
        assert (round(unlimited.value), unlimited.missed) == (50, False)


def test_a_request_of_the_others_that_failed_is_loud() -> None:
    section = _report([server("usual", 0.001, 0.001, failed=2), server("none", 0.001, 0.001)], rounds=3)
    assert section.warnings == ["usual: 2 requests of the other one failed"]
