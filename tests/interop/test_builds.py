"""The build cache, with compilers that copy."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import builds
import pytest
from driver import js_language

GO = """#!/bin/sh
# go build -trimpath -buildvcs=false -o OUTPUT .
grep -q broken main.go && { echo "main.go:1: broken" >&2; exit 1; }
cat main.go > "$5"
echo built >> ../log
"""

CARGO = """#!/bin/sh
# cargo build --locked --quiet
grep -q broken src/main.rs && { echo "src/main.rs:1: broken" >&2; exit 1; }
mkdir -p "$CARGO_TARGET_DIR/debug"
cat src/main.rs > "$CARGO_TARGET_DIR/debug/peer"
echo built >> ../log
"""

# npm ci --ignore-scripts ..., in a directory of its own
NPM = """#!/bin/sh
grep -q broken package.json && {{ echo "package.json:1: broken" >&2; exit 1; }}
mkdir -p node_modules/node-somewhere/bin
echo > node_modules/node-somewhere/bin/node
mkdir -p node_modules/.bin
printf '#!/bin/sh\\ncp main.js peer.mjs\\n' > node_modules/.bin/esbuild
chmod 755 node_modules/.bin/esbuild
echo built >> {log}
"""


@dataclass
class Peer:
    """One language of foreign peers, with a compiler that copies."""

    build: Callable[[], Path | None]
    main: Path
    log: Path

    @property
    def built(self) -> int:
        return self.log.read_text().count("built")


PEERS = {
    "go": (builds.go_peer, "GO_SOURCES", "go", GO, "main.go"),
    "rust": (builds.rust_peer, "RUST_SOURCES", "cargo", CARGO, "src/main.rs"),
    "js": (builds.js_peer, "JS_SOURCES", "npm", NPM, "package.json"),
}


@pytest.fixture(params=PEERS)
def peer(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Peer:
    build, sources, name, compiler, main = PEERS[request.param]
    directory, programs, log = tmp_path / "peer", tmp_path / "bin", tmp_path / "log"
    (directory / main).parent.mkdir(parents=True)
    (directory / main).write_text("a program")
    for other in builds.JS_PACKAGES if name == "npm" else ():
        (directory / other).write_text("a name")
        (directory / "main.js").write_text("a program")
    programs.mkdir()
    (programs / name).write_text(compiler.format(log=log) if name == "npm" else compiler)
    (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    monkeypatch.setattr(builds, sources, directory)
    monkeypatch.setattr(builds, "CACHE", tmp_path / "cache")
    return Peer(build, directory / main, log)


def peers_in_the_cache() -> list[Path]:
    return [path for path in builds.CACHE.iterdir() if "-peer-" in path.name]


def test_a_peer_is_built_once_for_each_state_of_its_sources(peer: Peer) -> None:
    first = peer.build()
    assert first is not None
    assert (peer.build(), peer.built) == (first, 1)
    peer.main.write_text("another program")
    second = peer.build()
    assert second not in (None, first)
    assert peer.built == 2
    assert peers_in_the_cache() == [second]


def test_of_several_who_need_a_peer_at_once_one_builds_it(peer: Peer) -> None:
    with ThreadPoolExecutor(4) as pool:
        products = {*pool.map(lambda _: peer.build(), range(4))}
    assert len(products) == 1
    assert peer.built == 1
    assert peers_in_the_cache() == [*products]


def test_a_peer_that_does_not_compile_says_why_and_leaves_nothing(peer: Peer) -> None:
    peer.main.write_text("broken")
    with pytest.raises(builds.BuildFailed, match=r":1: broken"):
        peer.build()
    assert {path.suffix for path in builds.CACHE.iterdir()} == {".lock"}


def test_a_compiler_that_takes_too_long_is_ended_with_those_that_work_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builds, "BUILD_SECONDS", 0.5)
    with pytest.raises(builds.BuildFailed, match=r"not done within 0\.5 s"):
        builds.compile_with(["sh", "-c", "(sleep 20; touch late) & wait"], tmp_path)
    assert not (tmp_path / "late").exists(), "what worked for it was waited for"


def test_a_missing_toolchain_is_loud_and_no_error(
    peer: Peer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert peer.build() is None
    assert capsys.readouterr().err.startswith("NOT RUN: ")


@pytest.mark.parametrize("peer", ["js"], indirect=True)
def test_sources_of_js_change_without_another_installation(peer: Peer) -> None:
    first = peer.build()
    assert first is not None
    (peer.main.parent / "main.js").write_text("another program")
    second = peer.build()
    assert second not in (None, first)
    assert (second / "peer.mjs").read_text() == "another program"
    assert js_language(second).command == (str(second / "node_modules/node-somewhere/bin/node"), str(second / "peer.mjs"))
    assert peer.built == 1


@pytest.mark.parametrize("name", ["js/package-lock.json", "js/package.json", "rust/Cargo.toml", "go/go.mod"])
def test_no_lock_file_names_a_registry(name: str) -> None:
    """cargo's own spelling of its registry, in Cargo.lock, is part of its format."""
    text = (builds.ROOT / "interop" / "peers" / name).read_text()
    assert "registry" not in text
    assert '"resolved"' not in text
