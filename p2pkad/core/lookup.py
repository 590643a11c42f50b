"""One lookup, as a value: whom to ask next, and when it is over.

The window is the k nearest candidates that are neither failed nor late. In it the nearest are asked first, alpha at a
time; once the beta nearest have answered, the rest of it is asked at once. The lookup is over when all of the window has
answered, when its goal is reached, or at its deadline. A late peer holds no slot and delays no result, but its answer
counts until the end; only while there is nothing to show at all it is waited for. One that is slower than most is waited
for until it is late, but others are asked meanwhile, as if it were not in the window: where many are dead, it would take
one wait after the other to find those who live. The driver reports a hard deadline as a failure. What becomes of a
candidate is in `candidates`.

With several disjoint paths there is a window for each. The seeds are dealt out; an answer tells the path that asked, and
no other, of closer peers, and nobody is asked twice: so a peer that lies leads one path astray. Paths share alpha as long
as they are under way, and each has a slot. A peer belongs to the path that asks it first and not, as in js, to the one
that first hears of it: then naming honest peers would be enough to keep other paths from them. What answers say is the
goal's, whichever path brought it, and the k nearest are those of all paths.

Times: monotonic seconds, from the caller. Follows kad-dht r2, "Peer routing"; the paper's section 2.3; for disjoint paths
Baumgart and Mies, "S/Kademlia", section 4.4; ours: late, beta.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import islice

from p2pkad.core.candidates import Candidate, Input, Path, State, after, merged
from p2pkad.core.goals import Failure, Goal
from p2pkad.core.keyspace import SHA256, KeySpace, distance
from p2pkad.core.messages import AnyReply, FindNodeReply, GetProvidersReply, GetValueReply
from p2pkad.core.patience import Patience
from p2pkad.core.peers import PeerId


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupLimits:
    """How wide, how far and how long a lookup goes. Its defaults are those of `KademliaConfig`."""

    k: int = 20
    """How many nearest peers are wanted."""
    alpha: int = 10
    """Requests in flight before the beta nearest have answered; late ones do not count."""
    beta: int = 3
    """How many of the nearest must have answered before the rest of the k are asked at once."""
    soft: float = 2.0
    """Seconds until a silent peer is late, where nothing better is known of it."""
    hard: float = 10.0
    """Seconds until a silent peer has failed."""
    duration: float = 60.0
    """Seconds for the whole lookup."""
    disjoint_paths: int = 1
    """Paths that share no peer. As go; js has 10, rust as many as alpha where it is told to."""
    candidates: int = 1024
    """Peers that a path remembers: a bound on what liars can make a lookup do."""


@dataclass(frozen=True, slots=True)
class Query:
    """Ask this peer. failed: when to give up on it."""

    peer: PeerId
    failed: float


@dataclass(frozen=True, slots=True)
class Ask:
    """Send the goal's request to these peers now."""

    queries: tuple[Query, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """There is nothing to do before this time, unless an answer comes."""

    until: float


class Ending(Enum):
    """Why a lookup ended."""

    CONVERGED = "the k nearest have answered"
    REACHED = "the goal is reached"
    DEADLINE = "out of time"
    NOBODY = "nobody answered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a lookup came to.

    closest: the nearest peers that answered, nearest first, at most k of them. asked, answered, failed: how many; late: all
    the others that were asked. others: who else was heard of and did not fail, nearest first, silent ones last: in this
    order they take the places of those of `closest` that fail afterwards. hops: of the longest way to one of `closest`, or,
    where there is none, to who was asked: 1 is a peer that the lookup began with, 2 one that such a peer told of.
    """

    closest: tuple[PeerId, ...]
    ending: Ending
    asked: int
    answered: int
    failed: int
    late: int
    others: tuple[PeerId, ...] = ()
    hops: int = 0

    @property
    def complete(self) -> bool:
        """It ended by itself. The k nearest of those who answer in time have; a late peer may have had something to add."""
        return self.ending in (Ending.CONVERGED, Ending.REACHED)


@dataclass(frozen=True, slots=True)
class Done:
    """The lookup is over; every later call of `next` says the same."""

    outcome: Outcome


Step = Ask | Wait | Done


class Lookup:
    """A lookup of `goal.key`, beginning with `seeds`. It never asks `own`, and asks nobody twice.

    patience: since when a peer that was asked at that moment is waited for, and how patiently, as far as is known now; None:
    since then, `limits.soft` for everybody.
    """

    def __init__(
        self,
        goal: Goal,
        seeds: Iterable[PeerId],
        limits: LookupLimits,
        own: PeerId,
        now: float,
        *,
        patience: Callable[[PeerId, float], tuple[float, Patience]] | None = None,
        space: KeySpace = SHA256,
    ) -> None:
        self.goal = goal
        self.limits = limits
        self._unhurried = unhurried = Patience(limits.soft)
        self._patience = patience or (lambda peer, asked_at: (asked_at, unhurried))
        self._own = own
        self._space = space
        self._target = space.key(goal.key)
        self._deadline = now + limits.duration
        self._paths = {number: Path(limits.candidates) for number in range(limits.disjoint_paths)}
        self._asked: dict[int, Candidate] = {}  # everybody who was ever asked, by distance
        self._in_flight: dict[PeerId, Candidate] = {}  # those in state ASKED
        self._count: Counter[State] = Counter()  # of all states but HEARD
        self._outcome: Outcome | None = None
        seeds = tuple(seeds)
        for number in self._paths:
            self._hear(seeds[number :: len(self._paths)], number, 1)

    def on_reply(self, peer: PeerId, reply: AnyReply, now: float) -> None:
        """`peer` answered at `now`; its closer peers are believed. No effect unless it was asked, none after the end."""
        candidate = self._waiting(peer)
        if candidate is None:
            return
        self._move(candidate, Input.REPLY)
        self.goal.on_reply(peer, reply)
        if isinstance(reply, FindNodeReply | GetValueReply | GetProvidersReply):
            self._hear([info.id for info in reply.closer], candidate.path, candidate.hops + 1)

    def on_failure(self, peer: PeerId, reason: Failure, now: float) -> None:
        """`peer` will not answer any more. No effect unless it was asked, and none after the end."""
        candidate = self._waiting(peer)
        if candidate is None:
            return
        self._move(candidate, Input.FAILURE)
        self.goal.on_failure(peer, reason)

    def next(self, now: float) -> Step:
        """What to do at `now`. Asking twice without an input between gives Wait or Done the second time."""
        if self._outcome is None:
            due = self._give_up_slots(now)
            windows = self._unsettled()
            ending = self._ending(now, settled=not windows)
            if ending is None:
                queries = tuple(self._ask_along(windows, now))
                return Ask(queries) if queries else Wait(due)
            self._outcome = self._conclude(ending)
        return Done(self._outcome)

    @property
    def late(self) -> tuple[PeerId, ...]:
        """Who has passed its soft deadline without an answer, nearest first; a lookup that was cut short says nothing of it."""
        return tuple(candidate.peer for candidate in self._nearest() if candidate.state is State.LATE)

    def __repr__(self) -> str:
        count = self._count
        return (
            f"<Lookup {self._target >> max(0, self._space.bits - 16):04x} asked={count[State.ASKED]} late={count[State.LATE]} "
            f"answered={count[State.ANSWERED]} failed={count[State.FAILED]} "
            f"nearest={min(count[State.ANSWERED], self.limits.k)}/{self.limits.k}>"
        )

    def _move(self, candidate: Candidate, given: Input) -> None:
        before = candidate.state
        candidate.state = after(before, given)
        if before is State.ASKED:
            del self._in_flight[candidate.peer]
        if before is not State.HEARD:
            self._count[before] -= 1
        self._count[candidate.state] += 1

    # Slots are given away before they are counted: a peer that turns slow, or late, frees its slot in the same step. By what
    # is known now: the first answers of a lookup say how long the others may take.
    def _give_up_slots(self, now: float) -> float:
        """Returns when there is something of the kind to be done again."""
        soonest, late = self._deadline, []
        for path in self._paths.values():
            path.slots = 0
        for candidate in self._in_flight.values():
            due = candidate.since + candidate.patience.usual
            if due <= now:
                # Its connection may have been closed as it was asked, or opened only now.
                candidate.since, candidate.patience = self._patience(candidate.peer, candidate.asked_at)
                due = candidate.since + candidate.patience.usual
            if due > now:
                candidate.slow = False
                self._paths[candidate.path].slots += 1
            else:
                candidate.slow = True
                due = candidate.since + candidate.patience.wait
                if due <= now:
                    late.append(candidate)
                    continue
            if due < soonest:
                soonest = due
        for candidate in late:
            self._move(candidate, Input.SOFT_DEADLINE)
        return soonest

    def _unsettled(self) -> list[tuple[Path, list[Candidate]]]:
        """The paths that are under way, with their windows: there is somebody to ask, or to wait for."""
        unsettled = []
        for path in self._paths.values():
            window, slow = path.window(self.limits.k)
            if slow or any(candidate.state is not State.ANSWERED for candidate in window):
                unsettled.append((path, window))
        return unsettled

    def _ending(self, now: float, *, settled: bool) -> Ending | None:
        if self.goal.reached:
            return Ending.REACHED
        if now >= self._deadline:
            return Ending.DEADLINE
        if not settled or (self._count[State.LATE] and not self.goal.fruitful):
            return None
        return Ending.CONVERGED if self._count[State.ANSWERED] else Ending.NOBODY

    def _ask_along(self, windows: list[tuple[Path, list[Candidate]]], now: float) -> Iterator[Query]:
        free = self.limits.alpha - sum(path.slots for path in self._paths.values())
        share, more = divmod(self.limits.alpha, len(windows) or 1)
        for number, (path, window) in enumerate(windows):
            for candidate in self._choose(window, max(min(share + (number < more) - path.slots, free), 1 - path.slots)):
                free -= 1
                yield self._ask(candidate, now)
        # Who chose first this time chooses last the next time.
        first = next(iter(self._paths))
        self._paths[first] = self._paths.pop(first)

    def _choose(self, window: list[Candidate], slots: int) -> list[Candidate]:
        # Another path may have asked one of them in this very step.
        heard = [each for each in window if each.state is State.HEARD and each.away not in self._asked]
        if all(candidate.state is State.ANSWERED for candidate in window[: self.limits.beta]):
            return heard
        return heard[: max(0, slots)]

    def _ask(self, candidate: Candidate, now: float) -> Query:
        self._move(candidate, Input.ASKED)
        self._asked[candidate.away] = candidate
        self._in_flight[candidate.peer] = candidate
        for path in self._paths.values():
            path.share(candidate)
        candidate.asked_at = now
        candidate.since, candidate.patience = self._patience(candidate.peer, now)
        return Query(candidate.peer, min(now + self.limits.hard, self._deadline))

    def _conclude(self, ending: Ending) -> Outcome:
        answered = (candidate for candidate in self._nearest() if candidate.state is State.ANSWERED)
        nearest = list(islice(answered, self.limits.k))
        closest = dict.fromkeys(candidate.peer for candidate in nearest)
        late = self.late
        ruled_out = {*closest, *late}
        alive = (candidate.peer for candidate in self._nearest() if candidate.state is not State.FAILED)
        return Outcome(
            closest=tuple(closest),
            ending=ending,
            asked=sum(self._count.values()),
            answered=self._count[State.ANSWERED],
            failed=self._count[State.FAILED],
            late=self._count[State.LATE] + self._count[State.ASKED],
            others=(*(peer for peer in alive if peer not in ruled_out), *late),
            hops=max((candidate.hops for candidate in nearest or self._asked.values()), default=0),
        )

    def _nearest(self) -> Iterable[Candidate]:
        return self._paths[0] if len(self._paths) == 1 else merged(self._paths.values())

    def _waiting(self, peer: PeerId) -> Candidate | None:
        """The candidate, when an answer of it can still make a difference."""
        candidate = self._asked.get(self._distance(peer))
        if self._outcome is not None or candidate is None or candidate.state not in (State.ASKED, State.LATE):
            return None
        return candidate

    def _hear(self, peers: Iterable[PeerId], number: int, hops: int) -> None:
        path = self._paths[number]
        known, key_of, target = path.known, self._space.key, self._target
        for peer in peers:
            away = distance(key_of(peer), target)
            if away not in known and peer != self._own:
                path.hear(self._asked.get(away) or Candidate(peer, away, number, self._unhurried, hops=hops))

    def _distance(self, peer: PeerId) -> int:
        return distance(self._space.key(peer), self._target)
