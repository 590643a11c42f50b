"""What Prometheus is told of a node: right, parseable, and no more of it however many peers and keys there are."""

from __future__ import annotations

from collections import Counter
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from p2pkad import events
from p2pkad.core.lookup import Ending, Outcome
from p2pkad.core.messages import NAMES
from p2pkad.core.peers import PeerId
from p2pkad.errors import NoPeers, P2pkadError
from p2pkad.node.results import ProvideReceipt, PutReceipt
from p2pkad.ops.catalogue import COUNTED, LOOKED_AT, Described
from p2pkad.ops.metrics import AS_RESULT, GOALS, LISTENED_TO, Metrics
from p2pkad.testing import open_simulated_network, run_simulated
from p2pkad.validators.opaque import OpaqueValidator
from tests.ops.conftest import BOB, OWN, FakeNode

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
ALICE = PeerId(b"\x12\x20" + b"a" * 32)
CONTENT = b"\x12\x20" + sha256(b"content").digest()

Samples = dict[tuple[str, ...], float]


def samples(metrics: Metrics) -> Samples:
    """Every sample by its name and label values, as Prometheus would parse it."""
    read: Samples = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            name = (sample.name, *sample.labels.values())
            assert name not in read, "a series is there twice"
            read[name] = sample.value
    return read


def of(name: str, read: Samples) -> Samples:
    """What has been counted of a metric, by its labels."""
    return {labels: value for (each, *labels), value in read.items() for labels in [tuple(labels)] if each == name and value}


def test_a_network_is_counted_as_it_works() -> None:
    ended: list[events.LookupEnded] = []

    async def main() -> tuple[Samples, Samples]:
        async with open_simulated_network(20, validators={"v": OpaqueValidator()}) as net:
            asker, server = net.nodes[0], net.nodes[1]
            with Metrics(asker) as counted, Metrics(server) as other:
                asker.subscribe(ended.append, events.LookupEnded)
                await asker.put_value(b"/v/key", b"value")
                await net.nodes[5].get_value(b"/v/key")
                await asker.provide(CONTENT)
                await asker.closest_peers(b"anything")
                return samples(counted), samples(other)

    read, other = run_simulated(main, seed=1)
    asked = sum(event.outcome.asked for event in ended)
    assert len(ended) >= 3, "beside the three of ours it refreshes buckets"
    assert of("p2pkad_lookups_total", read) == {("closest_peers", "converged"): len(ended)}
    assert of("p2pkad_lookup_seconds_count", read) == of("p2pkad_lookup_hops_count", read) == {("closest_peers",): len(ended)}
    assert of("p2pkad_lookup_messages_sum", read) == {("closest_peers",): asked}
    requests = of("p2pkad_requests_total", read)
    assert requests["outbound", "PUT_VALUE", "answered"] == requests["outbound", "ADD_PROVIDER", "answered"] == 19
    assert requests["outbound", "FIND_NODE", "answered"] >= 3 * 19
    assert requests["inbound", "GET_VALUE", "answered"] == 1
    assert of("p2pkad_request_seconds_count", read)["outbound", "PUT_VALUE"] == 19
    assert of("p2pkad_puts_total", read) == of("p2pkad_provides_total", read) == {("done",): 1}
    assert of("p2pkad_requests_total", other)["inbound", "PUT_VALUE", "answered"] == 1
    assert of("p2pkad_puts_total", other) == {}
    assert (read["p2pkad_table_peers",], read["p2pkad_ready",], read["p2pkad_server",]) == (19, 1, 1)
    assert sum(of("p2pkad_table_bucket_peers", read).values()) == 19
    assert (read["p2pkad_store_records",], read["p2pkad_store_own_entries",]) == (1, 2)
    assert read["p2pkad_store_bytes",] > 0
    assert read["p2pkad_limit", "max_connections"] == 300


def test_the_same_run_is_counted_the_same() -> None:
    async def main() -> bytes:
        async with open_simulated_network(5) as net:
            with Metrics(net.nodes[0]) as metrics:
                await net.nodes[0].closest_peers(b"anything")
                return b"\n".join(line for line in metrics.text().splitlines() if b"process_" not in line)

    assert run_simulated(main, seed=1) == run_simulated(main, seed=1)


