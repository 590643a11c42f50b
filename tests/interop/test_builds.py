"""The build cache, with a compiler that copies."""

from __future__ import annotations

from pathlib import Path

import builds
import pytest

COMPILER = """#!/bin/sh
# go build -trimpath -buildvcs=false -o OUTPUT .
grep -q broken main.go && { echo "main.go:1: broken" >&2; exit 1; }
cat main.go > "$5"
echo built >> ../log
"""


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "peer"
    directory.mkdir()
    (directory / "main.go").write_text("package main")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "go").write_text(COMPILER)
    (programs / "go").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    monkeypatch.setattr(builds, "GO_SOURCES", directory)
    monkeypatch.setattr(builds, "CACHE", tmp_path / "cache")
    return directory


def builds_so_far(sources: Path) -> int:
    return (sources.parent / "log").read_text().count("built")


def test_a_peer_is_built_once_for_each_state_of_its_sources(sources: Path) -> None:
    first = builds.go_peer()
    assert first is not None
    assert (builds.go_peer(), builds_so_far(sources)) == (first, 1)
    (sources / "verbs.go").write_text("package main")
    second = builds.go_peer()
    assert second not in (None, first)
    assert builds_so_far(sources) == 2
    assert list(builds.CACHE.iterdir()) == [second]


def test_a_peer_that_does_not_compile_says_why_and_leaves_nothing(sources: Path) -> None:
    (sources / "main.go").write_text("broken")
    with pytest.raises(builds.BuildFailed, match=r"main\.go:1: broken"):
        builds.go_peer()
    assert list(builds.CACHE.iterdir()) == []


def test_a_missing_toolchain_is_loud_and_no_error(
    sources: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert builds.go_peer() is None
    assert capsys.readouterr().err == "NOT RUN: go toolchain missing\n"
