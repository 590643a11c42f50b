"""How well lookups do in a large network whose routing tables have dead entries, with our settings and those of others."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from report import Section, percentile
from sim_worlds import QUIET, chance, nearest

from p2pkad.core.lookup import Lookup
from p2pkad.core.messages import AnyReply
from p2pkad.core.peers import PeerId
from p2pkad.events import LookupEnded
from p2pkad.node import querying
from p2pkad.testing import open_simulated_network, run_simulated

DEAD = 0.05
"""Of all nodes, crashed before anything is looked up: the same share of the entries of everybody's table."""
K = 20
OTHERS_SHARE = 2
"""Lookups with the settings of others: so many times fewer."""

COLUMNS = (("hops", ".0f", 0.99), ("requests", ".0f", 0.99), ("recall", ".2f", 0.01), ("seconds", ".2f", 0.99))
"""Of `Found`: how each is printed, and which percentile is the bad end."""

SETTINGS: dict[str, dict[str, Any]] = {
    "p2pkad, as go: alpha 10, beta 3": {},
    "as rust: alpha 3, beta 20": {"alpha": 3, "beta": 20},
    "alpha 3, beta 3": {"alpha": 3},
    "4 disjoint paths": {"disjoint_paths": 4},
}


@dataclass(frozen=True, slots=True)
class Found:
    """One lookup. hops: answers one after the other that led to the last of those found. recall: share of the truth found."""

    hops: int
    requests: int
    seconds: float
    recall: float


class Depths(Lookup):
    """A lookup that knows how far it has come."""

    last: Depths

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.depth: dict[PeerId, int] = {}
        Depths.last = self

    def on_reply(self, peer: PeerId, reply: AnyReply, now: float) -> None:
        for info in getattr(reply, "closer", ()):
            self.depth.setdefault(info.id, self.depth.get(peer, 1) + 1)
        super().on_reply(peer, reply, now)


@contextmanager
def watched() -> Iterator[None]:
    """Meanwhile lookups are watched. An event of each answer would do, but it does not say of whom the answer told."""
    querying.Lookup = Depths  # type: ignore[misc]
    try:
        yield
    finally:
        querying.Lookup = Lookup  # type: ignore[misc]


def measure(nodes: int, lookups: int, seed: int) -> Section:
    """The same network and the same keys with each of the settings."""
    section = Section(
        "Lookups",
        [
            f"closest_peers for random keys from random nodes, in a network of {nodes:,} nodes of which {DEAD:.0%} have",
            f"crashed: so many entries of each routing table are dead. recall@{K}: how many of the {K} nearest that are alive",
            "were found. Hops: answers one after the other until the last of them was heard of. Requests include those to",
            "the dead.",
        ],
        ("median (1 % are worse)", "lookups", "hops", "requests", f"recall@{K}", "virtual s"),
    )
    for name, options in SETTINGS.items():
        times = lookups if not options else lookups // OTHERS_SHARE
        with watched():
            found, digest = run_simulated(_measure, nodes, times, seed, options, seed=seed)
        section.rows.append((name, str(times), *_cells(found)))
        section.notes.append(f"digest {digest}  {name}")
        section.raw[name] = {
            "digest": digest,
            "lookups": [asdict(each) for each in found],
        }
    return section


def _cells(found: list[Found]) -> Iterator[str]:
    for name, form, worst in (
        ("hops", ".0f", 0.99),
        ("requests", ".0f", 0.99),
        ("recall", ".2f", 0.01),
        ("seconds", ".2f", 0.99),
    ):
        values = [getattr(each, name) for each in found]
        yield f"{statistics.median(values):{form}} ({percentile(values, worst):{form}})"


async def _measure(nodes: int, lookups: int, seed: int, options: dict[str, Any]) -> tuple[list[Found], str]:
    random, found = chance(seed, "lookups"), []
    async with open_simulated_network(nodes, seed=seed, **QUIET, **options) as net:
        for node in random.sample(net.nodes, round(nodes * DEAD)):
            await net.crash(node)
        alive = [node.id for node in net.nodes]
        for _ in range(lookups):
            node, key, ended = random.choice(net.nodes), random.randbytes(32), []
            stop = node.subscribe(ended.append, LookupEnded)
            peers = [info.id for info in await node.closest_peers(key)]
            stop()
            truth = nearest((each for each in alive if each != node.id), key, K)
            found.append(
                Found(
                    hops=max(Depths.last.depth.get(peer, 1) for peer in peers),
                    requests=ended[0].outcome.asked,
                    seconds=ended[0].seconds,
                    recall=len(set(truth) & set(peers)) / K,
                )
            )
        return found, net.trace.digest()
