"""What a node weighs: how much a process grows by the nodes that it holds.

    python bench/sim_memory.py 1000 1       # what the measurement runs as a process of its own; prints JSON

Resident memory as the kernel counts it, after a collection of garbage; before the nodes come everything is imported, and a
network of a few nodes has run.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys

import psutil
import trio
from processes import py_language
from report import Figure, Section
from sim_worlds import QUIET

from p2pkad.testing import open_simulated_network, run_simulated

KIB = 1024
TARGET = 96.0
"""KiB a node."""
WARM_UP = 10
JOINED = 100
"""Nodes that join one after the other, for comparison: these have connections."""


class ChildFailed(Exception):
    """The process that was to be measured ended with an error, which it has told."""


def measure(nodes: int, seed: int) -> Section:
    """Idle nodes with full routing tables; and nodes that have just joined by asking, with their connections."""
    idle, joined = (_in_child(kind, number, seed) for kind, number in (("idle", nodes), ("joined", min(nodes, JOINED))))
    rows = [(what, *_cells(figures)) for what, figures in (("idle", idle), ("just joined", joined))]
    section = Section(
        "Memory",
        [
            "Resident memory of a process, before and after it holds so many nodes; idle ones know each other, as after hours,",
            "and have no connections. Beside them nodes that joined one by one, a minute apart, and keep their connections.",
        ],
        ("", "nodes", "in the table", "connections", "KiB a node"),
        rows,
        raw={"idle": idle, "joined": joined},
    )
    section.figures.append(Figure(f"KiB a node, {nodes:,} idle ones", idle["kib"], at_most=TARGET))
    return section


def _cells(figures: dict[str, float]) -> tuple[str, ...]:
    return tuple(f"{figures[name]:,.0f}" for name in ("nodes", "table", "connections", "kib"))


def _in_child(kind: str, nodes: int, seed: int) -> dict[str, float]:
    command = [sys.executable, __file__, kind, str(nodes), str(seed)]
    child = subprocess.run(command, env=py_language().environment, stdout=subprocess.PIPE, text=True, check=False)
    if child.returncode:
        raise ChildFailed(f"{' '.join(command)} ended with {child.returncode}")
    figures: dict[str, float] = json.loads(child.stdout)
    return figures


def _resident() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


async def _measure(kind: str, nodes: int, seed: int) -> dict[str, float]:
    async with open_simulated_network(WARM_UP, seed=seed + 1, **QUIET) as net:
        await net.nodes[0].closest_peers(b"warm")
    before = _resident()
    async with open_simulated_network(nodes if kind == "idle" else 1, seed=seed, **QUIET) as net:
        while len(net.nodes) < nodes:
            await net.open()
            await trio.sleep(60)
        grown = _resident() - before
        stats = [node.stats() for node in net.nodes]
        return {
            "nodes": nodes,
            "kib": grown / KIB / nodes,
            "table": sum(each.table for each in stats) / nodes,
            "connections": sum(each.peers for each in stats) / nodes,
        }


if __name__ == "__main__":
    print(json.dumps(run_simulated(_measure, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), seed=int(sys.argv[3]))))
