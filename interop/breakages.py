"""Whether the matrix notices when p2pkad breaks.

    python interop/breakages.py                       all of them
    python interop/breakages.py own-id-nothing --all  one, and every scenario: what else does it turn red?

breakages.toml lists changes of p2pkad, and the cells that each has to turn red. A change is made in a copy, and its scenarios
are played there with everybody in every role. It is noticed when these cells are red, and none without p2pkad in a role is.
Cells of a toolchain that is missing are left out. A breakage that is not noticed makes the exit status 1.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from builds import CACHE, ROOT
from implementations import IMPLEMENTATIONS

LIST = Path(__file__).with_name("breakages.toml")
COPY = CACHE / "broken"
COPIED = ("p2pkad", "interop")
PEERS = ("go-peer-*", "rust-peer-*", "js-p*-*")
"""In the cache: peers that are built already, and what they need."""
RUN_SECONDS = 3600.0
"""For one run: the whole matrix takes some five minutes, and red cells may take the minutes that each is given."""
INTERRUPTED = 130


class Unusable(Exception):
    """A breakage taught nothing: its old text is not in the file exactly once, or the run broke off."""


@dataclass(frozen=True, slots=True)
class Change:
    """In a file of the checkout, one text becomes another."""

    file: str
    old: str
    new: str

    def applied(self, source: str) -> str:
        """The source with the change. Raises Unusable."""
        if source.count(self.old) != 1:
            raise Unusable(f"its old text is {source.count(self.old)} times in {self.file}, not once")
        return source.replace(self.old, self.new)


@dataclass(frozen=True, slots=True)
class Breakage:
    """scenarios: those that are played. red: patterns of the cells, as "one-stream p2pkad/*", that have to turn red."""

    name: str
    scenarios: tuple[str, ...]
    red: tuple[str, ...]
    changes: tuple[Change, ...]

    def means(self, cell: str) -> bool:
        """Whether the cell has to be red."""
        return any(fnmatchcase(cell, pattern) for pattern in self.red)


def read(text: str) -> list[Breakage]:
    """The breakages of a list. Raises KeyError or TypeError for a table that is none."""
    return [
        Breakage(name, tuple(each["scenarios"]), tuple(each["red"]), tuple(Change(**change) for change in each["changes"]))
        for name, each in tomllib.loads(text).items()
    ]


def broken(breakage: Breakage, place: Path = COPY) -> Path:
    """A copy of the checkout with the breakage in it, beside the peers that are built already. Raises Unusable."""
    shutil.rmtree(place, ignore_errors=True)
    for name in COPIED:
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    cache = place / CACHE.relative_to(ROOT)
    cache.mkdir(parents=True)
    for peer in (peer for pattern in PEERS for peer in CACHE.glob(pattern)):
        (cache / peer.name).symlink_to(peer)
    for change in breakage.changes:
        file = place / change.file
        file.write_text(change.applied(file.read_text()))
    return place


def verdicts(place: Path, scenarios: Sequence[str]) -> dict[str, str]:
    """By cell, how it comes out in a copy; without scenarios, in all of them. Raises Unusable."""
    words = ["--scenario", ",".join(scenarios)] if scenarios else []
    command = [sys.executable, str(place / "interop" / "run.py"), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=place, check=False, timeout=RUN_SECONDS)
    except subprocess.TimeoutExpired:
        raise Unusable(f"the run was not over after {RUN_SECONDS:g} s") from None
    result = place / ".cache" / "interop" / "run" / "matrix.json"
    if not result.exists():
        raise Unusable(f"the run broke off: {done.stdout}{done.stderr}")
    cells = json.loads(result.read_text())["cells"]
    return {f"{cell['scenario']} {'/'.join(cell['roles'].values())}": cell["verdict"] for cell in cells}


def complaint(breakage: Breakage, seen: dict[str, str]) -> str | None:
    """What is wrong with the colours of the cells. None: it was noticed."""
    played = {cell: verdict for cell, verdict in seen.items() if verdict != "not run"}
    missed = [cell for cell, verdict in played.items() if breakage.means(cell) and verdict != "red"]
    others = [cell for cell, verdict in played.items() if "p2pkad" not in cell and verdict == "red"]
    if not any(map(breakage.means, played)):
        return "none of its cells was played"
    parts = [f"not red: {', '.join(missed)}"] * bool(missed) + [f"red without p2pkad: {', '.join(others)}"] * bool(others)
    return "; ".join(parts) or None


def noticed(breakage: Breakage, everything: bool) -> bool:
    """Play it and say what came of it."""
    try:
        seen = verdicts(broken(breakage), () if everything else breakage.scenarios)
        wrong = complaint(breakage, seen)
    except Unusable as error:
        seen, wrong = {}, str(error)
    red = [cell for cell, verdict in seen.items() if verdict == "red"]
    print(f"{breakage.name}: {'noticed' if wrong is None else f'NOT AS IT SHOULD BE: {wrong}'}")
    print("".join(f"    {cell}\n" for cell in red), end="", flush=True)
    return wrong is None


def main() -> int:
    breakages = {each.name: each for each in read(LIST.read_text())}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(breakages)}")
    parser.add_argument("--all", action="store_true", help="play all scenarios, not only those that should notice")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in breakages]:
        parser.error(f"no breakage is called {', '.join(unknown)}")
    # Copies have links to peers that are built, and must not build newer ones in their place.
    for implementation in IMPLEMENTATIONS.values():
        implementation.language()
    results = [noticed(breakages[name], options.all) for name in options.names or breakages]
    print(f"breakages: {sum(results)} of {len(results)} noticed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
