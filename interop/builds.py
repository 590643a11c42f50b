"""Foreign peers, built once: a program in the cache for each state of its sources.

A machine without a toolchain is no error here: `go_peer`, `rust_peer` and `js_peer` return None after a loud line, and
whoever cannot do without it says so (`--require go`).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "interop"
GO_SOURCES = ROOT / "interop" / "peers" / "go"
RUST_SOURCES = ROOT / "interop" / "peers" / "rust"
JS_SOURCES = ROOT / "interop" / "peers" / "js"

GO_MISSING = "NOT RUN: go toolchain missing"
RUST_MISSING = "NOT RUN: rust toolchain missing"
JS_MISSING = "NOT RUN: npm missing"

# What npm installs decides these; the sources of the peer come on top.
JS_PACKAGES = ("package.json", "package-lock.json", ".npmrc")

ONE_FILE = (
    "--bundle",
    "--platform=node",
    "--format=esm",
    "--log-level=error",
    # What packages in the older form of modules ask for.
    "--banner:js=import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);",
)
"""How esbuild makes one of all that the peer imports."""

# A cold build takes about 50 s on two cores for go, 100 s for rust, 20 s for js, downloads not included.
BUILD_SECONDS = 900


class BuildFailed(Exception):
    """A peer did not compile; the text is what its compiler said."""


def go_peer() -> Path | None:
    """The go peer's binary, built if its sources have changed. None, and a line on standard error: there is no go.

    Raises BuildFailed. Nothing is left in the cache then.
    """

    def build(go: str, binary: Path) -> None:
        # -trimpath: the same bytes wherever the repository lies. -buildvcs=false: a clone without .git builds too.
        compile_with([go, "build", "-trimpath", "-buildvcs=false", "-o", str(binary), "."], GO_SOURCES)

    name = f"go-peer-{fingerprint(GO_SOURCES, '*.go', 'go.mod', 'go.sum')}"
    return built_once("go", name, ("go", GO_MISSING), build)


def rust_peer() -> Path | None:
    """The rust peer's binary, as `go_peer`. What cargo made of its libraries stays in the cache, for the next build."""

    def build(cargo: str, binary: Path) -> None:
        target = CACHE / "rust-target"
        compile_with([cargo, "build", "--locked", "--quiet"], RUST_SOURCES, {"CARGO_TARGET_DIR": str(target)})
        shutil.copy2(target / "debug" / "peer", binary)

    name = f"rust-peer-{fingerprint(RUST_SOURCES, 'src/*.rs', 'Cargo.toml', 'Cargo.lock')}"
    return built_once("rust", name, ("cargo", RUST_MISSING), build)


def js_peer() -> Path | None:
    """A directory with the js peer, `peer.mjs`, and the packages that it was made of, Node among them; otherwise as `go_peer`.

    It is one file: to find and read six hundred modules takes four times as long as to start, and peers start by the hundred.
    """

    def build(npm: str, directory: Path) -> None:
        packages = js_packages(npm)
        directory.mkdir()
        for source in JS_SOURCES.glob("*.js"):
            shutil.copy2(source, directory)
        shutil.copy2(JS_SOURCES / "package.json", directory)
        (directory / "node_modules").symlink_to(Path("..") / packages.name / "node_modules")
        compile_with(["node_modules/.bin/esbuild", "main.js", "--outfile=peer.mjs", *ONE_FILE], directory)

    name = f"js-peer-{fingerprint(JS_SOURCES, '*.js', *JS_PACKAGES)}"
    return built_once("js", name, ("npm", JS_MISSING), build)


def built_once(language: str, name: str, tool: tuple[str, str], build: Callable[[str, Path], None]) -> Path | None:
    """The peer of this name in the cache, made by `build` where it is not there; None: the toolchain is not.

    tool: a program, and what is said where it is missing. build: is given that program, and where the peer is to be.
    """
    product = CACHE / name
    with alone(language):
        if not product.exists():
            program = toolchain(*tool)
            if program is None:
                return None
            with building(language, product) as unfinished:
                build(program, unfinished)
        return product


def js_packages(npm: str) -> Path:
    """A directory with what the lock file names, installed. No package gets to run anything while it is installed."""
    directory = CACHE / f"js-packages-{fingerprint(JS_SOURCES, *JS_PACKAGES)}"
    if not directory.exists():
        with building("packages of the js", directory) as unfinished:
            unfinished.mkdir()
            for name in JS_PACKAGES:
                shutil.copy2(JS_SOURCES / name, unfinished)
            compile_with([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], unfinished)
    return directory


def toolchain(name: str, missing: str) -> str | None:
    """Where a program is. None, after a loud line: it is not there."""
    program = shutil.which(name)
    if program is None:
        print(missing, file=sys.stderr)
    return program


@contextlib.contextmanager
def alone(language: str) -> Iterator[None]:
    """One process at a time builds a language's peer: the others wait, and find it made."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{language}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def building(language: str, product: Path) -> Iterator[Path]:
    """Under the name that this yields the product is to be made. It gets its own when it is whole, and replaces older ones."""
    print(f"building the {language} peer (a minute or two when cold)", file=sys.stderr, flush=True)
    started = time.monotonic()
    unfinished = product.with_suffix(f".{time.time_ns()}")
    try:
        yield unfinished
        unfinished.replace(product)
    finally:
        remove(unfinished)
    print(f"built in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    forget_older(product)


def fingerprint(directory: Path, *patterns: str) -> str:
    """Sixteen hex digits that change with the name or the content of any file that matches a pattern."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in patterns for path in directory.glob(pattern)):
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def compile_with(command: list[str], directory: Path, environment: Mapping[str, str] | None = None) -> None:
    """Run a compiler. Raises BuildFailed. It leaves no process of its own behind, however this ends."""
    with subprocess.Popen(
        command,
        cwd=directory,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # A group of its own: cargo and npm have others work for them, and those would go on without it.
        start_new_session=True,
    ) as compiler:
        try:
            _, said = compiler.communicate(timeout=BUILD_SECONDS)
        except subprocess.TimeoutExpired:
            raise BuildFailed(f"{' '.join(command)}\nnot done within {BUILD_SECONDS:g} s") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(compiler.pid, signal.SIGKILL)
    if compiler.returncode:
        raise BuildFailed(f"{' '.join(command)}\n{said.strip()}")


def forget_older(product: Path) -> None:
    # A binary that is running stays alive without its name.
    family, _, _ = product.name.rpartition("-")
    for other in product.parent.glob(f"{family}-*"):
        if other != product:
            remove(other)


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    for build in (go_peer, rust_peer, js_peer):
        print(build() or "")
