"""What is tried, and how it is judged: a cell is a scenario with an implementation in each of its roles.

  a scenario's `observe` plays it and says what was seen, in a few words
  seen as wanted                            green
  seen as a line of DEVIATIONS.md foretells deviation; that line is named
  anything else, an error included          red
  an implementation is missing              not run

A deviation that is foretold and does not show is red, too: the line has to go.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from stages import Scene, Stage

DEVIATIONS = Path(__file__).with_name("DEVIATIONS.md")

Role = Literal["bootstrap", "writer", "reader"]
PAIR: tuple[Role, ...] = ("bootstrap", "writer")
"""What the writer does to the bootstrap peer. p2pkad reads, where somebody has to."""
TRIPLE: tuple[Role, ...] = ("bootstrap", "writer", "reader")


class Verdict(StrEnum):
    """How a cell came out."""

    GREEN = "green"
    DEVIATION = "deviation"
    RED = "red"
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True, eq=False)
class Deviation:
    """line: the anchor in DEVIATIONS.md. seen: what it makes of a cell with these implementations. The bootstrap peer is
    always named, and is not p2pkad: what it does is judged. Roles that are not named may be anybody's."""

    line: str
    seen: str
    roles: Mapping[Role, str] = field(default_factory=dict)

    def applies(self, cell: Cell) -> bool:
        """Whether it foretells this cell."""
        return all(cell.cast.get(role) == name for role, name in self.roles.items())


def of_any_size(seen_by_rust: str, seen: str) -> tuple[Deviation, ...]:
    """What implementations that cut no answers send: rust does not read it, and others see how large it is."""
    return tuple(
        Deviation(
            f"{name}-answers-of-any-size", seen_by_rust if asker == "rust" else seen, {"bootstrap": name, "writer": asker}
        )
        for name in ("go", "rust", "js")
        for asker in ("go", "rust", "js")
    )


@dataclass(frozen=True, slots=True, eq=False)
class Scenario:
    """says: the sentence that holds in a green cell. ids: of docs/scenarios.md. wanted: what `observe` sees then.

    deviations: the first one that applies counts. only: who can play a role, where that is not everybody.
    """

    name: str
    says: str
    ids: tuple[str, ...]
    stage: Stage
    roles: tuple[Role, ...]
    observe: Callable[[Scene], Awaitable[str]]
    wanted: str
    deviations: tuple[Deviation, ...] = ()
    only: Mapping[Role, tuple[str, ...]] = field(default_factory=dict)

    def can_be(self, peers: tuple[str, ...]) -> bool:
        """Whether these can play its roles."""
        cast = zip(self.roles, peers, strict=True)
        return all(name in self.only.get(role, (name,)) for role, name in cast)


@dataclass(frozen=True, slots=True)
class Cell:
    """peers: an implementation for each role of the scenario."""

    scenario: Scenario
    peers: tuple[str, ...]

    @property
    def cast(self) -> dict[Role, str]:
        """Who plays which role."""
        return dict(zip(self.scenario.roles, self.peers, strict=True))

    @property
    def place(self) -> str:
        """The implementations, as --cell takes them."""
        return "/".join(self.peers)

    @property
    def readers(self) -> tuple[str, str]:
        """Whose readers it needs: of who reads (p2pkad in a pair), and of the writer's implementation."""
        return self.cast.get("reader", "p2pkad"), self.cast["writer"]

    @property
    def needs(self) -> frozenset[str]:
        """All implementations that it cannot be played without."""
        return frozenset((*self.peers, *self.readers))

    @property
    def deviation(self) -> Deviation | None:
        """What is foretold of it."""
        return next((each for each in self.scenario.deviations if each.applies(self)), None)

    def __str__(self) -> str:
        return f"{self.scenario.name} {self.place}"


@dataclass(frozen=True, slots=True)
class Result:
    """How a cell came out, and after how long. detail: what was seen, or why there was nothing to see.

    line: the anchor in DEVIATIONS.md, where one is named.
    """

    cell: Cell
    verdict: Verdict
    detail: str
    seconds: float = 0.0
    line: str | None = None


class UnknownLine(Exception):
    """A scenario names a deviation that has no line in DEVIATIONS.md."""


def judged(cell: Cell, seen: str, seconds: float) -> Result:
    """The result of a cell that was played to its end."""
    foretold = cell.deviation
    if foretold is None:
        verdict = Verdict.GREEN if seen == cell.scenario.wanted else Verdict.RED
        detail = seen if verdict is Verdict.GREEN else f"{seen}, instead of: {cell.scenario.wanted}"
        return Result(cell, verdict, detail, seconds)
    if seen == foretold.seen:
        return Result(cell, Verdict.DEVIATION, seen, seconds, foretold.line)
    return Result(cell, Verdict.RED, f"{seen}, instead of, by {foretold.line}: {foretold.seen}", seconds, foretold.line)


def cells_of(scenarios: Iterable[Scenario], implementations: Sequence[str], place: tuple[str, ...] | None = None) -> list[Cell]:
    """Every scenario with every combination of these implementations; with `place`, only the one that is there."""
    return [
        Cell(scenario, peers)
        for scenario in scenarios
        for peers in product(implementations, repeat=len(scenario.roles))
        if place in (None, peers) and scenario.can_be(peers)
    ]


def lines_of(page: str) -> set[str]:
    """The anchors of a page like DEVIATIONS.md."""
    return set(re.findall(r'<a id="([\w-]+)"></a>', page))


def check_lines(scenarios: Iterable[Scenario], page: str) -> None:
    """Raises UnknownLine when a scenario names a line that the page does not have."""
    known = lines_of(page)
    for scenario in scenarios:
        for deviation in scenario.deviations:
            if deviation.line not in known:
                raise UnknownLine(f"{scenario.name} names {deviation.line}, which is no line of {DEVIATIONS.name}")
