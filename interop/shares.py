"""What share of the reads in networks was right, by phase, kind and the implementation that reads; as tables.

p2pkad has to write all that it is told to, and to read everything: crowd.py sees to it that all of it is still there, and
that nobody reads what it holds. What the others may miss is ALLOWED, and what they may fail to write UNWRITTEN.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from crowd import KINDS, Kind, Reading, Writing
from tables import PAGE_OF_LINES, markdown_table


@dataclass(frozen=True, slots=True)
class Allowed:
    """What an implementation may miss, in per cent of its reads, and why: a line of DEVIATIONS.md, or None."""

    missed: float
    line: str | None = None


ALLOWED = {"p2pkad": Allowed(0.0), "js": Allowed(5.0, "js-starts-with-the-dead")}
OTHERS = Allowed(1.0)
"""What others miss by their own time-outs on a machine that is busy is not what these networks are about."""
UNWRITTEN = 10.0
"""Per cent of its writes that one of the others may fail: what was not written is counted as such, and nobody reads it."""
COMPLAINTS_KEPT = 10

Place = tuple[str, Kind, str]
"""Phase, kind and reader."""


def allowed(implementation: str) -> Allowed:
    """What its readers may miss."""
    return ALLOWED.get(implementation, OTHERS)


def may_fail(implementation: str) -> float:
    """Per cent of its writes."""
    return 0.0 if implementation == "p2pkad" else UNWRITTEN


@dataclass(slots=True)
class Report:
    """What came of one network. repeat: the command for another one like it. seconds: by step. killed: names of peers.

    writes, unwritten: by implementation, how many there were, and how many of them failed. complaints: the first ones of
    writes and reads. broken: why it has no end.
    """

    first: str
    repeat: str
    reads: Counter[Place] = field(default_factory=Counter)
    right: Counter[Place] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)
    killed: list[str] = field(default_factory=list)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    writes: Counter[str] = field(default_factory=Counter)
    unwritten: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    broken: str | None = None

    def count(self, phase: str, readings: Iterable[Reading]) -> None:
        """Take all reads of a phase."""
        for reading in readings:
            place = (phase, reading.written.kind, reading.reader.implementation)
            self.reads[place] += 1
            self.right[place] += reading.complaint is None
            if reading.complaint is not None:
                self._complain(f"{phase}: {reading.complaint}")

    def count_writes(self, writings: Iterable[Writing]) -> None:
        """Take all writes."""
        for writing in writings:
            name = writing.written.writer.implementation
            self.writes[name] += 1
            self.unwritten[name] += writing.complaint is not None
            if writing.complaint is not None:
                self._complain(f"not written: {writing.complaint}")

    def _complain(self, sentence: str) -> None:
        if len(self.complaints) < COMPLAINTS_KEPT:
            self.complaints.append(sentence)

    @property
    def shares(self) -> dict[Place, float]:
        """Per cent of reads that were right."""
        return {place: 100 * self.right[place] / reads for place, reads in self.reads.items()}

    @property
    def short(self) -> list[Place]:
        """Where too little was read."""
        return [place for place, share in self.shares.items() if share < 100 - allowed(place[2]).missed]

    @property
    def slack(self) -> list[str]:
        """Whose writes failed too often."""
        return [name for name, failed in self.unwritten.items() if 100 * failed / self.writes[name] > may_fail(name)]

    @property
    def passes(self) -> bool:
        """Whether it was played to its end, and everybody wrote enough, and read enough of it."""
        return self.broken is None and not self.slack and not self.short

    @property
    def rows(self) -> list[tuple[str, Kind]]:
        """Phases and kinds, in their order."""
        phases = dict.fromkeys(phase for phase, _, _ in self.reads)
        return [(phase, kind) for phase in phases for kind in KINDS]


@dataclass(frozen=True, slots=True)
class Summary:
    """All networks of a run. names: the implementations in them. setting: what the run was given.

    missing: a loud line for each implementation that is not in them.
    """

    reports: Sequence[Report]
    names: Sequence[str]
    setting: Mapping[str, object]
    missing: Sequence[str]

    @property
    def passes(self) -> bool:
        """Whether each network does, and there is one."""
        return bool(self.reports) and all(report.passes for report in self.reports)

    @property
    def seconds(self) -> float:
        """What all of it took."""
        return sum(sum(report.seconds.values()) for report in self.reports)

    @property
    def verdict(self) -> str:
        """In a few words."""
        bad = [f"{report.first} first" for report in self.reports if not report.passes]
        good = len(self.reports) - len(bad)
        count = f"{good} as they should be" if self.reports else "FAILED: nothing was played"
        parts = [count, f"FAILED: {', '.join(bad)}" if bad else "", *self.missing]
        return "; ".join(filter(None, parts))

    @property
    def versions(self) -> dict[str, dict[str, str]]:
        """By implementation, what its peers say of themselves."""
        return {name: versions for report in self.reports for name, versions in report.versions.items()}


def text(report: Report, names: Sequence[str]) -> str:
    """A network for a terminal: a row for each phase and kind, a column for each implementation that reads."""
    lines = [heading(report), f"{'':30}" + "".join(f"{f'{name} reads':>14}" for name in names)]
    for phase, kind in report.rows:
        lines.append(f"  {phase:17}{kind:11}" + "".join(f"{share:>14}" for share in row(report, phase, kind, names)))
    return "\n".join([*lines, *(f"  WRONG {sentence}" for sentence in faults(report))])


def heading(report: Report) -> str:
    """Who was first, how long it took, step by step, who was killed, and whose writes failed."""
    steps = ", ".join(f"{step} {seconds:.0f} s" for step, seconds in report.seconds.items())
    killed = f"; killed: {', '.join(report.killed)}" if report.killed else ""
    failed = [f"{count} of {report.writes[name]} by {name}" for name, count in report.unwritten.items() if count]
    unwritten = f"; not written: {', '.join(failed)}" if failed else ""
    return f"{report.first} first, {sum(report.seconds.values()):.0f} s ({steps}){killed}{unwritten}"


def row(report: Report, phase: str, kind: Kind, names: Sequence[str]) -> list[str]:
    """A percentage for each of these readers, a dash for those that have read nothing."""
    shares = (report.shares.get((phase, kind, name)) for name in names)
    return ["-" if share is None else f"{share:.1f} %" for share in shares]


def faults(report: Report) -> list[str]:
    """What keeps a network from passing, in sentences, and the first reads and writes that went wrong, if any."""
    broken = [f"broken off: {report.broken}"] if report.broken else []
    short = [f"{phase}: {name} misses more than {allowed(name).missed:g} % of the {kind}" for phase, kind, name in report.short]
    slack = [f"more than {may_fail(name):g} % of what {name} was to write failed" for name in report.slack]
    return [*broken, *slack, *short, *report.complaints]


def markdown(summary: Summary) -> str:
    """All networks: a table each, what is wrong in it, and what repeats it."""
    setting = ", ".join(f"{name} `{value}`" for name, value in summary.setting.items())
    parts = [f"# What everybody reads in networks of {', '.join(summary.names)}", f"{setting}."]
    parts += [limits(summary.names), *(f"**{line}**" for line in summary.missing)]
    parts.append(markdown_table(["implementation", "versions"], versions_of(summary)))
    for report in summary.reports:
        head = ["", "", *(f"{name} reads" for name in summary.names)]
        rows = [[phase, kind, *row(report, phase, kind, summary.names)] for phase, kind in report.rows]
        parts.append(f"## {report.first} first\n\n{heading(report)}\n\n`{report.repeat}`\n\n{markdown_table(head, rows)}")
        parts += [f"- {' '.join(sentence.split())}" for sentence in faults(report)]
    return "\n\n".join(parts) + "\n"


def limits(names: Sequence[str]) -> str:
    """A sentence on what readers may miss, and why."""
    parts = []
    for name in names:
        line = allowed(name).line
        why = f" ([{line}]({PAGE_OF_LINES}#{line}))" if line else ""
        parts.append(f"{name} {allowed(name).missed:g} %{why}")
    others = f"p2pkad has to write all, the others {100 - UNWRITTEN:g} %."
    return f"Nobody reads what it wrote or holds. Of its reads may miss: {', '.join(parts)}. {others}"


def versions_of(summary: Summary) -> list[list[str]]:
    """Each implementation with all that it said of itself."""
    return [[name, ", ".join(f"{what} {which}" for what, which in each.items())] for name, each in summary.versions.items()]


def json_text(summary: Summary) -> str:
    """All of it, for programs."""
    networks = [
        {
            "first": report.first,
            "passes": report.passes,
            "seconds": {step: round(seconds, 1) for step, seconds in report.seconds.items()},
            "killed": report.killed,
            "unwritten": dict(+report.unwritten),
            "faults": faults(report),
            "repeat": report.repeat,
            "shares": [
                {"phase": phase, "kind": kind, "reader": name, "reads": reads, "right": report.right[phase, kind, name]}
                for (phase, kind, name), reads in report.reads.items()
            ],
        }
        for report in summary.reports
    ]
    head = {**summary.setting, "missing": summary.missing, "versions": summary.versions}
    return json.dumps({**head, "networks": networks}, indent=1) + "\n"
