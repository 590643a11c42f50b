"""How fast a routing table of 2,000 peers names the 20 nearest to a key, against two full scans of the same keys.

python bench/closest.py [--fast] [-o result.json]        all options of pyperf; it prints the ratios at the end
"""

from __future__ import annotations

import heapq
import os
import platform
import random
from itertools import cycle

import pyperf

from p2pkad.core.keyspace import SHA256, Key
from p2pkad.core.peers import PeerId, PeerInfo
from p2pkad.core.routing_table import RoutingTable

PEERS = 2000
WANTED = 20
SEED = 2000
TARGETS = 500


def a_table(dice: random.Random) -> RoutingTable:
    table = RoutingTable(PeerId(dice.randbytes(34)), bucket_size=PEERS, max_per_group=1, max_per_group_and_bucket=1)
    while len(table) < PEERS:
        table.add(PeerInfo(PeerId(dice.randbytes(34))), now=0.0)
    return table


def main() -> None:
    runner = pyperf.Runner(metadata={"seed": str(SEED), "peers": str(PEERS), "wanted": str(WANTED)})
    dice = random.Random(SEED)
    table = a_table(dice)
    peers = {SHA256.key(peer): peer for peer in table}
    keys = list(peers)
    targets = [dice.getrandbits(SHA256.bits) for _ in range(TARGETS)]

    def by_sorting(target: Key) -> list[PeerId]:
        return [peers[key] for key in sorted(keys, key=target.__xor__)[:WANTED]]

    def by_heap(target: Key) -> list[PeerId]:
        return [peers[key] for key in heapq.nsmallest(WANTED, keys, key=target.__xor__)]

    def by_table(target: Key) -> list[PeerId]:
        return table.closest(target, WANTED)

    assert all(by_sorting(target) == by_heap(target) == by_table(target) for target in targets)

    measured = {}
    for function in (by_sorting, by_heap, by_table):
        turn = cycle(targets)
        measured[function] = runner.bench_func(f"closest {function.__name__}", lambda f=function, t=turn: f(next(t)))
    if runner.args.worker or None in measured.values():
        return
    ours = measured[by_table].mean()
    print(
        f"{PEERS} peers, {WANTED} nearest, seed {SEED}; {platform.python_implementation()} {platform.python_version()}, "
        f"pyperf {pyperf.__version__}, {platform.platform()}, {os.cpu_count()} CPUs"
    )
    for function in (by_sorting, by_heap):
        print(f"{function.__name__}: {measured[function].mean() / ours:.1f} times the time of the table")


if __name__ == "__main__":
    main()
