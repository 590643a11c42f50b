"""Whom a lookup has heard of, and how far it has come with each of them.

            asked by next()  reply     failure  soft deadline
  heard     asked
  asked                      answered  failed   late
  late                       answered  failed
  answered, failed: final. A blank changes nothing: every input is legal in every state.

Candidates are named by their distance to the target, which no two peers share. A path keeps those it has heard of; of
one that several paths have heard of there is one copy as soon as any of them asks it.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from p2pkad.core.patience import Patience
from p2pkad.core.peers import PeerId


class State(Enum):
    """What is known of a candidate; the table is in the head of this module."""

    HEARD = "heard"
    ASKED = "asked"
    LATE = "late"
    ANSWERED = "answered"
    FAILED = "failed"


class Input(Enum):
    """What can happen to a candidate."""

    ASKED = "asked by next()"
    REPLY = "reply"
    FAILURE = "failure"
    SOFT_DEADLINE = "soft deadline"


_AFTER = {
    (State.HEARD, Input.ASKED): State.ASKED,
    (State.ASKED, Input.REPLY): State.ANSWERED,
    (State.ASKED, Input.FAILURE): State.FAILED,
    (State.ASKED, Input.SOFT_DEADLINE): State.LATE,
    (State.LATE, Input.REPLY): State.ANSWERED,
    (State.LATE, Input.FAILURE): State.FAILED,
}


def after(state: State, given: Input) -> State:
    """The state that follows; the same one where the table has a blank."""
    return _AFTER.get((state, given), state)


@dataclass(slots=True)
class Candidate:
    """A peer that may be asked.

    away: its distance to the target. path: the number of the one that asks it (the path itself, which has it, would make a
    cycle, and lookups the work of the garbage collector). asked_at, since: when it was asked, and from when on its answer is
    waited for, in monotonic seconds. patience: with such peers. slow: it takes longer than most; it may be dead, so that
    somebody else is asked in its place meanwhile. hops: 1 for a seed, and one more than those of whoever told of it first.
    """

    peer: PeerId
    away: int
    path: int
    patience: Patience
    state: State = State.HEARD
    asked_at: float = 0.0
    since: float = 0.0
    slow: bool = False
    hops: int = 1


class Path:
    """The candidates that one path of a lookup has heard of. most: how many it remembers.

    known: all of them, by distance. slots: how many it holds, as `next` last counted them.
    """

    def __init__(self, most: int) -> None:
        self.known: dict[int, Candidate] = {}
        self.slots = 0
        self._order: list[int] = []  # distances, ascending
        self._most = most

    def __iter__(self) -> Iterator[Candidate]:
        """Nearest first."""
        return map(self.known.__getitem__, self._order)

    def hear(self, candidate: Candidate) -> None:
        """A new candidate. When there are too many, the farthest that was not asked is forgotten, this one or another."""
        if len(self._order) >= self._most and not self._make_room(candidate.away):
            return
        insort(self._order, candidate.away)
        self.known[candidate.away] = candidate

    def share(self, candidate: Candidate) -> None:
        """Somebody asks this candidate: if this path has heard of it, it will see what comes of it."""
        if candidate.away in self.known:
            self.known[candidate.away] = candidate

    def window(self, size: int) -> tuple[list[Candidate], bool]:
        """The nearest that are neither failed nor late nor slow, so many of them; and whether a slow one is among them."""
        chosen: list[Candidate] = []
        slow = False
        for candidate in self:
            state = candidate.state
            if state is State.ASKED and candidate.slow:
                slow = True
            elif state is not State.FAILED and state is not State.LATE:
                chosen.append(candidate)
                if len(chosen) == size:
                    break
        return chosen, slow

    def _make_room(self, away: int) -> bool:
        for index in range(len(self._order) - 1, -1, -1):
            farthest = self._order[index]
            if farthest < away:
                return False
            if self.known[farthest].state is State.HEARD:
                del self.known[farthest], self._order[index]
                return True
        return False


def merged(paths: Iterable[Path]) -> list[Candidate]:
    """The candidates of all paths, each once, nearest first."""
    candidates = {candidate.away: candidate for path in paths for candidate in path}
    return [candidates[away] for away in sorted(candidates)]
