"""Every metric of a node, described once. The instruments are made from this, and docs/metrics.md is a rendering of it.

A label has few values, all of them known to this program: never a peer, a key or an address. So a node of a million peers has
as many time series as one of ten. Counters have all of theirs from the beginning, at 0: Prometheus sees no increase in a series
that begins at 1, so that of the first failure no alert would hear.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Literal, get_args

from p2pkad.events import Limit, RequestResult, ServedResult

QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds of one request; the longest that one may take by default is 10."""
SLOW = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Seconds of a lookup, or of publishing something; the longest that one may take by default is 60."""
HOPS = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 12.0)
MESSAGES = (1.0, 3.0, 5.0, 10.0, 20.0, 30.0, 40.0, 60.0, 100.0, 200.0)

DEEPEST = 16
"""The common prefix from which on buckets share a label: in a network of a million peers, hardly anybody is deeper."""

LOOKUPS = ("closest_peers", "peer", "value", "providers")
LOOKUP_RESULTS = ("converged", "reached", "deadline", "nobody", "cancelled")
ASKED = ("FIND_NODE", "GET_VALUE", "PUT_VALUE", "ADD_PROVIDER", "GET_PROVIDERS")
SERVED = (*ASKED, "PING")
"""Messages. A PING is answered, and never sent."""
PUBLISHED = (
    *("done", "unreached", "alone", "no_peers", "quorum_not_met", "invalid", "too_large", "stale", "store_full", "misused"),
    "failed",
)
"""What becomes of publishing something."""


@dataclass(frozen=True, slots=True)
class Described:
    """A metric. help: what it says, in a sentence. buckets: upper bounds, of a histogram.

    series: of a counter with labels, the values that it has from the beginning.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    series: tuple[tuple[str, ...], ...] = ()


COUNTED = (
    Described(
        "p2pkad_lookups_total",
        "counter",
        "Lookups that are over, by what was looked for and how they ended.",
        ("kind", "result"),
        series=tuple(product(LOOKUPS, LOOKUP_RESULTS)),
    ),
    Described("p2pkad_lookup_seconds", "histogram", "How long lookups took that were not cancelled.", ("kind",), SLOW),
    Described(
        "p2pkad_lookup_hops",
        "histogram",
        "The longest way to one of the peers found; 1 is a peer of the own table.",
        ("kind",),
        HOPS,
    ),
    Described("p2pkad_lookup_messages", "histogram", "Peers asked by one lookup.", ("kind",), MESSAGES),
    Described(
        "p2pkad_requests_total",
        "counter",
        "Requests that are over: outbound ones of this node, inbound ones of others.",
        ("direction", "message", "result"),
        series=(
            *product(("outbound",), ASKED, get_args(RequestResult)),
            *product(("inbound",), SERVED, get_args(ServedResult)),
        ),
    ),
    Described(
        "p2pkad_request_seconds",
        "histogram",
        "How long requests took that were answered; outbound ones with dialling, inbound ones from request to reply.",
        ("direction", "message"),
        QUICK,
    ),
    Described("p2pkad_table_admissions_total", "counter", "Peers that entered the routing table."),
    Described(
        "p2pkad_table_evictions_total",
        "counter",
        "Peers that left the routing table, by cause.",
        ("cause",),
        series=(("failed",), ("left_protocol",), ("moved",)),
    ),
    Described("p2pkad_table_returns_total", "counter", "Peers that had left the table for failing, and answer again."),
    Described(
        "p2pkad_bootstraps_total",
        "counter",
        "Attempts to reach the bootstrap peers: whether any answered.",
        ("result",),
        series=(("answered",), ("failed",)),
    ),
    Described(
        "p2pkad_puts_total",
        "counter",
        "Values that the application put: done, when others hold it, too.",
        ("result",),
        series=tuple(product(PUBLISHED)),
    ),
    Described(
        "p2pkad_provides_total",
        "counter",
        "Announcements that the application made: done, when they reached anybody.",
        ("result",),
        series=tuple(product(PUBLISHED)),
    ),
    Described(
        "p2pkad_republishes_total",
        "counter",
        "Own records and announcements published again, or given up for a better one (stale).",
        ("kind", "result"),
        series=tuple(product(("record", "provider"), PUBLISHED)),
    ),
    Described("p2pkad_publish_seconds", "histogram", "How long puts and provides of the application took.", ("kind",), SLOW),
    Described(
        "p2pkad_limit_reached_total",
        "counter",
        "Times that a limit of this node turned something away, or made it wait.",
        ("limit",),
        series=tuple(product(get_args(Limit))),
    ),
)
"""What is counted as it happens, from the moment on at which a `Metrics` was made."""

LOOKED_AT = (
    Described("p2pkad_build_info", "gauge", "Always 1: the versions that run.", ("version", "python", "libp2p")),
    Described("p2pkad_ready", "gauge", "1 when the node can be used, as /health/ready says."),
    Described("p2pkad_server", "gauge", "1 for a server, 0 for a client."),
    Described("p2pkad_addresses", "gauge", "Addresses at which the node says it can be reached."),
    Described("p2pkad_connections", "gauge", "Connected peers, by who dialled.", ("direction",)),
    Described("p2pkad_table_peers", "gauge", "Peers in the routing table."),
    Described("p2pkad_table_silent_peers", "gauge", "Of these, how many did not answer when they were asked last."),
    Described(
        "p2pkad_table_bucket_peers",
        "gauge",
        f"Peers in a bucket, by the bits of its common prefix with the own id; those of {DEEPEST} and more in one.",
        ("bucket",),
    ),
    Described("p2pkad_lookups_running", "gauge", "Lookups under way."),
    Described("p2pkad_store_records", "gauge", "Records kept."),
    Described("p2pkad_store_provider_keys", "gauge", "Keys with providers kept."),
    Described("p2pkad_store_providers", "gauge", "Provider records kept."),
    Described("p2pkad_store_own_entries", "gauge", "Records that the node publishes and keys that it provides."),
    Described("p2pkad_store_bytes", "gauge", "What is kept, in bytes, as it counts against `max_store_bytes`."),
    Described("p2pkad_limit", "gauge", "The limits of the configuration, by the name of the option.", ("option",)),
)
"""What is looked up in the node when somebody asks. When the node is closed, only the build info is left."""
