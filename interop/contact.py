"""p2pkad nodes and a real go-libp2p-kad-dht peer in several processes: who gets what from whom.

    make contact                   or  python interop/contact.py --only k=3 --seed again

Ten p2pkad servers and ten p2pkad clients, each a process of its own, know one go peer. When they have found each other:

  1. everybody puts and everybody else gets; the same with providers, and with finding each other
  2. a third of p2pkad is killed at one moment and started again, with its data directory and without a bootstrap list, half
     of them at another port; go's routing table holds exactly the servers again, everybody reads all of 1 once more, and
     who came back and who never left write for each other
  3. go's routing table holds exactly the servers; one turns client and leaves it, turns server and is back
  4. the go peer is killed, a newcomer comes in through a p2pkad server, and ten fresh ones of everything work
  5. so does another go peer, which dials where the first one was dialled; everybody and it read from each other

once with the defaults, and once with five of each and buckets and replication of 3, where no reader may hold what it reads.
A cell counts what the readers saw. One that is not full makes the exit status 1, and what failed is listed.
"""

from __future__ import annotations

import argparse
import os
import platform
import secrets
import shutil
import statistics
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise, permutations
from pathlib import Path

import trio
from builds import GO_MISSING, ROOT, BuildFailed, go_peer
from driver import Driver, go_language, open_driver, py_language
from failures import ANY, leaves
from gathering import FOUND_SECONDS, Network, Setting, gather, go_has
from restarts import kill_and_restart
from trials import TRIALS, Kind, Node, Outcome, Read, read_again, run

LOGS = ROOT / ".cache" / "interop" / "contact"
DATA = ROOT / ".cache" / "interop" / "contact-data"
FRESH = 10
SWITCH_SECONDS = 10.0
KINDS: tuple[Kind, ...] = ("server", "client", "go")
HEADINGS = f"{'held':>7}{'median ms':>11}{'slowest':>9}"
"""Over each row: how many readers had it already, and what the reading took."""
FAILURES_SHOWN = 10

SETTINGS = (Setting("defaults", 10, None, False), Setting("k=3", 5, 3, True))


