"""`make kills`: a node with a data directory is killed with `kill -9` while it puts and provides; what it had told is there.

    python bench/kills.py [--kills 50] [--durability normal] [--seed 1]

A p2pkad node in a process of its own does fifty things at a time and says what was acknowledged. After a moment, of a length
that chance decides, it is killed; then its directory is opened and asked for all that was acknowledged: each value, each key
that it provides, and that what it stopped to provide is gone. Then it begins again on the same directory. In the end
everything of all of its lives is asked for once more. The exit status is 1 when anything was lost.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import trio
from machine import Machine
from results import CACHE, INTERRUPTED, now, say

from p2pkad import Identity, KademliaConfig, open_store

NODE = Path(__file__).parent / "peers" / "kept.py"
BEGINNING = 60
"""Seconds that a node may take until its first acknowledgement, on a busy machine."""
LONGEST = 1.0
"""Seconds for which it works at most before it is killed."""

Acknowledged = Mapping[str, bytes]
"""What was said last of each thing, by its kind and its key: a value; of a content something where it is provided, nothing
where it is so no more."""


@dataclass(slots=True)
class Tally:
    """What was acknowledged, and what of it was not so afterwards."""

    kills: int = 0
    puts: int = 0
    provides: int = 0
    stops: int = 0
    lost: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        done = f"{self.puts:,} puts, {self.provides:,} provides and {self.stops:,} withdrawals"
        return f"{self.kills} x kill -9: acknowledged {done}; lost {len(self.lost)}"


def live(directory: Path, life: int, durability: str, seconds: float) -> list[list[str]]:
    """Run a node for so long after its first acknowledgement, kill it; returns what it said, in order, word by word.

    Raises RuntimeError: it ended by itself.
    """
    command = [sys.executable, str(NODE), str(directory), str(life), durability]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as node:
        assert node.stdout is not None
        assert node.stderr is not None
        too_slow = threading.Timer(BEGINNING, node.kill)
        too_slow.start()
        first = node.stdout.readline()
        too_slow.cancel()
        if not first:
            raise RuntimeError(f"the node said nothing: {node.stderr.read()}")
        threading.Timer(seconds, node.kill).start()
        said, _ = node.communicate()
    # What is cut off was being written when it died: its call had returned, so it counts as nothing said.
    return [line.split() for line in (first + said).split("\n")[:-1]]


def book(said: Iterable[list[str]], known: dict[str, bytes], tally: Tally) -> None:
    """Note what was acknowledged."""
    for what, key, *value in said:
        match what:
            case "put":
                tally.puts += 1
                known[f"value {key}"] = bytes.fromhex(value[0])
            case "provide":
                tally.provides += 1
                known[f"content {key}"] = b"provided"
            case "stopping":
                del known[f"content {key}"]
            case "stop":
                tally.stops += 1
                known[f"content {key}"] = b""


async def missing(directory: Path, known: Acknowledged) -> list[str]:
    """What was acknowledged and is not so."""
    own, lost = Identity.in_directory(directory).id, []
    async with open_store(directory, own, KademliaConfig()) as store:
        for name, expected in known.items():
            kind, _, text = name.partition(" ")
            key = bytes.fromhex(text)
            if kind == "value":
                stored = await store.get(key, now=0)
                true = stored is not None and stored.record.value == expected and stored.own
            else:
                true = any(each.own for each in await store.providers(key, now=0)) == bool(expected)
            if not true:
                lost.append(name)
    return lost


def kill_again_and_again(directory: Path, kills: int, durability: str, seed: int) -> Tally:
    """All of it. Raises RuntimeError: the node ended by itself, or did not begin."""
    tally, dice, everything = Tally(), Random(seed), dict[str, bytes]()
    for life in range(kills):
        known: dict[str, bytes] = {}
        book(live(directory, life, durability, dice.uniform(0, LONGEST)), known, tally)
        tally.kills += 1
        tally.lost += trio.run(missing, directory, known)
        everything |= known
        if life % 10 == 9:
            say(str(tally))
    tally.lost += [name for name in trio.run(missing, directory, everything) if name not in tally.lost]
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="how many times")
    parser.add_argument("--durability", choices=["normal", "full"], default="normal", help="as the option of a node")
    parser.add_argument("--seed", type=int, default=1, help="of the moments at which it is killed")
    options = parser.parse_args()
    CACHE.mkdir(parents=True, exist_ok=True)
    print(f"p2pkad kills, {now()}, durability {options.durability}, seed {options.seed}\n{Machine.this_one()}")
    with tempfile.TemporaryDirectory(dir=CACHE) as directory:
        try:
            tally = kill_again_and_again(Path(directory), options.kills, options.durability, options.seed)
        except KeyboardInterrupt:
            return INTERRUPTED
    print(tally)
    for name in tally.lost[:20]:
        print(f"LOST: {name}")
    return 1 if tally.lost else 0


if __name__ == "__main__":
    sys.exit(main())
