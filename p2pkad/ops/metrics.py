"""What a node did, counted for Prometheus: events become counters and histograms, `node.stats()` becomes gauges.

Each `Metrics` has a registry of its own, so that several nodes in one process do not mix; where they are served together, a
scrape of each is a target of its own. What there is stands in `catalogue`, and rendered in docs/metrics.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import Metric

from p2pkad import ProvideReceipt, events
from p2pkad.errors import (
    InvalidRecord,
    LocalProtocolError,
    NoPeers,
    P2pkadError,
    QuorumNotMet,
    RecordTooLarge,
    StaleRecord,
    StoreFull,
)
from p2pkad.ops.catalogue import COUNTED
from p2pkad.ops.gauges import Gauges
from p2pkad.ops.health import HealthWatch

if TYPE_CHECKING:
    from p2pkad import KademliaService, PeerId

LISTENED_TO = (
    events.LookupEnded
    | events.LookupCancelled
    | events.RequestEnded
    | events.RequestServed
    | events.PeerAdmitted
    | events.PeerEvicted
    | events.PeerReturned
    | events.BootstrapEnded
    | events.Published
    | events.PublishFailed
    | events.Republished
    | events.RepublishFailed
    | events.LimitReached
)
"""The events that are counted. The steps of lookups are not among them: those stay unmade."""

GOALS = {"ClosestPeers": "closest_peers", "OnePeer": "peer", "Value": "value", "Providers": "providers"}
"""The label of a lookup by the name of its goal; anything else is "other"."""

AS_RESULT: dict[type[P2pkadError], str] = {
    NoPeers: "no_peers",
    QuorumNotMet: "quorum_not_met",
    InvalidRecord: "invalid",
    RecordTooLarge: "too_large",
    StaleRecord: "stale",
    StoreFull: "store_full",
    LocalProtocolError: "misused",
}
"""The result of publishing by the error that it ended with; anything else is "failed"."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of `Metrics.text`: Prometheus' text format."""


class Metrics:
    """The metrics of one node: `with Metrics(node) as metrics`, or `close` when they are wanted no more.

    It counts from the moment on at which it is made. registry: for a server of the application's own; collecting it must
    happen in the node's thread. A node that was closed keeps its counts and loses its gauges.
    """

    def __init__(self, node: KademliaService) -> None:
        self.registry = CollectorRegistry()
        self._own = node.id
        self._counters: dict[tuple[str, ...], Counter] = {}
        self._histograms: dict[tuple[str, ...], Histogram] = {}
        for each in COUNTED:
            if each.kind == "counter":
                counter = self._counters[each.name,] = Counter(each.name, each.help, each.labels, registry=self.registry)
                for labels in each.series:
                    self._counters[each.name, *labels] = counter.labels(*labels)
            else:
                self._histograms[each.name,] = Histogram(
                    each.name, each.help, each.labels, buckets=each.buckets, registry=self.registry
                )
        self.watch = HealthWatch(node)
        self.registry.register(Gauges(node, self.watch))
        ProcessCollector(registry=self.registry)
        self._unsubscribe: Callable[[], None] = node.subscribe(self._count, LISTENED_TO)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Listen to the node no more; what was counted stays readable. Twice is once."""
        self._unsubscribe()
        self.watch.close()

    def text(self) -> bytes:
        """All of it in Prometheus' text format, `CONTENT_TYPE`."""
        return generate_latest(_WithoutBirthdays(self.registry))

    def _count(self, event: events.NodeEvent) -> None:
        match event:
            case events.RequestServed():
                self._count_request("inbound", event)
            case events.RequestEnded():
                self._count_request("outbound", event)
            case events.LookupEnded() | events.LookupCancelled():
                self._count_lookup(event)
            case events.PeerAdmitted():
                self._add("p2pkad_table_admissions_total")
            case events.PeerEvicted(cause=cause):
                self._add("p2pkad_table_evictions_total", cause)
            case events.PeerReturned():
                self._add("p2pkad_table_returns_total")
            case events.BootstrapEnded(answered=answered):
                self._add("p2pkad_bootstraps_total", "answered" if answered else "failed")
            case events.Published() | events.PublishFailed():
                name = "p2pkad_puts_total" if event.kind == "record" else "p2pkad_provides_total"
                self._add(name, _result(event, self._own))
                self._observe("p2pkad_publish_seconds", event.seconds, event.kind)
            case events.Republished() | events.RepublishFailed():
                self._add("p2pkad_republishes_total", event.kind, _result(event, self._own))
            case events.LimitReached(limit=limit):
                self._add("p2pkad_limit_reached_total", limit)
            case _:
                pass

    def _count_request(self, direction: str, event: events.RequestServed | events.RequestEnded) -> None:
        self._add("p2pkad_requests_total", direction, event.message, event.result)
        if event.result == "answered":
            self._observe("p2pkad_request_seconds", event.seconds, direction, event.message)

    def _count_lookup(self, event: events.LookupEnded | events.LookupCancelled) -> None:
        kind = GOALS.get(event.kind, "other")
        if isinstance(event, events.LookupCancelled):
            self._add("p2pkad_lookups_total", kind, "cancelled")
            return
        self._add("p2pkad_lookups_total", kind, event.outcome.ending.name.lower())
        self._observe("p2pkad_lookup_seconds", event.seconds, kind)
        self._observe("p2pkad_lookup_hops", event.outcome.hops, kind)
        self._observe("p2pkad_lookup_messages", event.outcome.asked, kind)

    # Series are kept by name and labels: for prometheus_client to look one up takes longer than to count.

    def _add(self, name: str, *labels: str) -> None:
        counter = self._counters.get((name, *labels))
        if counter is None:
            counter = self._counters[name, *labels] = self._counters[name,].labels(*labels)
        counter.inc()

    def _observe(self, name: str, value: float, *labels: str) -> None:
        histogram = self._histograms.get((name, *labels))
        if histogram is None:
            histogram = self._histograms[name, *labels] = self._histograms[name,].labels(*labels)
        histogram.observe(value)


class _WithoutBirthdays:
    """A registry without the `_created` series, which the text format has no use for: half as much to read."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for family in self._registry.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family


def _result(event: events.Published | events.PublishFailed | events.Republished | events.RepublishFailed, own: PeerId) -> str:
    """What became of publishing something. done: somebody but the node itself, `own`, took it; alone: nobody was there to."""
    if isinstance(event, events.PublishFailed | events.RepublishFailed):
        return next((result for kind, result in AS_RESULT.items() if isinstance(event.error, kind)), "failed")
    receipt = event.receipt
    if set(receipt.sent if isinstance(receipt, ProvideReceipt) else receipt.stored) - {own}:
        return "done"
    return "unreached" if receipt.refused or receipt.unreachable else "alone"
