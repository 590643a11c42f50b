"""What a node costs that nobody asks anything: alone, and with twenty peers in its routing table that are connected."""

from __future__ import annotations

import trio
from processes import Driver, cpu_seconds, own, rss
from report import Figure, Section

PROTOCOL = "/p2pkad/bench/1.0.0"
MOST_CPU = 1.0
"""Percent of one CPU."""
SETTLE_SECONDS = 5.0
"""For what a node does once, when it starts or meets somebody."""
ROOM = 300
"""Connections it may have, as by default."""
MIB = 1024 * 1024


async def measure(driver: Driver, seconds: float) -> Section:
    """Watch both for so long, at the same time."""
    alone = await driver.start("idle-alone", own("server.py", PROTOCOL, ROOM))
    known = await driver.start("idle-connected", own("server.py", PROTOCOL, ROOM))
    await driver.start("idle-neighbours", own("neighbours.py", PROTOCOL, known.address))
    await trio.sleep(SETTLE_SECONDS)
    nodes = {"alone": alone, "with neighbours": known}
    used = {name: cpu_seconds(node) for name, node in nodes.items()}
    began = trio.current_time()
    await trio.sleep(seconds)
    took = trio.current_time() - began
    percent = {name: 100 * (cpu_seconds(node) - used[name]) / took for name, node in nodes.items()}
    peers = {name: (await node.ask("peers"))["peers"] for name, node in nodes.items()}
    memory = {name: rss(node) for name, node in nodes.items()}
    return Section(
        "An idle node",
        [f"Two server nodes, each a process of its own, watched for {took:.0f} s. CPU: percent of one."],
        ("", "peers connected", "CPU %", "RSS MiB"),
        [(name, str(peers[name]), f"{percent[name]:.2f}", f"{memory[name] / MIB:.1f}") for name in nodes],
        figures=[Figure(f"percent of a CPU, idle {name}", percent[name], at_most=MOST_CPU) for name in nodes],
        raw={"seconds": took, "percent": percent, "rss": memory, "peers": peers},
    )
