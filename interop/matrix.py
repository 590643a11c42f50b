"""Plays cells: a network for each stage and bootstrap implementation, its cells one after the other, two networks at a time.

Cells that fail leave the logs of their peers behind, as they were at that moment, and the command that repeats them. A
network in which a peer ends by itself, or in which peers are silent again and again, is broken off: its remaining cells are
red. A peer that does not end as it should when its network is done is no cell's affair, and makes the run fail.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import trio
from cells import Cell, Result, Verdict, judged
from driver import Language, PeerSilent, open_driver
from failures import ANY, leaves
from stages import Network, Stage, names_of
from trials import Wrong

CELL_SECONDS = 180.0
"""More than answers may take, so that a peer's own word on what went wrong comes first."""
MOST_SILENCES = 3
"""In a network, before it is broken off: each takes a minute or more, and a peer that hangs is in a third of the cells."""
NETWORKS_AT_ONCE = 2
"""Half of the time of each goes by in waiting."""
FAILURES = (*ANY, Wrong)


@dataclass(slots=True)
class Run:
    """What came out. versions: by implementation, what its peers said of themselves. seconds: all of it took.

    bad_ends: of peers that died when their cells were done, or did not end as they should.
    """

    seed: str
    results: list[Result] = field(default_factory=list)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    seconds: float = 0.0
    bad_ends: list[str] = field(default_factory=list)

    @property
    def passes(self) -> bool:
        """Something was played, nothing is red, and the peers ended as they should."""
        played = len(self.results) > self.count(Verdict.NOT_RUN)
        return played and not self.count(Verdict.RED) and not self.bad_ends

    def count(self, verdict: Verdict) -> int:
        """How many cells came out so."""
        return sum(result.verdict is verdict for result in self.results)

    @property
    def summary(self) -> str:
        """All counts on one line."""
        counts = ", ".join(f"{self.count(verdict)} {verdict}" for verdict in Verdict)
        return counts + f", {len(self.bad_ends)} bad ends" * bool(self.bad_ends)


class Matrix:
    """Plays cells with the implementations that there are.

    missing: by implementation, why there are no others. tell: gets each result as soon as it is there.
    """

    def __init__(
        self,
        languages: Mapping[str, Language],
        missing: Mapping[str, str],
        seed: str,
        logs: Path,
        tell: Callable[[Result], None],
    ) -> None:
        self._languages = languages
        self._missing = missing
        self._logs = logs
        self._tell = tell
        self._run = Run(seed)

    async def play(self, cells: Sequence[Cell]) -> Run:
        """All of these cells, whatever becomes of them; the results in the same order."""
        began = trio.current_time()
        possible = []
        for cell in cells:
            if absent := sorted(cell.needs - set(self._languages)):
                self._note(Result(cell, Verdict.NOT_RUN, "; ".join(self._missing[name] for name in absent)))
            else:
                possible.append(cell)
        # Each takes its turn before it is started: a nursery starts what it was given in any order, and one that begins last
        # and takes long is waited for.
        turns = trio.Semaphore(NETWORKS_AT_ONCE)
        async with trio.open_nursery() as nursery:
            for (stage, bootstrap), group in by_network(possible).items():
                await turns.acquire()
                nursery.start_soon(self._play_network, stage, bootstrap, group, turns)
        order = {cell: place for place, cell in enumerate(cells)}
        self._run.results.sort(key=lambda result: order[result.cell])
        self._run.versions = {name: self._run.versions[name] for name in self._languages if name in self._run.versions}
        self._run.seconds = trio.current_time() - began
        return self._run

    async def _play_network(self, stage: Stage, bootstrap: str, cells: list[Cell], turns: trio.Semaphore) -> None:
        logs, left, bad_ends = self._logs / f"{stage}-{bootstrap}", list(cells), list[str]()
        try:
            async with open_driver(logs) as driver:
                bad_ends = driver.bad_ends
                await self._play_cells(Network(driver, stage, bootstrap, self._languages, self._run.seed), left, logs)
        except* Exception as group:
            self._break_off(left, "; ".join(map(told, leaves(group))), logs)
        finally:
            turns.release()
        self._run.bad_ends += bad_ends

    async def _play_cells(self, network: Network, left: list[Cell], logs: Path) -> None:
        """Each is taken out of the list when it is done. Raises what the driver raises, and PeerSilent too often."""
        await network.gather(left)
        while left:
            self._note(await play_cell(network, left[0]), logs)
            left.pop(0)
            self._run.versions.update(network.versions)
            if left and network.silences == MOST_SILENCES:
                raise PeerSilent(f"in {MOST_SILENCES} cells nobody answered in time")

    def _break_off(self, left: list[Cell], cause: str, logs: Path) -> None:
        if not left:
            self._run.bad_ends.append(cause)
        for cell in left:
            why = cause if cell is left[0] else f"in {left[0]}"
            self._note(Result(cell, Verdict.RED, f"the network was broken off: {why}"), logs)

    def _note(self, result: Result, logs: Path | None = None) -> None:
        self._run.results.append(result)
        if logs is not None and result.verdict is Verdict.RED:
            keep_logs(result.cell, self._run.seed, logs, self._logs / "failed" / file_name(result.cell))
        self._tell(result)


def by_network(cells: Iterable[Cell]) -> dict[tuple[Stage, str], list[Cell]]:
    """Cells that are played in one network, in their order; those of one writer follow each other within a scenario."""
    groups: dict[tuple[Stage, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.scenario.stage, cell.cast["bootstrap"]), []).append(cell)
    return groups


async def play_cell(network: Network, cell: Cell) -> Result:
    """One cell, to whatever end: an answer that no scenario reckons with is one, too. Raises only when it is cancelled."""
    began = trio.current_time()
    try:
        with trio.fail_after(CELL_SECONDS):
            scene = await network.scene(cell)
            began = trio.current_time()
            seen = await cell.scenario.observe(scene)
    except trio.TooSlowError:
        network.silences += 1
        return Result(cell, Verdict.RED, f"not done within {CELL_SECONDS:g} s", trio.current_time() - began)
    except Exception as error:
        network.silences += isinstance(error, PeerSilent)
        return Result(cell, Verdict.RED, told(error), trio.current_time() - began)
    return judged(cell, seen, trio.current_time() - began)


def told(error: BaseException) -> str:
    """An error in words. One that nobody reckons with has its type in front."""
    return str(error) if isinstance(error, FAILURES) else repr(error)


def keep_logs(cell: Cell, seed: str, logs: Path, place: Path) -> None:
    """Copy what there is of the logs and transcripts of a cell's peers, and write down how to repeat it."""
    place.mkdir(parents=True, exist_ok=True)
    for name in names_of(cell):
        for log in (logs / f"{name}.log", logs / f"{name}.jsonl"):
            if log.exists():
                shutil.copy2(log, place)
    (place / "repeat").write_text(f"{command(cell, seed)}\n")


def command(cell: Cell, seed: str) -> str:
    """What repeats a cell, with the same peer ids and the same keys."""
    words = ["python", "interop/run.py", "--scenario", cell.scenario.name, "--cell", cell.place, "--seed", seed]
    return shlex.join(words)


def file_name(cell: Cell) -> str:
    return "-".join([cell.scenario.name, *cell.peers])
