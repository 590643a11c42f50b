"""How long a lookup takes in a small network that has come to rest: ours beside py-libp2p's `libp2p.kad_dht`, in turn."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from processes import Answer, Driver, Peer, own
from report import Ratio, Section, milliseconds, percentile

TARGET = 10.0
PROCESSES = 2
NODES = 20
"""In each of the processes."""
KINDS = {"p2pkad": ("nodes.py", "p2pkad"), "stock": ("stock_nodes.py", "libp2p.kad_dht")}
"""The program, and the name that is printed."""
KNOWN = {"p2pkad": 20, "stock": 15}
"""Peers in the routing table of each node before lookups begin. The others are heard of in the answers."""
WARM_UP = 3
"""Lookups of each node that do not count: they open the connections and streams that the network has still to open."""
SETTLE_SECONDS = 240.0
LOOK_UP_SECONDS = 120.0
COLLECTOR = ("as started", "frozen")
"""How the garbage collector finds the processes; frozen: what there is before the lookups is kept from it (gc.freeze)."""


@dataclass(slots=True)
class Figures:
    """Of one kind in one state of the collector. seconds: of each lookup, by round; the others of all lookups together.

    right: shares of the 20 nearest that were found. pause, collecting: seconds, the longest and all of them together.
    """

    rounds: list[list[float]] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    right: list[float] = field(default_factory=list)
    pause: float = 0.0
    collecting: float = 0.0

    @property
    def seconds(self) -> list[float]:
        """Of all rounds."""
        return [value for of_round in self.rounds for value in of_round]

    def add(self, answers: list[Answer]) -> None:
        """Book a round, of all processes."""
        self.rounds.append([value for answer in answers for value in answer["seconds"]])
        self.asked += [value for answer in answers for value in answer["asked"]]
        self.right += [value for answer in answers for value in answer["right"]]
        self.pause = max(self.pause, *(answer["pause"] for answer in answers))
        self.collecting += sum(answer["collecting"] for answer in answers)

    def speeds(self, share: float) -> list[float]:
        """Lookups a second of each round, by one of its percentiles."""
        return [1 / percentile(of_round, share) for of_round in self.rounds]


Results = dict[tuple[str, str], Figures]
"""By kind, and state of the collector."""


class Running:
    """The processes of one kind, whose nodes know each other."""

    def __init__(self, processes: list[Peer], everybody: list[str]) -> None:
        self._processes = processes
        self._everybody = everybody

    @classmethod
    async def start(cls, driver: Driver, kind: str, seed: int) -> Running:
        """All nodes, which have met."""
        program, _ = KINDS[kind]
        first = await driver.start(f"{kind}-0", own(program, NODES, seed))
        others = [
            await driver.start(f"{kind}-{number}", own(program, NODES, seed + number, first.address))
            for number in range(1, PROCESSES)
        ]
        processes = [first, *others]
        for process in processes:
            await process.ask("settle", timeout=SETTLE_SECONDS, peers=KNOWN[kind])
        everybody = [each for process in processes for each in (await process.ask("ids"))["ids"]]
        return cls(processes, everybody)

    async def look_up(self, lookups: int) -> list[Answer]:
        """So many from each process, one process after the other."""
        request = {"lookups": lookups, "everybody": self._everybody}
        return [await process.ask("look_up", timeout=LOOK_UP_SECONDS, **request) for process in self._processes]

    async def warm_up(self) -> None:
        """Lookups that do not count."""
        await self.look_up(WARM_UP * NODES)

    async def freeze(self) -> None:
        for process in self._processes:
            await process.ask("freeze")


async def measure(driver: Driver, *, rounds: int, lookups: int, seed: int) -> Section:
    """In each round `lookups` random keys from each process of each kind, one lookup at a time."""
    running = {kind: await Running.start(driver, kind, seed) for kind in KINDS}
    # When all are there, and ours last: streams that nobody uses are closed again. Theirs are opened for each request.
    for kind in reversed(KINDS):
        await running[kind].warm_up()
    results: Results = {}
    for state in COLLECTOR:
        if state == "frozen":
            for processes in running.values():
                await processes.freeze()
        results |= {(kind, state): Figures() for kind in KINDS}
        for _ in range(rounds):
            for kind, processes in running.items():
                results[kind, state].add(await processes.look_up(lookups))
    return report(results)


def report(results: Results) -> Section:
    """What came out."""
    section = Section(
        "Lookups",
        [
            f"The closest peers of random keys, one at a time, kinds in turn: {PROCESSES} processes of {NODES} nodes each,",
            "which have met; k = 20. right: how many of the 20 nearest that there are were found.",
            "Twenty nodes have many objects: what the garbage collector's share is shows where they are kept from it.",
            "Ratios are of all lookups together.",
        ],
        ("", "lookups", "p50 ms", "p99 ms", "longest GC ms", "GC % of time", "peers asked", "right %"),
        raw={
            "cases": [
                {"kind": kind, "collector": state, "rounds": each.rounds, "asked": each.asked, "right": each.right}
                for (kind, state), each in results.items()
            ]
        },
    )
    for (kind, state), each in results.items():
        seconds = each.seconds
        section.rows.append(
            (
                f"{KINDS[kind][1]}, {state}",
                str(len(seconds)),
                *map(milliseconds, (percentile(seconds, 0.5), percentile(seconds, 0.99), each.pause)),
                f"{100 * each.collecting / sum(seconds):.0f}",
                f"{sum(each.asked) / len(each.asked):.1f}",
                f"{100 * sum(each.right) / len(each.right):.1f}",
            )
        )
    for state in COLLECTOR:
        ours, theirs = results["p2pkad", state], results["stock", state]
        for share, name in ((0.5, "p50"), (0.99, "p99")):
            target = TARGET if state == "as started" else None
            what = f"lookups, {name}, {state}: p2pkad / kad_dht"
            section.ratios.append(compared(what, ours, theirs, share, target))
    return section


def compared(what: str, ours: Figures, theirs: Figures, share: float, target: float | None) -> Ratio:
    """Of a percentile of all lookups: of the few in a round a high one is the slowest of all. Singly: of each round's."""
    singly = Ratio.between(what, ours.speeds(share), theirs.speeds(share), target)
    return replace(singly, times=percentile(theirs.seconds, share) / percentile(ours.seconds, share))
