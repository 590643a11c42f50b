"""What a measurement hands over, and how it is printed.

A section has rows of figures and ratios; some ratios have a target. Ratios are of medians over rounds that were measured
in turn, so that a machine that is slow for a while is slow for both sides, or of all rounds together where it says so. Beside
each stands how far the rounds differed.
A warning is for what makes a figure doubtful; it is printed where nobody can miss it.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as fast something is. lowest, highest: of a single pair. target: None where nothing was promised."""

    what: str
    times: float
    lowest: float
    highest: float
    target: float | None = None

    @classmethod
    def between(cls, what: str, ours: Sequence[float], theirs: Sequence[float], target: float | None = None) -> Ratio:
        """Of the medians of two series of speeds that were measured in turn. One of `theirs` is never 0."""
        pairs = [mine / other for mine, other in zip(ours, theirs, strict=True)]
        return cls(what, statistics.median(ours) / statistics.median(theirs), min(pairs), max(pairs), target)

    @property
    def missed(self) -> bool:
        """There is a target, and it was not reached."""
        return self.target is not None and self.times < self.target

    def __str__(self) -> str:
        text = f"{self.what:64}{self.times:7.1f} x   (singly: {self.lowest:.1f} to {self.highest:.1f})"
        if self.target is not None:
            text += f"   target {self.target:g} x: {'NOT MET' if self.missed else 'met'}"
        return text


@dataclass(frozen=True, slots=True)
class Figure:
    """One number that says something by itself. at_least, at_most: the target, where something was promised."""

    what: str
    value: float
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None

    @property
    def missed(self) -> bool:
        """There is a target, and it was not reached."""
        too_low = self.at_least is not None and self.value < self.at_least
        return too_low or (self.at_most is not None and self.value > self.at_most)

    def __str__(self) -> str:
        text = f"{self.what:64}{self.value:9,.1f} {self.unit}".rstrip()
        for bound, target in (("at least", self.at_least), ("at most", self.at_most)):
            if target is not None:
                text += f"   target {bound} {target:,g}: {'NOT MET' if self.missed else 'met'}"
        return text


@dataclass(slots=True)
class Section:
    """One measurement. how: sentences that a reader needs to believe it. notes: what else there is to say about it.

    raw: every figure, for the JSON file.
    """

    title: str
    how: Sequence[str]
    headings: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    ratios: list[Ratio] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    raw: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """The first column is to the left, figures are to the right."""
        table = [self.headings, *self.rows]
        widths = [max(len(row[i]) for row in table if i < len(row)) for i in range(len(self.headings))]
        lines = [self.title, *(f"  {sentence}" for sentence in self.how), ""]
        for first, *rest in table:
            cells = [f"{cell:>{width}}" for cell, width in zip(rest, widths[1:], strict=False)]
            lines.append("   ".join([f"  {first:{widths[0]}}", *cells]).rstrip())
        lines += ["", *(f"  {ratio}" for ratio in self.ratios)] if self.ratios else []
        lines += ["", *(f"  {figure}" for figure in self.figures)] if self.figures else []
        lines += ["", *(f"  {note}" for note in self.notes)] if self.notes else []
        lines += ["", *(f"  DOUBTFUL: {warning}" for warning in self.warnings)] if self.warnings else []
        return "\n".join(lines)


def milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.2f}"


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of all values are, 0 to 1."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]
