"""Builds the wheel, looks into it, installs it into an empty environment and tries it there."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"

MUST_HAVE = ("p2pkad/py.typed", "p2pkad/wire/pb/", "p2pkad/cli/main.py")
MUST_NOT_HAVE = ("tests/", "interop/", "bench/", "docs/", "examples/")


def build() -> Path:
    for old in DIST.glob("*.whl"):
        old.unlink()
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--outdir", DIST, ROOT], check=True, stdout=subprocess.DEVNULL)
    return next(DIST.glob("*.whl"))


def complaints(wheel: Path) -> list[str]:
    """What is in the wheel and should not be, or is not and should."""
    names = zipfile.ZipFile(wheel).namelist()
    lacking = [f"it has no {wanted}" for wanted in MUST_HAVE if not any(name.startswith(wanted) for name in names)]
    surplus = [f"it has {name}" for name in names if name.startswith(MUST_NOT_HAVE)]
    return lacking + surplus


def try_out(wheel: Path, environment: Path) -> None:
    """Install the wheel where nothing else is, and start what it brings."""
    venv.create(environment, with_pip=True)
    python, program = environment / "bin/python", environment / "bin/p2pkad"
    quietly = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([python, *quietly, "--constraint", ROOT / "constraints.txt", wheel], check=True)
    for command in (
        [program, "--version"],
        [python, "-m", "p2pkad", "--version"],
        [python, "-c", "from p2pkad import *"],
    ):
        subprocess.run(command, check=True, cwd=environment)
    serve(program, environment)


def serve(program: Path, state: Path) -> None:
    """A node comes up, says so, and ends when it is told to."""
    command = [program, "run", "--json", "--listen", "/ip4/127.0.0.1/tcp/0", "--data-dir", state]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as node:
        assert node.stdout is not None
        print(node.stdout.readline(), end="")
        node.terminate()
    if node.returncode != 0:
        sys.exit(f"p2pkad run ended with {node.returncode}")


def main() -> int:
    wheel = build()
    found = complaints(wheel)
    for sentence in found:
        print(f"{wheel.name}: {sentence}")
    if found:
        return 1
    with tempfile.TemporaryDirectory() as scratch:
        try_out(wheel, Path(scratch) / "venv")
    print(f"{wheel.relative_to(ROOT)}: {wheel.stat().st_size} bytes; installs and starts in an empty environment")
    return 0


if __name__ == "__main__":
    sys.exit(main())
