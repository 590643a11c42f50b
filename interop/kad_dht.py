"""What works between p2pkad and py-libp2p's own Kademlia, and that this does us no harm: `python interop/kad_dht.py`.

For information. `libp2p.kad_dht` insists on the protocol id of Amino, so p2pkad takes that one here. First every scenario of
the matrix that two implementations in Python can play, as it comes out: what does not work is no failure. Then four of its
peers do all that they can, several at once, with one p2pkad node, while two nodes of ours write, read and provide through
that node. It is harm when these notice anything but a slower machine, when the node grows, or when it logs a defect: that
makes the exit status 1. Tables end up in .cache/interop/kad_dht.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import shutil
import sys
from collections.abc import Sequence
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
    PeerDied,
    PeerError,
    PeerSilent,
    eventually,
    open_driver,
    py_language,
    unbase64,
)
from matrix import Matrix, Run
from scenarios import SCENARIOS
from stages import VALIDATORS, Stage

LOGS = ROOT / ".cache" / "interop" / "kad_dht"
PROTOCOL = "/ipfs/kad/1.0.0"
"""The only one that `libp2p.kad_dht` speaks."""
SEED = "kad_dht"

GUESTS = 4
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


async def siege(logs: Path) -> list[str]:
    """What harm was done; nothing, if all is well."""
    try:
        async with open_driver(logs) as driver:
            harm = await besiege(driver)
    except (PeerDied, NeverHappened) as error:
        # That a guest ends by itself is its own affair.
        harm = [] if str(error).startswith("guest-") else [str(error)]
    text = (logs / "node.log").read_text(errors="replace")
    return harm + ["the node logged a defect"] * ("Traceback" in text)


async def besiege(driver: Driver) -> list[str]:
    both, options = languages(), {"protocol": PROTOCOL, "validator": VALIDATORS}
    node = await driver.start("node", both["p2pkad"], **options)
    known = {"mode": "client", "bootstrap": node.address, **options}
    witnesses = [await driver.start(f"witness-{number}", both["p2pkad"], **known) for number in range(2)]
    guests = [await guest(driver, both["kad_dht"], node, number, options) for number in range(GUESTS)]
    await rounds(guests, witnesses, range(WARM_UP))
    before = psutil.Process(node.pid).memory_info().rss
    harm = await rounds(guests, witnesses, range(WARM_UP, WARM_UP + ROUNDS))
    grown = psutil.Process(node.pid).memory_info().rss - before
    await alone_again(node, guests, len(witnesses))
    return [*harm, f"the node has grown by {grown >> 20} MiB"] if grown > MAX_GROWTH else harm


async def guest(driver: Driver, language: Language, node: Peer, number: int, options: dict[str, object]) -> Peer:
    """A peer of theirs that knows the node. Every other one is a client."""
    theirs = await driver.start(f"guest-{number}", language, mode=("server", "client")[number % 2], **options)
    await theirs.ask("bootstrap", peers=[node.address])
    return theirs


async def rounds(guests: Sequence[Peer], witnesses: Sequence[Peer], numbers: range) -> list[str]:
    """Everything that the guests can do, over and over, while the witnesses go about their business. What these noticed."""
    noticed: list[str] = []
    async with trio.open_nursery() as nursery:
        for theirs in guests:
            nursery.start_soon(make_trouble, theirs, numbers)
        for number in numbers:
            noticed += await business(*witnesses, f"{number}".encode())
    return noticed


async def make_trouble(theirs: Peer, numbers: range) -> None:
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
                nursery.start_soon(try_to, theirs, verb, arguments)


async def try_to(theirs: Peer, verb: str, arguments: dict[str, object]) -> None:
    with contextlib.suppress(PeerError, PeerSilent, PeerDied):  # its own affair
        await theirs.ask(verb, **arguments)


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
    except (PeerError, NeverHappened) as error:
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
    harm = trio.run(siege, LOGS / "siege")
    place = f"{LOGS.relative_to(ROOT)}/table.md"
    print(f"interop: kad_dht, for information: {run.count(Verdict.GREEN)} of {len(run.results)} cells work; {place}")
    print(f"interop: kad_dht does {'harm: ' + '; '.join(harm) if harm else 'no harm'}")
    return 1 if harm else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
