"""What Prometheus reads off a node at the moment it asks: nothing is kept up to date that nobody looks at."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import fields
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

import p2pkad
from p2pkad.errors import NodeClosed
from p2pkad.ops.catalogue import DEEPEST, LOOKED_AT
from p2pkad.ops.health import HealthWatch

if TYPE_CHECKING:
    from p2pkad import KademliaService

Values = dict[tuple[str, ...], float]
"""The values of one gauge by its labels."""


class Gauges(Collector):
    """A collector over `node.stats()`."""

    def __init__(self, node: KademliaService, watch: HealthWatch) -> None:
        self._node = node
        self._watch = watch

    def describe(self) -> Iterable[Metric]:
        """The families without values, so that to register is not to collect."""
        return [GaugeMetricFamily(each.name, each.help, labels=each.labels) for each in LOOKED_AT]

    def collect(self) -> Iterator[Metric]:
        """The values of this moment; of a closed node, which build it was."""
        values = self._values()
        for each in LOOKED_AT:
            if each.name in values:
                family = GaugeMetricFamily(each.name, each.help, labels=each.labels)
                for labels, value in values[each.name].items():
                    family.add_metric(labels, value)
                yield family

    def _values(self) -> dict[str, Values]:
        build: dict[str, Values] = {"p2pkad_build_info": {_build(): 1.0}}
        try:
            stats, addresses = self._node.stats(), self._node.addresses
        except NodeClosed:
            return build
        plain = {
            "p2pkad_ready": self._watch.health().ready,
            "p2pkad_server": stats.mode == "server",
            "p2pkad_addresses": len(addresses),
            "p2pkad_table_peers": stats.table,
            "p2pkad_table_silent_peers": stats.silent,
            "p2pkad_lookups_running": stats.lookups,
            "p2pkad_store_records": stats.records,
            "p2pkad_store_provider_keys": stats.provider_keys,
            "p2pkad_store_providers": stats.providers,
            "p2pkad_store_own_entries": stats.published,
            "p2pkad_store_bytes": stats.store_bytes,
        }
        return {
            **build,
            **{name: {(): float(value)} for name, value in plain.items()},
            "p2pkad_connections": {("inbound",): stats.inbound, ("outbound",): stats.peers - stats.inbound},
            "p2pkad_table_bucket_peers": _by_bucket(stats.buckets),
            "p2pkad_limit": _limits(self._node.config),
        }


def _by_bucket(buckets: dict[int, int]) -> Values:
    # All of them, also the empty ones: a series that comes and goes is read as if its last value still held.
    peers: Counter[str] = Counter({_bucket(prefix): 0 for prefix in range(DEEPEST + 1)})
    for prefix, count in buckets.items():
        peers[_bucket(prefix)] += count
    return {(label,): float(count) for label, count in peers.items()}


def _bucket(prefix: int) -> str:
    return str(prefix) if prefix < DEEPEST else f"{DEEPEST}+"


def _limits(config: p2pkad.KademliaConfig) -> Values:
    """Every option that is an upper bound. Of a host that the application made, only those of the service are known."""
    bounds = ((each.name, getattr(config, each.name)) for each in fields(config) if each.name.startswith("max_"))
    return {(name,): float(value) for name, value in bounds if isinstance(value, int | float)}


@cache
def _build() -> tuple[str, ...]:
    return p2pkad.__version__, platform.python_version(), version("libp2p")