def test_a_closed_node_keeps_its_counts_and_loses_its_gauges() -> None:
    async def main() -> tuple[Samples, Samples]:
        async with open_simulated_network(3) as net:
            node = net.nodes[0]
            metrics = Metrics(node)
            await node.closest_peers(b"anything")
            before = samples(metrics)
            await net.stop(node)
            return before, samples(metrics)

    before, after = run_simulated(main, seed=1)
    gone = {each.name for each in LOOKED_AT} - {"p2pkad_build_info"}
    assert {name for name, *_ in before} - {name for name, *_ in after} == gone
    kept = of("p2pkad_lookups_total", after)
    # While it is closed a lookup of its own may come to its end, and is counted.
    assert all(kept[labels] >= count > 0 for labels, count in of("p2pkad_lookups_total", before).items())


def test_who_is_closed_listens_no_more(node: FakeNode) -> None:
    with Metrics(node) as metrics:
        node.tell(events.PeerAdmitted(at=1.0, peer=ALICE, bucket=0))
    metrics.close()
    assert not node.listeners
    node.tell(events.PeerAdmitted(at=1.0, peer=ALICE, bucket=0))
    assert samples(metrics)["p2pkad_table_admissions_total",] == 1


def some_events(number: int) -> list[events.NodeEvent]:
    """One of each kind that is counted, of a peer and a key that no other number has."""
    name = sha256(str(number).encode()).digest()
    peer = PeerId(b"\x12\x20" + name)
    outcome = Outcome(closest=(peer,), ending=Ending.CONVERGED, asked=number, answered=1, failed=0, late=0, hops=number)
    put, provide = PutReceipt(key=name, stored=(peer,)), ProvideReceipt(key=name, sent=(peer,))
    return [
        events.LookupEnded(at=1.0, lookup=number, kind="Value", key=name, seconds=number, outcome=outcome),
        events.LookupCancelled(at=1.0, lookup=number, kind=f"Kind{number}", key=name, seconds=number),
        events.RequestEnded(at=1.0, peer=peer, message="FIND_NODE", seconds=number, result="answered"),
        events.RequestServed(at=1.0, peer=peer, message="FIND_NODE", seconds=number, result="answered"),
        events.PeerAdmitted(at=1.0, peer=peer, bucket=number),
        events.PeerEvicted(at=1.0, peer=peer, bucket=number, cause="failed"),
        events.PeerReturned(at=1.0, peer=peer, away=number),
        events.BootstrapEnded(at=1.0, tried=number + 1, answered=0, failed=((peer, "silent"),)),
        events.Published(at=1.0, kind="record", key=name, seconds=number, receipt=put),
        events.PublishFailed(at=1.0, kind="record", key=name, seconds=number, error=NoPeers(str(number))),
        events.Republished(at=1.0, kind="provider", key=name, receipt=provide),
        events.RepublishFailed(at=1.0, kind="record", key=name, error=type(f"Error{number}", (P2pkadError,), {})()),
        events.LimitReached(at=1.0, limit="stored_per_peer", peer=peer),
    ]


def test_a_million_peers_have_as_many_series_as_one(node: FakeNode) -> None:
    metrics = Metrics(node)
    for event in some_events(0):
        node.tell(event)
    few = set(samples(metrics))
    for number in range(1, 500):
        node.stats_now.buckets[number % 256] = number
        for event in some_events(number):
            node.tell(event)
    assert set(samples(metrics)) == few
    assert len(few) < 400


def test_the_first_of_its_kind_is_an_increase(node: FakeNode) -> None:
    # Of a series that begins at 1 Prometheus' increase() is 0.
    metrics = Metrics(node)
    before = samples(metrics)
    unheard = events.LookupCancelled(at=1.0, lookup=1, kind="SomebodysOwn", key=b"", seconds=1.0)
    for event in some_events(0):
        node.tell(unheard if isinstance(event, events.LookupCancelled) else event)
    began_late = {name for name, value in samples(metrics).items() if value == 1 and name not in before}
    assert {name for name in began_late if name[0].endswith("_total")} == {("p2pkad_lookups_total", "other", "cancelled")}


