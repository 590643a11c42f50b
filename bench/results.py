"""What a program of the benchmark has at its end: what was measured, what could not be, and the file with every figure."""

from __future__ import annotations

import argparse
import json
import sys
import time
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
    """By name: what was measured, and why what was not could not be."""

    sections: dict[str, Section] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def missed(self) -> list[Ratio | Figure]:
        """The targets that were not reached."""
        return [each for section in self.sections.values() for each in (*section.ratios, *section.figures) if each.missed]


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
