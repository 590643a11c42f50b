"""What the programs of the benchmark have in common: their options, what they print, and the file with every figure."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from machine import Machine
from processes import ROOT
from report import Figure, Ratio, Section

CACHE = ROOT / ".cache" / "bench"
INTERRUPTED = 130
"""The status of a program that Ctrl-C ended, as shells have it."""


@dataclass(slots=True)
class Results:
    """By name: what was measured, and why what was not could not be. lacking: what the whole run went without."""

    sections: dict[str, Section] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    lacking: list[str] = field(default_factory=list)

    @property
    def missed(self) -> list[Ratio | Figure]:
        """The targets that were not reached."""
        return [each for section in self.sections.values() for each in (*section.ratios, *section.figures) if each.missed]


def parse(description: str | None, names: Iterable[str], *, quick: str, seed: str) -> argparse.Namespace:
    """The options of a program, from its command line. quick, seed: what these two mean in it."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--strict", action="store_true", help="a target that is missed makes the exit status 1")
    parser.add_argument("--only", action="append", choices=list(names), help="one measurement; repeatable")
    parser.add_argument("--seed", type=int, default=1, help=seed)
    return parser.parse_args()


def run(program: str, options: argparse.Namespace, measure: Callable[[], Results | None]) -> int:
    """Measure, print and write what came of it; `measure` returns None when it was interrupted. Returns the exit status."""
    machine, date, began = Machine.this_one(), now(), time.monotonic()
    results = measure()
    if results is None:
        return INTERRUPTED
    quick = ", quick" if options.quick else ""
    print(f"p2pkad {program}, {date}, seed {options.seed}{quick}, {time.monotonic() - began:.0f} s")
    print(machine, "", *(f"{section}\n" for section in results.sections.values()), sep="\n")
    for what in results.lacking:
        print(what)
    for target in results.missed:
        print(f"TARGET NOT MET: {target}")
    for name, reason in results.failures.items():
        print(f"NOT MEASURED: {name}: {reason}")
    print(f"every figure: {os.path.relpath(write_json(program, date, machine, options, results))}")
    return 1 if results.failures or (results.missed and options.strict) else 0


def say(text: str) -> None:
    """Progress."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def now() -> str:
    """The date of a run, as it is printed and written."""
    return time.strftime("%Y-%m-%dT%H:%M:%S")


def write_json(program: str, date: str, machine: Machine, options: argparse.Namespace, results: Results) -> Path:
    """Every figure of a run, under the cache; returns where."""
    CACHE.mkdir(parents=True, exist_ok=True)
    path = CACHE / f"{program}-{date.replace(':', '')}.json"
    content = {
        "date": date,
        "machine": machine.as_fields(),
        "options": vars(options),
        "sections": {name: _as_fields(section) for name, section in results.sections.items()},
        "failures": results.failures,
    }
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


def _as_fields(section: Section) -> dict[str, object]:
    return {
        "ratios": [asdict(ratio) for ratio in section.ratios],
        "figures": [asdict(figure) for figure in section.figures],
        "warnings": section.warnings,
        **section.raw,
    }
