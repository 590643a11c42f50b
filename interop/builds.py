"""Foreign peers, built once: a binary in the cache for each state of its sources.

A machine without the toolchain is no error here: `go_peer` returns None after a loud line, and whoever cannot do
without it says so (`--require go`).
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "interop"
GO_SOURCES = ROOT / "interop" / "peers" / "go"

GO_MISSING = "NOT RUN: go toolchain missing"

# A cold build takes about 50 s on two cores, downloads not included.
BUILD_SECONDS = 900


class BuildFailed(Exception):
    """A peer did not compile; the text is what its compiler said."""


def go_peer() -> Path | None:
    """The go peer's binary, built if its sources have changed. None, and a line on standard error: there is no go.

    Raises BuildFailed. Nothing is left in the cache then.
    """
    binary = CACHE / f"go-peer-{fingerprint(GO_SOURCES, '*.go', 'go.mod', 'go.sum')}"
    if binary.exists():
        return binary
    go = shutil.which("go")
    if go is None:
        print(GO_MISSING, file=sys.stderr)
        return None
    CACHE.mkdir(parents=True, exist_ok=True)
    print("building the go peer (about a minute when cold)", file=sys.stderr, flush=True)
    started = time.monotonic()
    unfinished = binary.with_suffix(f".{time.time_ns()}")
    try:
        # -trimpath: the same bytes wherever the repository lies. -buildvcs=false: a clone without .git builds too.
        compile_with([go, "build", "-trimpath", "-buildvcs=false", "-o", str(unfinished), "."], GO_SOURCES)
        unfinished.replace(binary)
    finally:
        unfinished.unlink(missing_ok=True)
    print(f"built in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    forget_older(binary)
    return binary


def fingerprint(directory: Path, *patterns: str) -> str:
    """Sixteen hex digits that change with the name or the content of any file that matches a pattern."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in patterns for path in directory.glob(pattern)):
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def compile_with(command: list[str], directory: Path) -> None:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    if done.returncode:
        raise BuildFailed(f"{' '.join(command)}\n{done.stderr.strip()}")


def forget_older(binary: Path) -> None:
    # A binary that is running stays alive without its name.
    family, _, _ = binary.name.rpartition("-")
    for other in binary.parent.glob(f"{family}-*"):
        if other != binary:
            other.unlink(missing_ok=True)


if __name__ == "__main__":
    print(go_peer() or "")
