"""p2pkad nodes and a real go-libp2p-kad-dht peer in several processes: who gets what from whom.

    make contact                   or  python interop/contact.py --only k=3 --seed again

Five p2pkad servers and five p2pkad clients, each a process of its own, know one go peer. When they have found each other:

  1. everybody puts and everybody else gets; the same with providers, and with finding each other
  2. go's routing table holds exactly the five servers; one turns client and leaves it, turns server and is back
  3. the go peer is killed, a newcomer comes in through a p2pkad server, and ten fresh ones of everything work
  4. so does another go peer, which dials where the first one was dialled; everybody and it read from each other

once with the defaults, and once with buckets and replication of 3, where no reader may hold what it reads. A cell counts
what the readers saw. One that is not full makes the exit status 1, and what failed is listed.
"""

from __future__ import annotations

import argparse
import os
import platform
import secrets
import shutil
import statistics
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import count, pairwise, permutations
from pathlib import Path

import trio
from builds import GO_MISSING, ROOT, BuildFailed, go_peer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from driver import (
    Answer,
    Driver,
    eventually,
    go_language,
    open_driver,
    py_language,
)
from failures import ANY, leaves
from trials import TRIALS, Kind, Node, Outcome, Read, point, run

LOGS = ROOT / ".cache" / "interop" / "contact"
EACH = 5
"""Servers, and clients."""
FRESH = 10
FOUND_SECONDS = 60.0
"""For ten nodes to find each other, starting on a machine that does other things as well."""
SWITCH_SECONDS = 10.0
SMALL = 3
"""Buckets and replication that do not make everybody hold everything."""
KINDS: tuple[Kind, ...] = ("server", "client", "go")
HEADINGS = f"{'held':>7}{'median ms':>11}{'slowest':>9}"
"""Over each row: how many readers had it already, and what the reading took."""
FAILURES_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Setting:
    """How all nodes of a network are configured. bucket_size: None for the defaults. hop: no reader may hold what it reads."""

    name: str
    bucket_size: int | None
    hop: bool

    @property
    def flags(self) -> dict[str, object]:
        return {"validator": "violence=opaque", "bucket_size": self.bucket_size}


SETTINGS = (Setting("defaults", None, False), Setting("k=3", SMALL, True))


@dataclass(slots=True)
class Network:
    """The nodes of one run, while they live."""

    go: Node
    p2pkad: list[Node]

    @property
    def servers(self) -> list[Node]:
        """The p2pkad servers."""
        return [node for node in self.p2pkad if node.kind == "server"]

    @property
    def clients(self) -> list[Node]:
        return [node for node in self.p2pkad if node.kind == "client"]