class Report:
    """What is printed at the end: tables, timings, and what was wrong."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._lines = [f"{setting.name:26}" + "".join(f"{f'to {kind}':>11}" for kind in KINDS) + HEADINGS]
        self.wrong: list[str] = []

    def count(
        self, title: str, outcomes: Sequence[Outcome], rows: Mapping[str, Iterable[Node]], moved: Collection[Node] = ()
    ) -> None:
        """A row for each group of sources, a column for each kind of reader, a count of those that were right in each cell.

        moved: sources that have announced themselves anew, at another port, to the nearest of those whom they had met
        by then: whoever reads may be one of them, and hold it.
        """
        for row, sources in rows.items():
            of_row = [outcome for outcome in outcomes if outcome.source in sources]
            cells = [cell([outcome for outcome in of_row if outcome.reader.kind == kind]) for kind in KINDS]
            reads = [outcome.read for outcome in of_row if isinstance(outcome.read, Read)]
            times = [1000 * read.seconds for read in reads] or [0.0]
            held = sum(read.held for read in reads)
            figures = f"{held:7}{statistics.median(times):11.1f}{max(times):9.1f}"
            self._lines.append(f"  {title:10}{row:14}" + "".join(f"{text:>11}" for text in cells) + figures)
        self.wrong += [f"{title}: {outcome}" for outcome in outcomes if not self._passes(outcome, moved)]

    def note(self, text: str) -> None:
        """A line of its own."""
        self._lines.append(f"  {text}")

    def __str__(self) -> str:
        shown = [f"  WRONG {failure}" for failure in self.wrong[:FAILURES_SHOWN]]
        more = len(self.wrong) - len(shown)
        return "\n".join(["", *self._lines, *shown, *([f"  WRONG and {more} more"] if more else [])])

    def _passes(self, outcome: Outcome, moved: Collection[Node]) -> bool:
        if not isinstance(outcome.read, Read):
            return False
        return not (self._setting.hop and outcome.read.held) or outcome.source in moved


def cell(outcomes: Sequence[Outcome]) -> str:
    return f"{sum(outcome.right for outcome in outcomes)}/{len(outcomes)}" if outcomes else "-"


async def contact(driver: Driver, setting: Setting, seed: str, binary: Path) -> Report:
    """One whole run. Raises what the driver raises, and NeverHappened, when it cannot go on."""
    report = Report(setting)
    started = trio.current_time()
    network = await gather(driver, setting, seed, binary, DATA / setting.name)
    versions = {**network.p2pkad[0].peer.versions, **network.go.peer.versions}
    report.note(", ".join(f"{name} {version}" for name, version in versions.items()))
    report.note(f"a go peer and {len(network.p2pkad)} p2pkad nodes found each other in {trio.current_time() - started:.1f} s")
    await everybody_reads_from_everybody(report, network, seed)
    await a_third_comes_back(driver, report, network, setting, seed)
    await a_server_turns_client_and_back(report, network)
    await life_goes_on_without_go(driver, report, network, setting, seed)
    await another_go_peer_comes_in(driver, report, network, setting, seed, binary)
    report.note(f"done in {trio.current_time() - started:.1f} s")
    return report


async def everybody_reads_from_everybody(report: Report, network: Network, seed: str) -> None:
    rows = {"from servers": network.servers, "from clients": network.clients, "from go": [network.go]}
    for title, trial in TRIALS.items():
        pairs = permutations(network.everybody, 2)
        outcomes = await run(trial, pairs, [*network.servers, network.go], f"{seed} {title}")
        report.count(title, outcomes, rows)


async def a_third_comes_back(driver: Driver, report: Report, network: Network, setting: Setting, seed: str) -> None:
    """Kill a third and start it again with what it has on disk. Everybody reads what it has read before; then those who
    came back and as many of those who never left write for each other."""
    began = trio.current_time()
    back = await kill_and_restart(driver, network, setting, seed)
    await go_has(network, network.servers, FOUND_SECONDS)
    report.note(
        f"{len(back.nodes)} p2pkad nodes were killed; they and go have found each other again without a bootstrap list, "
        f"{len(back.moved)} at another port, in {trio.current_time() - began:.1f} s; everything from before is read again:"
    )
    others = [node for node in network.everybody if node not in back.nodes]
    rows = {"from back": back.nodes, "from others": others}
    servers = [*network.servers, network.go]
    for title, trial in TRIALS.items():
        outcomes = await read_again(trial, permutations(network.everybody, 2), servers, f"{seed} {title}")
        report.count(title, outcomes, rows, back.moved if title == "providers" else ())
    report.note("who came back and who never left write and read:")
    pairs = [pair for one, other in zip(back.nodes, others, strict=False) for pair in ((one, other), (other, one))]
    for title, trial in TRIALS.items():
        report.count(title, await run(trial, pairs, servers, f"{seed} back {title}"), rows)


async def a_server_turns_client_and_back(report: Report, network: Network) -> None:
    turncoat, *others = network.servers
    await turncoat.peer.ask("set_mode", mode="client")
    left = await go_has(network, others, SWITCH_SECONDS)
    await turncoat.peer.ask("set_mode", mode="server")
    back = await go_has(network, network.servers, SWITCH_SECONDS)
    report.note(
        f"go's table holds exactly the {len(others) + 1} servers; {turncoat} turned client and left it "
        f"within {1000 * left:.0f} ms, "
        f"turned server and was back within {1000 * back:.0f} ms"
    )


async def life_goes_on_without_go(driver: Driver, report: Report, network: Network, setting: Setting, seed: str) -> None:
    """Kill go. Ten of each trial then, two of them with somebody who came after it was gone."""
    await network.go.peer.kill()
    report.note("the go peer was killed; a newcomer bootstraps from a p2pkad server")
    bootstrap = network.servers[-1].peer.addresses
    newcomer = Node(await driver.start("newcomer", py_language(), seed=seed, bootstrap=bootstrap, **setting.flags), "server")
    # It joins by itself; this returns when its first refresh is done, after which the others know it as well.
    await newcomer.peer.ask("bootstrap", peers=bootstrap)
    # A chain that the newcomer begins and ends: each one is read from by the next.
    chain = [newcomer, *network.p2pkad[: FRESH - 1], newcomer]
    for title, trial in TRIALS.items():
        outcomes = await run(trial, pairwise(chain), [*network.servers, newcomer], f"{seed} fresh {title}")
        report.count(title, outcomes, {"without go": chain})
    network.p2pkad.append(newcomer)


async def another_go_peer_comes_in(
    driver: Driver, report: Report, network: Network, setting: Setting, seed: str, binary: Path
) -> None:
    """A go peer that dials instead of being dialled: it knows a p2pkad server, and nobody knows it."""
    report.note("another go peer bootstraps from a p2pkad server")
    bootstrap = network.servers[0].peer.addresses
    flags = {"seed": f"{seed} again", "bootstrap": bootstrap, **setting.flags}
    go = Node(await driver.start("go-again", go_language(binary), **flags), "go")
    await go.peer.ask("bootstrap", peers=bootstrap)
    pairs = [pair for node in network.p2pkad for pair in ((go, node), (node, go))]
    for title, trial in TRIALS.items():
        outcomes = await run(trial, pairs, [*network.servers, go], f"{seed} again {title}")
        report.count(title, outcomes, {"from p2pkad": network.p2pkad, "from new go": [go]})


def machine() -> str:
    models = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    return f"{platform.platform()}, {os.cpu_count()} x {models[0] if models else platform.machine()}"


async def contact_all(settings: Sequence[Setting], seed: str, binary: Path) -> bool:
    """Run each setting, print its report, and say whether all of it was right."""
    right = True
    for setting in settings:
        logs = LOGS / setting.name
        shutil.rmtree(logs, ignore_errors=True)
        try:
            async with open_driver(logs) as driver:
                report = await contact(driver, setting, seed, binary)
        except* ANY as group:
            print(f"\n{setting.name}: BROKEN OFF: {'; '.join(map(str, leaves(group)))}\n  logs: {logs}")
            right = False
        else:
            print(report, flush=True)
            if report.wrong:
                print(f"  logs: {logs}")
                right = False
    return right


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", default=secrets.token_hex(3), help="makes all keys, so that a run can be repeated")
    parser.add_argument("--only", choices=[setting.name for setting in SETTINGS])
    parser.add_argument("--require", choices=["go"], help="fail where this toolchain is missing")
    options = parser.parse_args()
    try:
        binary = go_peer()
    except BuildFailed as error:
        print(f"contact: {error}")
        return 1
    if binary is None:
        print(f"contact: {GO_MISSING}")
        return 1 if options.require else 0
    print(f"contact: seed {options.seed}, {machine()}", flush=True)
    settings = [setting for setting in SETTINGS if options.only in (None, setting.name)]
    right = trio.run(contact_all, settings, options.seed, binary)
    print("\ncontact: every cell is full" if right else "\ncontact: FAILED")
    return 0 if right else 1


if __name__ == "__main__":
    status = 130
    try:
        status = main()
    except* KeyboardInterrupt:  # on its own, or in the group of a nursery
        print("\ncontact: interrupted")
    sys.exit(status)
