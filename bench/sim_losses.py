"""What is still found when many nodes have died at once, before anybody has republished anything."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from report import Section
from sim_worlds import QUIET, chance

from p2pkad import KademliaService, content_key
from p2pkad.errors import P2pkadError
from p2pkad.testing import SimulatedNodes, open_simulated_network, run_simulated

DEAD = (0.0, 0.25, 0.5)
"""Shares of the nodes that have crashed, one after the other in the same network."""


@dataclass(frozen=True, slots=True)
class Found:
    """dead: the share of the nodes; values, providers: of so many as were published. virtual: seconds for all lookups."""

    dead: float
    values: int
    providers: int
    virtual: float


def measure(nodes: int, keys: int, seed: int) -> Section:
    """So many values and so many provided contents, each asked for by a random node that does not hold it."""
    results, digest = run_simulated(_measure, nodes, keys, seed, seed=seed)
    section = Section(
        "Losses",
        [
            f"{keys} values and {keys} provided contents in a network of {nodes:,} nodes, of which some crash without a",
            "goodbye. Each is asked for at once by a random node that does not hold it: nobody has noticed yet, nothing is",
            "republished.",
        ],
        ("nodes dead", "values found", "providers found", "virtual s a lookup"),
        [
            (f"{each.dead:.0%}", f"{each.values / keys:.1%}", f"{each.providers / keys:.1%}", f"{each.virtual / 2 / keys:.2f}")
            for each in results
        ],
        raw={
            "digest": digest,
            "found": [[each.dead, each.values, each.providers, each.virtual] for each in results],
        },
    )
    section.notes.append(f"digest {digest}")
    return section


async def _measure(nodes: int, keys: int, seed: int) -> tuple[list[Found], str]:
    random, results = chance(seed, "losses"), []
    async with open_simulated_network(nodes, seed=seed, **QUIET) as net:
        providers = []
        for number in range(keys):
            await random.choice(net.nodes).put_value(_key(number), _value(number))
            providers.append(random.choice(net.nodes))
            await providers[-1].provide(_content(number))
        for dead in DEAD:
            for node in random.sample(net.nodes, len(net.nodes) - round(nodes * (1 - dead))):
                await net.crash(node)
            began = net.wall()
            values = [await _finds_value(net, random, number) for number in range(keys)]
            told = [await _finds_provider(net, random, number, providers[number]) for number in range(keys)]
            results.append(Found(dead, sum(values), sum(told), net.wall() - began))
        return results, net.trace.digest()


async def _finds_value(net: SimulatedNodes, random: Random, number: int) -> bool:
    while await (node := random.choice(net.nodes)).local_value(_key(number)) is not None:
        pass
    try:
        return await node.get_value(_key(number), quorum=1) == _value(number)
    except P2pkadError:
        return False


async def _finds_provider(net: SimulatedNodes, random: Random, number: int, provider: KademliaService) -> bool:
    while await (node := random.choice(net.nodes)).local_providers(_content(number)):
        pass
    try:
        return provider.id in [info.id for info in await node.find_providers(_content(number), count=1)]
    except P2pkadError:
        return False


def _key(number: int) -> bytes:
    return b"/bench/%d" % number


def _value(number: int) -> bytes:
    return b"value %d" % number


def _content(number: int) -> bytes:
    return content_key(b"content %d" % number)
