"""Builds the wheel, looks into it, installs it into an empty environment and tries it there.

Tries it: as a reader of docs/embedding.md would, who does all that the page says and has nothing but the wheel.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.support.reader import NotAsShown, Reader  # noqa: E402  # a program by path finds it there

DIST = ROOT / "dist"
PAGE = ROOT / "docs" / "embedding.md"
LONGEST = 900.0
"""Seconds that any step may take: pip may have to download and compile."""

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


def try_out(wheel: Path, directory: Path) -> None:
    """Follow the page where nothing else is, and start what the wheel brings. Raises NotAsShown."""
    shutil.copy(wheel, directory)
    environment = directory / "venv"
    # pip takes options from there: the page types what people type, and gets the versions that the rest is tested with.
    pip = {
        "PIP_CONSTRAINT": str(ROOT / "constraints.txt"),
        "PIP_COMPILE": "0",  # Python compiles what it imports: a fifth of all that
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_QUIET": "1",
        "PYTHONPATH": "",
    }
    with Reader(PAGE, directory, environment / "bin", skipped=("sudo",), environment=pip, seconds=LONGEST) as reader:
        reader.follow()
    python, program = environment / "bin/python", environment / "bin/p2pkad"
    for command in (
        [program, "--version"],
        [python, "-m", "p2pkad", "--version"],
        [python, "-c", "from p2pkad import *"],
    ):
        subprocess.run(command, check=True, cwd=directory)


def main() -> int:
    wheel = build()
    found = complaints(wheel)
    for sentence in found:
        print(f"{wheel.name}: {sentence}")
    if found:
        return 1
    with tempfile.TemporaryDirectory() as scratch:
        try:
            try_out(wheel, Path(scratch))
        except NotAsShown as error:
            print(error)
            return 1
    print(f"{wheel.relative_to(ROOT)}: {wheel.stat().st_size} bytes; {PAGE.name} works with it alone in an empty environment")
    return 0


if __name__ == "__main__":
    sys.exit(main())
