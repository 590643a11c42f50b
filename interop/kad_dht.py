"""What works between p2pkad and py-libp2p's own Kademlia, and that this does us no harm: `python interop/kad_dht.py`.

For information. `libp2p.kad_dht` insists on the protocol id of Amino, so p2pkad takes that one here. First every scenario of
the matrix that two implementations in Python can play, as it comes out: what does not work is no failure. Then four of its
peers do all that they can, several at once, with one p2pkad node, while two nodes of ours write, read and provide through
that node. It is harm when these notice anything but a slower machine, when the node grows, or when it logs a defect: that
makes the exit status 1, and so does a siege that was not played to its end, for it shows nothing. Tables end up in
.cache/interop/kad_dht.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import tables
import trio
from builds import ROOT
from cells import Result, Verdict, cells_of
from driver import (
    Driver,
    Language,
    NeverHappened,
    Peer,
    PeerError,
    PeerSilent,
    eventually,
    open_driver,
    py_language,
    unbase64,
)
from failures import ANY, OF_A_PEER, leaves
from matrix import Matrix, Run
from scenarios import SCENARIOS
from stages import VALIDATORS, Stage

LOGS = ROOT / ".cache" / "interop" / "kad_dht"
PROTOCOL = "/ipfs/kad/1.0.0"
"""The only one that `libp2p.kad_dht` speaks."""
SEED = "kad_dht"

GUESTS = 4
GUEST = "guest-"
"""What their names begin with, and what is said of them."""
ROUNDS = 10
WARM_UP = 3
"""Rounds before the node is measured: what it allocates once is no growth."""
MAX_GROWTH = 16 * 2**20
"""Bytes. A siege takes half a MiB; the rest is for what an allocator does with it."""
SETTLE_SECONDS = 60.0
DETAIL = 120
"""Letters of what was seen."""


def languages() -> dict[str, Language]:
    """Both, on the protocol id of the one."""
    ours = py_language()
    python, peer = ours.command
    theirs = dataclasses.replace(ours, command=(python, str(Path(peer).with_name("kad_dht.py"))))
    return {"kad_dht": theirs, "p2pkad": dataclasses.replace(ours, command=(*ours.command, f"--protocol={PROTOCOL}"))}


async def look(logs: Path) -> Run:
    """Every cell that has both in it, crowds apart: those are about answers that nobody cuts."""
    scenarios = [scenario for scenario in SCENARIOS.values() if scenario.stage is not Stage.CROWDED]
    played = [cell for cell in cells_of(scenarios, ("kad_dht", "p2pkad")) if len(set(cell.peers)) == 2]
    return await Matrix(languages(), {}, SEED, logs, tell).play(played)


def tell(result: Result) -> None:
    if sys.stdout.isatty():
        print(f"\r{result.cell}\033[K", end="", flush=True)


def found(run: Run) -> str:
    """A row for each scenario: where it works, and what is seen elsewhere."""
    rows = ["| scenario | works | otherwise |", "|---|---|---|"]
    for scenario, results in tables.by_scenario(run):
        works = [result.cell.place for result in results if result.verdict is Verdict.GREEN]
        rest = [f"{result.cell.place}: {plainly(result)}" for result in results if result.verdict is not Verdict.GREEN]
        rows.append(f"| {scenario.name} ({'/'.join(scenario.roles)}) | {', '.join(works)} | {'<br>'.join(rest)} |")
    return "\n".join(rows)


def plainly(result: Result) -> str:
    """What was seen, on one line that fits a table. What its program cannot be told to do was not tried."""
    seen, _, _ = result.detail.partition(", instead of")
    _, is_missing, why = seen.partition("unsupported: ")
    return f"not tried: {why}" if is_missing else " ".join(seen.split())[:DETAIL].replace("|", "/")


@dataclass(slots=True)
class Siege:
    """What has come of it so far. rounds: that the witnesses were through with. worked: verbs, by the guest that was told.

    unfinished: why it shows nothing.
    """

    harm: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    rounds: int = 0
    worked: Counter[str] = field(default_factory=Counter)

    def broken_off(self, error: BaseException) -> None:
        """Take what ended it. A guest that ends or is silent is no harm to anybody, but it besieges nobody either."""
        (self.unfinished if str(error).startswith(GUEST) else self.harm).append(str(error))

    def look_back(self) -> None:
        """Find out whether it took place."""
        if self.rounds < WARM_UP + ROUNDS:
            self.unfinished.append(f"{self.rounds} of {WARM_UP + ROUNDS} rounds were played")
        idle = [name for name in map(guest_name, range(GUESTS)) if not self.worked[name]]
        if idle:
            self.unfinished.append(f"nothing that was asked of {', '.join(idle)} worked")

    @property
    def passes(self) -> bool:
        """Whether it took place, and did no harm."""
        return not self.harm and not self.unfinished

    @property
    def verdict(self) -> str:
        """In a line."""
        harm = f"kad_dht does harm: {'; '.join(self.harm)}" if self.harm else ""
        unfinished = f"the siege was not finished: {'; '.join(self.unfinished)}" if self.unfinished else ""
        worked = f"kad_dht does no harm: {self.rounds} rounds, {self.worked.total()} things that its peers were told worked"
        return "; ".join(filter(None, (harm, unfinished))) or worked


async def siege(logs: Path) -> Siege:
    """Play it, whatever becomes of it."""
    seen = Siege()
    try:
        async with open_driver(logs) as driver:
            await besiege(driver, seen)
    except* ANY as group:
        for error in leaves(group):
            seen.broken_off(error)
    seen.look_back()
    if "Traceback" in (logs / "node.log").read_text(errors="replace"):
        seen.harm.append("the node logged a defect")
    return seen


async def besiege(driver: Driver, seen: Siege) -> None:
    both, options = languages(), {"protocol": PROTOCOL, "validator": VALIDATORS}
    node = await driver.start("node", both["p2pkad"], **options)
    known = {"mode": "client", "bootstrap": node.address, **options}
    witnesses = [await driver.start(f"witness-{number}", both["p2pkad"], **known) for number in range(2)]
    guests = [await guest(driver, both["kad_dht"], node, number, options) for number in range(GUESTS)]
    await rounds(guests, witnesses, range(WARM_UP), seen)
    before = psutil.Process(node.pid).memory_info().rss
    await rounds(guests, witnesses, range(WARM_UP, WARM_UP + ROUNDS), seen)
    grown = psutil.Process(node.pid).memory_info().rss - before
    if grown > MAX_GROWTH:
        seen.harm.append(f"the node has grown by {grown >> 20} MiB")
    await alone_again(node, guests, len(witnesses))


def guest_name(number: int) -> str:
    return f"{GUEST}{number}"


async def guest(driver: Driver, language: Language, node: Peer, number: int, options: dict[str, object]) -> Peer:
    """A peer of theirs that knows the node. Every other one is a client."""
    theirs = await driver.start(guest_name(number), language, mode=("server", "client")[number % 2], **options)
    await theirs.ask("bootstrap", peers=[node.address])
    return theirs


async def rounds(guests: Sequence[Peer], witnesses: Sequence[Peer], numbers: range, seen: Siege) -> None:
    """Everything that the guests can do, over and over, while the witnesses go about their business."""
    async with trio.open_nursery() as nursery:
        for theirs in guests:
            nursery.start_soon(make_trouble, theirs, numbers, seen)
        for number in numbers:
            seen.harm += await business(*witnesses, f"{number}".encode())
            seen.rounds += 1


async def make_trouble(theirs: Peer, numbers: range, seen: Siege) -> None:
    for number in numbers:
        digest = hashlib.sha256(f"{theirs.id} {number}".encode()).digest()
        key, content = b"/violence/" + digest[:16].hex().encode(), b"\x12\x20" + digest
        requests: list[tuple[str, dict[str, object]]] = [
            ("put", {"key": key, "value": digest}),
            ("put", {"key": b"/violence/shared", "value": digest}),
            ("get", {"key": b"/violence/shared"}),
            ("get", {"key": key + b"none"}),
            ("provide", {"key": content}),
            ("find_providers", {"key": content}),
            ("closest_peers", {"key": digest}),
        ]
        async with trio.open_nursery() as nursery:
            for verb, arguments in requests:
                nursery.start_soon(try_to, theirs, verb, arguments, seen)


async def try_to(theirs: Peer, verb: str, arguments: dict[str, object], seen: Siege) -> None:
    try:
        await theirs.ask(verb, **arguments)
    except OF_A_PEER:
        return  # its own affair
    seen.worked[theirs.name] += 1


async def business(writer: Peer, reader: Peer, salt: bytes) -> list[str]:
    """A value and a provider, from one to the other through the node. What went wrong."""
    digest = hashlib.sha256(salt).digest()
    key, content = b"/violence/own/" + digest[:12].hex().encode(), b"\x12\x20" + digest
    try:
        await writer.ask("put", key=key, value=salt)
        if unbase64((await reader.ask("get", key=key))["value"]) != salt:
            return [f"{reader.name} got another value"]
        await writer.ask("provide", key=content)
        await eventually(
            lambda: reader.ask("find_providers", key=content),
            lambda found: writer.id in {each["id"] for each in found["providers"]},
            within=SETTLE_SECONDS,
            what=f"{writer.name} is found",
        )
        return []
    except (PeerError, PeerSilent, NeverHappened) as error:
        return [str(error)]


async def alone_again(node: Peer, guests: Sequence[Peer], left: int) -> None:
    """The guests are killed. The node has to drop them, and nobody else: raises NeverHappened."""
    for theirs in guests:
        await theirs.kill()

    async def connected() -> int:
        return int((await node.ask("connections"))["count"])

    await eventually(connected, left.__eq__, within=SETTLE_SECONDS, what=f"the node has {left} connections left")


def main() -> int:
    shutil.rmtree(LOGS, ignore_errors=True)
    run = trio.run(look, LOGS / "cells")
    versions = "\n".join(f"- {name}: {text}" for name, text in tables.versions(run).items())
    table = f"# p2pkad and py-libp2p's own kad_dht\n\n{versions}\n\n{found(run)}\n"
    (LOGS / "table.md").write_text(table)
    (LOGS / "table.json").write_text(tables.json_text(run))
    print(table, flush=True)
    besieged = trio.run(siege, LOGS / "siege")
    place = f"{LOGS.relative_to(ROOT)}/table.md"
    print(f"interop: kad_dht, for information: {run.count(Verdict.GREEN)} of {len(run.results)} cells work; {place}")
    print(f"interop: {besieged.verdict}")
    return 0 if besieged.passes else 1


if __name__ == "__main__":
    status = 130
    try:
        status = main()
    except* KeyboardInterrupt:  # on its own, or in the group of a nursery
        print("\ninterop: interrupted")
    sys.exit(status)
