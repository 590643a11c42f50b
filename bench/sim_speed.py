"""How many requests a second of real time gets through, of the three kinds of work that long simulations consist of."""

from __future__ import annotations

from dataclasses import asdict
from random import Random

import trio
from report import Figure, Section
from sim_worlds import QUIET, Effort, chance

from p2pkad.testing import SimulatedNodes, open_simulated_network, run_simulated

TARGET = 3000.0
"""Requests a second."""
JOINS = 50
REFRESHES = 50
SETTLING = 60.0
"""Seconds, virtual, until a newcomer has found its place."""


def measure(nodes: int, lookups: int, seed: int) -> Section:
    """Lookups, newcomers and refreshes in one network of so many nodes."""
    efforts, digest = run_simulated(_measure, nodes, lookups, seed, seed=seed)
    total = sum(efforts.values(), Effort(0, 0.0, 0.0, 0.0))
    section = Section(
        "Speed of the simulation",
        [
            f"{nodes:,} nodes that know each other, one thing after the other: {lookups} lookups of random keys by random",
            f"nodes, {JOINS} newcomers, {REFRESHES} refreshes of a routing table. A request and its reply count once. On a",
            "busy machine the seconds of the CPU say more than those of the clock.",
        ],
        ("", "requests", "a second", "a CPU second", "virtual s"),
        [
            (
                name,
                f"{effort.messages:,}",
                f"{effort.messages / effort.seconds:,.0f}",
                f"{effort.messages / effort.cpu:,.0f}",
                f"{effort.virtual:,.0f}",
            )
            for name, effort in {**efforts, "all": total}.items()
        ],
        raw={"efforts": {name: asdict(effort) for name, effort in efforts.items()}, "digest": digest},
    )
    section.figures += [
        Figure("simulated requests a second", total.messages / total.seconds, at_least=TARGET),
        Figure("simulated requests a CPU second", total.messages / total.cpu),
    ]
    section.notes.append(f"digest {digest}")
    return section


async def _measure(nodes: int, lookups: int, seed: int) -> tuple[dict[str, Effort], str]:
    random = chance(seed, "speed")
    efforts = {}
    async with open_simulated_network(nodes, seed=seed, **QUIET) as net:
        for name, work, times in (("lookups", _look_up, lookups), ("joins", _join, JOINS), ("refreshes", _refresh, REFRESHES)):
            before = Effort.until_now(net)
            for _ in range(times):
                await work(net, random)
            efforts[name] = Effort.until_now(net) - before
        return efforts, net.trace.digest()


async def _look_up(net: SimulatedNodes, random: Random) -> None:
    await random.choice(net.nodes).closest_peers(random.randbytes(32))


async def _join(net: SimulatedNodes, random: Random) -> None:
    await net.open()
    await trio.sleep(SETTLING)


async def _refresh(net: SimulatedNodes, random: Random) -> None:
    await random.choice(net.nodes).refresh()