def test_counters_begin_with_every_value_that_a_label_may_have() -> None:
    series = {each.name: each.series for each in COUNTED if each.kind == "counter" and each.labels}
    published = {"done", "unreached", "alone", "failed", *AS_RESULT.values()}
    hints = get_type_hints(events.PeerEvicted, vars(events) | {"PeerId": PeerId})
    assert set(series["p2pkad_lookups_total"]) == set(
        product(GOALS.values(), (*(each.name.lower() for each in Ending), "cancelled"))
    )
    assert set(series["p2pkad_requests_total"]) == {
        *product(["outbound"], set(NAMES.values()) - {"PING"}, get_args(events.RequestResult)),
        *product(["inbound"], NAMES.values(), get_args(events.ServedResult)),
    }
    assert set(series["p2pkad_table_evictions_total"]) == set(product(get_args(hints["cause"])))
    assert set(series["p2pkad_bootstraps_total"]) == {("answered",), ("failed",)}
    assert set(series["p2pkad_puts_total"]) == set(series["p2pkad_provides_total"]) == set(product(published))
    assert set(series["p2pkad_republishes_total"]) == set(product(["record", "provider"], published))
    assert set(series["p2pkad_limit_reached_total"]) == set(product(get_args(events.Limit)))
    assert len(series) == 8


def test_every_event_that_is_counted_counts(node: FakeNode) -> None:
    assert {type(event) for event in some_events(0)} == set(LISTENED_TO.__args__)
    for event in some_events(0):
        metrics = Metrics(node)
        before = samples(metrics)
        node.tell(event)
        after = samples(metrics)
        assert {name for name in after if after[name] != before.get(name) and name[0].startswith("p2pkad_")}, event
        metrics.close()


@pytest.mark.parametrize(
    ("receipt", "result"),
    [
        (PutReceipt(key=b"k", stored=(OWN,)), "alone"),
        (PutReceipt(key=b"k", stored=(OWN,), unreachable=(ALICE,)), "unreached"),
        (PutReceipt(key=b"k", stored=(OWN, ALICE), refused=(BOB,)), "done"),
        (PutReceipt(key=b"k", stored=(ALICE,)), "done"),
        (ProvideReceipt(key=b"k", sent=()), "alone"),
        (ProvideReceipt(key=b"k", sent=(), refused=(ALICE,)), "unreached"),
        (ProvideReceipt(key=b"k", sent=(ALICE,)), "done"),
    ],
)
def test_publishing_is_done_when_somebody_else_has_it(node: FakeNode, receipt: PutReceipt, result: str) -> None:
    metrics = Metrics(node)
    node.tell(events.Republished(at=1.0, kind="record", key=b"k", receipt=receipt))
    assert of("p2pkad_republishes_total", samples(metrics)) == {("record", result): 1}


def test_each_goal_has_its_label() -> None:
    from p2pkad.core import goals

    ours = {name for name, each in vars(goals).items() if isinstance(each, type) and each.__module__ == goals.__name__}
    assert set(GOALS) == ours - {"Failure", "Goal"}


def test_two_nodes_in_one_process_do_not_mix() -> None:
    first, second = FakeNode(), FakeNode()
    with Metrics(first) as counted, Metrics(second) as other:
        first.tell(events.PeerAdmitted(at=1.0, peer=ALICE, bucket=0))
        assert samples(counted)["p2pkad_table_admissions_total",] == 1
        assert samples(other)["p2pkad_table_admissions_total",] == 0


def test_what_is_there_is_what_the_catalogue_says(node: FakeNode) -> None:
    metrics = Metrics(node)
    for event in some_events(0):
        node.tell(event)
    families = {family.name: family for family in metrics.registry.collect() if family.name.startswith("p2pkad_")}
    described = {each.name.removesuffix("_total"): each for each in (*COUNTED, *LOOKED_AT)}
    assert set(families) == set(described)
    for name, family in families.items():
        assert (family.type, family.documentation) == (described[name].kind, described[name].help)
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(described[name].labels)
    assert max(Counter(each.name for each in (*COUNTED, *LOOKED_AT)).values()) == 1


def test_the_page_lists_every_metric() -> None:
    def row(each: Described) -> str:
        labels = ", ".join(f"`{label}`" for label in each.labels)
        return f"| `{each.name}` | {each.kind} | {labels} | {each.help} |"

    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `p2pkad_")]
    assert rows == [row(each) for each in (*COUNTED, *LOOKED_AT)]


async def test_what_is_listened_to_leaves_steps_of_lookups_unmade(node: FakeNode) -> None:
    assert not set(LISTENED_TO.__args__) & {events.PeerAsked, events.PeerAnswered, events.LookupStarted, events.PeerLate}
    await trio.lowlevel.checkpoint()
