"""Which implementations understand each other: go, rust, js and p2pkad in every role, one cell after the other.

    make interop                   or  python interop/run.py --peers go,p2pkad --scenario put-get --seed again

A cell is a scenario with an implementation in each of its roles: the bootstrap peer, the writer and, in triples, the reader.
It is green, an expected deviation (a line of interop/DEVIATIONS.md), red, or not run because a toolchain is missing.
Tables end up in .cache/interop/run: matrix.md, matrix.json and matrix.html. Below `failed` there is a directory for each
red cell, with the logs of its peers and the command that repeats it. A red cell makes the exit status 1, and so does a peer
that does not end as it should, and a run in which nothing could be played.
"""

from __future__ import annotations

import argparse
import secrets
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import tables
import trio
from builds import ROOT, BuildFailed
from cells import DEVIATIONS, Cell, Result, Verdict, cells_of, check_lines
from driver import Language
from implementations import FOREIGN, IMPLEMENTATIONS
from matrix import Matrix, Run, command, file_name
from scenarios import SCENARIOS

LOGS = ROOT / ".cache" / "interop" / "run"
README = ROOT / "README.md"
CELL_LOGS = ROOT / ".cache" / "interop" / "cell"
"""Of a cell that is repeated: those of the run in which it was red stay."""


def names(text: str, known: Sequence[str], separator: str = ",") -> tuple[str, ...]:
    """Names in a list, each a known one. Raises argparse's error, which names those that there are."""
    parts = tuple(part.strip() for part in text.split(separator))
    for part in parts:
        if part not in known:
            raise argparse.ArgumentTypeError(f"no {part!r} among {', '.join(known)}")
    return parts


def parser() -> argparse.ArgumentParser:
    implementations = partial(names, known=tuple(IMPLEMENTATIONS))
    scenarios, foreign = partial(names, known=tuple(SCENARIOS)), partial(names, known=FOREIGN)
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--peers", type=implementations, default=tuple(IMPLEMENTATIONS), help="who plays: go,rust,js,p2pkad")
    made.add_argument("--scenario", type=scenarios, default=tuple(SCENARIOS), help="some of --list")
    made.add_argument("--cell", type=partial(implementations, separator="/"), help="one cell of a scenario: go/p2pkad/rust")
    made.add_argument("--seed", default=secrets.token_hex(3), help="makes all keys, so that a run can be repeated")
    made.add_argument("--require", type=foreign, default=(), help="fail where these toolchains are missing")
    made.add_argument("--readme", action="store_true", help="write the short table into README.md, too")
    made.add_argument("--list", action="store_true", help="the scenarios, and what holds in them")
    return made


def parsed() -> argparse.Namespace:
    """The command line. Ends the program with status 2 for one that makes no sense."""
    made = parser()
    options = made.parse_args()
    whole = (options.peers, options.scenario, options.cell) == (tuple(IMPLEMENTATIONS), tuple(SCENARIOS), None)
    if options.readme and not whole:
        made.error("--readme shows the whole matrix: leave --peers, --scenario and --cell out")
    return options


def listing() -> str:
    """A line for each scenario."""
    rows = [
        f"{scenario.name:17} {'/'.join(scenario.roles):24} {' '.join(scenario.ids):10} {scenario.says}"
        for scenario in SCENARIOS.values()
    ]
    return "\n".join(rows)


def chosen(options: argparse.Namespace) -> list[Cell]:
    """The cells that the command line asks for."""
    peers = options.cell or options.peers
    scenarios = [SCENARIOS[name] for name in options.scenario]
    return cells_of(scenarios, tuple(dict.fromkeys(peers)), options.cell)


def built(cells: Sequence[Cell]) -> tuple[dict[str, Language], dict[str, str]]:
    """How to start the peers that these cells need; and of those that cannot be built here, why. Raises BuildFailed."""
    wanted = frozenset[str]().union(*(cell.needs for cell in cells))
    there = {name: each.language() for name, each in IMPLEMENTATIONS.items() if name in wanted}
    languages = {name: language for name, language in there.items() if language is not None}
    return languages, {name: IMPLEMENTATIONS[name].missing for name in there if name not in languages}


class Progress:
    """Says how far it is: a counter on a terminal, and a red cell at once and in full."""

    def __init__(self, total: int, seed: str, logs: Path) -> None:
        self._total = total
        self._seed = seed
        self._logs = logs
        self._done = 0

    def __call__(self, result: Result) -> None:
        self._done += 1
        if result.verdict is Verdict.RED:
            self._wipe()
            place = (self._logs / "failed" / file_name(result.cell)).relative_to(ROOT)
            print(f"RED {result.cell}: {result.detail}\n    {command(result.cell, self._seed)}\n    {place}", flush=True)
        if sys.stdout.isatty():
            print(f"\r{self._done}/{self._total} {result.cell}\033[K", end="", flush=True)
            if self._done == self._total:
                self._wipe()

    def _wipe(self) -> None:
        if sys.stdout.isatty():
            print("\r\033[K", end="")


def report(run: Run, missing: dict[str, str], place: Path) -> None:
    """Write the tables, and print the short one."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "matrix.md").write_text(tables.markdown(run))
    (place / "matrix.json").write_text(tables.json_text(run))
    (place / "matrix.html").write_text(tables.page(run))
    print(tables.overview(run))
    for line in (*missing.values(), *(f"BAD END: {end}" for end in run.bad_ends)):
        print(f"interop: {line}")
    print(f"interop: {run.summary}; {run.seconds:.0f} s; {place.relative_to(ROOT)}/matrix.html")


def main() -> int:
    options = parsed()
    check_lines(SCENARIOS.values(), DEVIATIONS.read_text())
    if options.list:
        print(listing())
        return 0
    cells = chosen(options)
    if not cells:
        players = "/".join(options.cell) if options.cell else ",".join(options.peers)
        print(f"interop: there is no cell of {players} in {','.join(options.scenario)}")
        return 2
    try:
        languages, missing = built(cells)
    except BuildFailed as error:
        print(f"interop: {error}")
        return 1
    print(f"interop: {len(cells)} cells, seed {options.seed}", flush=True)
    logs = CELL_LOGS if options.cell else LOGS
    shutil.rmtree(logs, ignore_errors=True)
    matrix = Matrix(languages, missing, options.seed, logs, Progress(len(cells), options.seed, logs))
    run = trio.run(matrix.play, cells)
    report(run, missing, logs)
    if options.readme:
        README.write_text(tables.in_readme(README.read_text(), run))
    return 0 if run.passes and not set(options.require) & set(missing) else 1


if __name__ == "__main__":
    status = 130
    try:
        status = main()
    except* KeyboardInterrupt:  # on its own, or in the group of a nursery
        print("\ninterop: interrupted; there are no tables of this run")
    sys.exit(status)