class Report:
    """What is printed at the end: tables, timings, and what was wrong."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._lines = [f"{setting.name:26}" + "".join(f"{f'to {kind}':>11}" for kind in KINDS) + HEADINGS]
        self.wrong: list[str] = []

    def count(self, title: str, outcomes: Sequence[Outcome], rows: Mapping[str, Iterable[Node]]) -> None:
        """A row for each group of sources, a column for each kind of reader, a count of those that were right in each cell."""
        for row, sources in rows.items():
            of_row = [outcome for outcome in outcomes if outcome.source in sources]
            cells = [cell([outcome for outcome in of_row if outcome.reader.kind == kind]) for kind in KINDS]
            reads = [outcome.read for outcome in of_row if isinstance(outcome.read, Read)]
            times = [1000 * read.seconds for read in reads] or [0.0]
            held = sum(read.held for read in reads)
            figures = f"{held:7}{statistics.median(times):11.1f}{max(times):9.1f}"
            self._lines.append(f"  {title:10}{row:14}" + "".join(f"{text:>11}" for text in cells) + figures)
        self.wrong += [f"{title}: {outcome}" for outcome in outcomes if not self._passes(outcome)]

    def note(self, text: str) -> None:
        """A line of its own."""
        self._lines.append(f"  {text}")

    def __str__(self) -> str:
        shown = [f"  WRONG {failure}" for failure in self.wrong[:FAILURES_SHOWN]]
        more = len(self.wrong) - len(shown)
        return "\n".join(["", *self._lines, *shown, *([f"  WRONG and {more} more"] if more else [])])

    def _passes(self, outcome: Outcome) -> bool:
        return isinstance(outcome.read, Read) and not (self._setting.hop and outcome.read.held)


def cell(outcomes: Sequence[Outcome]) -> str:
    return f"{sum(outcome.right for outcome in outcomes)}/{len(outcomes)}" if outcomes else "-"


async def contact(driver: Driver, setting: Setting, seed: str, binary: Path) -> Report:
    """One whole run. Raises what the driver raises, and NeverHappened, when it cannot go on."""
    report = Report(setting)
    started = trio.current_time()
    network = await gather(driver, setting, seed, binary)
    versions = {**network.p2pkad[0].peer.versions, **network.go.peer.versions}
    report.note(", ".join(f"{name} {version}" for name, version in versions.items()))
    report.note(f"a go peer and {len(network.p2pkad)} p2pkad nodes found each other in {trio.current_time() - started:.1f} s")
    await everybody_reads_from_everybody(report, network, seed)
    await a_server_turns_client_and_back(report, network)
    await life_goes_on_without_go(driver, report, network, setting, seed)
    await another_go_peer_comes_in(driver, report, network, setting, seed, binary)
    report.note(f"done in {trio.current_time() - started:.1f} s")
    return report


async def gather(driver: Driver, setting: Setting, seed: str, binary: Path) -> Network:
    """Start everybody. Returns when go has the servers in its table, each server as many as a bucket holds, a client one, and
    all have looked for their neighbours."""
    seeds = fitting_seeds(seed)
    go = Node(await driver.start("go", go_language(binary), seed=seeds["go"], **setting.flags), "go")
    network = Network(go, [])

    async def start(kind: Kind, name: str) -> None:
        bootstrap = go.peer.addresses
        peer = await driver.start(name, py_language(), mode=kind, seed=seeds[name], bootstrap=bootstrap, **setting.flags)
        network.p2pkad.append(Node(peer, kind))

    for kind, enough in (("server", min(EACH, setting.bucket_size or EACH)), ("client", 1)):
        async with trio.open_nursery() as nursery:
            for name in names(kind):
                nursery.start_soon(start, kind, name)
        await go_has(network, network.servers, FOUND_SECONDS)
        for node in network.p2pkad:
            await knows(node, enough)
    async with trio.open_nursery() as nursery:
        for node in network.p2pkad:
            nursery.start_soon(look_round, node, go)
    network.p2pkad.sort(key=str)
    return network


async def look_round(node: Node, go: Node) -> None:
    """Wait until a node has looked for its neighbours: a client is in no table, and is found through those alone."""
    await node.peer.ask("bootstrap", peers=go.peer.addresses)


def names(kind: str) -> list[str]:
    return [f"{kind}-{number}" for number in range(1, EACH + 1)]


def fitting_seeds(seed: str) -> dict[str, str]:
    """A seed for each name, such that buckets of 3 have room for all servers at the go peer.

    Servers that share as many first bits with it share a bucket, and a fourth one would have to stay out.
    """
    for number in count():
        seeds = {name: f"{seed} {number} {name}" for name in ["go", *names("server"), *names("client")]}
        own = point_of(seeds["go"])
        prefixes = Counter(256 - (own ^ point_of(seeds[name])).bit_length() for name in names("server"))
        if max(prefixes.values()) <= SMALL:
            return seeds
    raise AssertionError("count() has no end")


def point_of(seed: str) -> int:
    """Where the peer with this seed is in the key space (CONTROL.md has how its key is made, peer-ids.md how its id is)."""
    public = Ed25519PrivateKey.from_private_bytes(sha256(seed.encode()).digest()).public_key().public_bytes_raw()
    return point(b"\x00\x24\x08\x01\x12\x20" + public)


async def go_has(network: Network, expected: Sequence[Node], within: float) -> float:
    """Wait until go's routing table holds exactly these nodes; the seconds that it took. Raises NeverHappened."""
    wanted = {node.peer.id for node in expected}
    started = trio.current_time()

    async def table() -> set[str]:
        return {entry["id"] for entry in (await network.go.peer.ask("routing_table"))["peers"]}

    what = f"the routing table of go holds exactly {', '.join(str(node) for node in expected)}"
    await eventually(table, wanted.__eq__, within=within, what=what)
    return trio.current_time() - started


async def knows(node: Node, peers: int) -> None:
    """Wait until a node's routing table holds so many peers. Raises NeverHappened."""

    async def table() -> Answer:
        return await node.peer.ask("routing_table")

    what = f"{peers} peers are in the routing table of {node}"
    await eventually(table, lambda answer: len(answer["peers"]) >= peers, within=FOUND_SECONDS, what=what)


async def everybody_reads_from_everybody(report: Report, network: Network, seed: str) -> None:
    everybody = [*network.p2pkad, network.go]
    rows = {"from servers": network.servers, "from clients": network.clients, "from go": [network.go]}
    for title, trial in TRIALS.items():
        pairs = permutations(everybody, 2)
        outcomes = await run(trial, pairs, [*network.servers, network.go], f"{seed} {title}")
        report.count(title, outcomes, rows)


async def a_server_turns_client_and_back(report: Report, network: Network) -> None:
    turncoat, *others = network.servers
    await turncoat.peer.ask("set_mode", mode="client")
    left = await go_has(network, others, SWITCH_SECONDS)
    await turncoat.peer.ask("set_mode", mode="server")
    back = await go_has(network, network.servers, SWITCH_SECONDS)
    report.note(
        f"go's table holds exactly the {EACH} servers; {turncoat} turned client and left it within {1000 * left:.0f} ms, "
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
