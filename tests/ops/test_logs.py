"""What stands in the log of a node, how often, and what never does."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest
import trio

import p2pkad
from p2pkad import events
from p2pkad.core.goals import Failure
from p2pkad.core.lookup import Ending, Outcome
from p2pkad.core.peers import PeerInfo
from p2pkad.core.records import Record
from p2pkad.errors import InvalidRecord, NoPeers, StaleRecord, StoreFull
from p2pkad.node.results import ProvideReceipt, PutReceipt
from p2pkad.ops.logs import LINES, REMINDER, EventLog, Throttle, hash_of
from p2pkad.validators.opaque import OpaqueValidator
from tests.ops.conftest import ALICE, FakeNode

KEY, VALUE, SECRET = b"/v/secretkey", b"secretvalue", "secret"
OUTCOME = Outcome(closest=(ALICE,), ending=Ending.CONVERGED, asked=1, answered=1, failed=0, late=0)
PUT, PROVIDE = PutReceipt(key=KEY, stored=(ALICE,)), ProvideReceipt(key=KEY, sent=(ALICE,))
WITHIN: dict[str, Any] = {"at": 1.0, "lookup": 1, "key": KEY}

EVERYTHING: list[events.NodeEvent] = [
    events.PeerAdmitted(at=1.0, peer=ALICE, bucket=3),
    events.PeerEvicted(at=1.0, peer=ALICE, bucket=3, cause="failed"),
    events.PeerReturned(at=1.0, peer=ALICE, away=2.0),
    events.ModeChanged(at=1.0, mode="client"),
    events.BootstrapEnded(at=1.0, tried=1, answered=0, failed=((ALICE, "silent"),)),
    events.Published(at=1.0, kind="record", key=KEY, seconds=1.0, receipt=PUT),
    events.PublishFailed(at=1.0, kind="record", key=KEY, seconds=1.0, error=InvalidRecord(KEY, f"no {VALUE!r}")),
    events.Republished(at=1.0, kind="provider", key=KEY, receipt=PROVIDE),
    events.RepublishFailed(at=1.0, kind="record", key=KEY, error=NoPeers(KEY.decode())),
    events.RequestEnded(at=1.0, peer=ALICE, message="PUT_VALUE", seconds=1.0, result="answered"),
    events.LimitReached(at=1.0, limit="lookups", peer=None),
    events.HostNotArmoured(at=1.0, faults=(events.HostFault.FULL,)),
    events.RequestServed(at=1.0, peer=ALICE, message="PUT_VALUE", seconds=1.0, result="full"),
    events.LookupStarted(**WITHIN, kind="Value", seeds=1),
    events.PeerAsked(**WITHIN, peer=ALICE),
    events.PeerAnswered(**WITHIN, peer=ALICE, seconds=1.0, closer=1),
    events.ValueHeard(**WITHIN, peer=ALICE, record=Record(KEY, VALUE)),
    events.ProvidersHeard(**WITHIN, peer=ALICE, providers=(PeerInfo(ALICE),)),
    events.PeerLate(**WITHIN, peer=ALICE),
    events.PeerFailed(**WITHIN, peer=ALICE, seconds=1.0, reason=Failure.SILENT),
    events.LookupEnded(**WITHIN, kind="Value", seconds=1.0, outcome=OUTCOME),
    events.LookupCancelled(**WITHIN, kind="Value", seconds=1.0),
]

Lines = list[tuple[str, str, dict[str, Any]]]
USUAL = {*vars(logging.makeLogRecord({})), "message"}


def written(caplog: pytest.LogCaptureFixture, node: FakeNode, *told: events.NodeEvent, level: int = logging.INFO) -> Lines:
    """Level, name and fields of each line."""
    caplog.set_level(level, "p2pkad")
    caplog.clear()
    with EventLog(node):
        for event in told:
            node.tell(event)
    return [
        (each.levelname, each.getMessage(), {name: value for name, value in vars(each).items() if name not in USUAL})
        for each in caplog.records
        if each.name == "p2pkad.ops.logs"
    ]


@pytest.mark.parametrize(
    ("event", "lines"),
    [
        (events.PeerAdmitted(at=1.0, peer=ALICE, bucket=3), [("INFO", "peer admitted", {"peer": str(ALICE)})]),
        (events.ModeChanged(at=1.0, mode="server"), [("INFO", "mode changed", {"mode": "server"})]),
        (events.ModeChanged(at=1.0, mode="client"), [("WARNING", "mode changed", {"mode": "client"})]),
        (
            events.BootstrapEnded(at=1.0, tried=2, answered=1, failed=((ALICE, "silent"),)),
            [("INFO", "bootstrap peers asked", {"tried": 2, "answered": 1})],
        ),
        (
            events.BootstrapEnded(at=1.0, tried=1, answered=0, failed=((ALICE, "silent"),)),
            [
                ("WARNING", "bootstrap peers asked", {"tried": 1, "answered": 0}),
                ("WARNING", "bootstrap peer failed", {"peer": str(ALICE), "reason": "silent"}),
            ],
        ),
        (events.PublishFailed(at=1.0, kind="record", key=KEY, seconds=1.0, error=StoreFull("no room")), []),
        (
            events.RepublishFailed(at=1.0, kind="record", key=KEY, error=StoreFull("no room")),
            [("WARNING", "publishing failed", {"kind": "record", "key": hash_of(KEY), "error": "StoreFull"})],
        ),
        (
            events.RepublishFailed(at=1.0, kind="record", key=KEY, error=StaleRecord(KEY, "a better one")),
            [("INFO", "not published any more", {"kind": "record", "key": hash_of(KEY)})],
        ),
        (
            events.RequestServed(at=1.0, peer=ALICE, message="PUT_VALUE", seconds=1.0, result="full"),
            [("WARNING", "store full", {"request": "PUT_VALUE"})],
        ),
        (
            events.RequestServed(at=1.0, peer=ALICE, message="PUT_VALUE", seconds=1.0, result="failed"),
            [("ERROR", "request failed", {"request": "PUT_VALUE"})],
        ),
        (events.RequestServed(at=1.0, peer=ALICE, message="PUT_VALUE", seconds=1.0, result="refused"), []),
        (events.LimitReached(at=1.0, limit="lookups", peer=None), [("WARNING", "limit reached", {"limit": "lookups"})]),
        (events.LimitReached(at=1.0, limit="store", peer=ALICE), []),  # "store full" says so
        (events.Republished(at=1.0, kind="record", key=KEY, receipt=PUT), []),
    ],
)
def test_what_an_operator_would_like_to_know_is_a_line(
    caplog: pytest.LogCaptureFixture, event: events.NodeEvent, lines: Lines
) -> None:
    assert written(caplog, FakeNode(table=1), event) == lines


def test_bootstrap_that_comes_out_as_before_is_no_news_but_for_a_reminder(caplog: pytest.LogCaptureFixture) -> None:
    def ended(at: float, answered: int) -> events.BootstrapEnded:
        why = ((ALICE, f"no answer within {at} s"),)
        return events.BootstrapEnded(at=at, tried=1, answered=answered, failed=() if answered else why)

    well = [ended(at, answered=1) for at in (0.0, 30.0, 10_000.0)]
    ill = [ended(10_030 + at, answered=0) for at in (0.0, 30.0, REMINDER - 1, REMINDER, REMINDER + 30)]
    asked = [
        (level, told["answered"])
        for level, name, told in written(caplog, FakeNode(), *well, *ill, ended(20_000, answered=1))
        if name == "bootstrap peers asked"
    ]
    assert asked == [("INFO", 1), ("WARNING", 0), ("WARNING", 0), ("INFO", 1)]


def test_the_last_attempt_to_reach_a_bootstrap_peer_is_told_to_be(caplog: pytest.LogCaptureFixture) -> None:
    failed = events.BootstrapEnded(at=1.0, tried=1, answered=0, failed=((ALICE, "silent"),))
    lines = written(caplog, FakeNode(), failed, failed, replace(failed, given_up=True))
    asked = [told for _, name, told in lines if name == "bootstrap peers asked"]
    assert asked == [{"tried": 1, "answered": 0}, {"tried": 1, "answered": 0, "given_up": True}]


def test_the_last_peer_that_leaves_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    evicted = events.PeerEvicted(at=1.0, peer=ALICE, bucket=3, cause="failed")
    line = ("INFO", "peer evicted", {"peer": str(ALICE), "cause": "failed"})
    assert written(caplog, FakeNode(table=1), evicted) == [line]
    assert written(caplog, FakeNode(table=0), evicted) == [line, ("WARNING", "routing table empty", {})]
    closed = FakeNode()
    closed.closed = True
    assert written(caplog, closed, evicted) == [line]


def test_of_many_bootstrap_peers_some_are_named(caplog: pytest.LogCaptureFixture) -> None:
    ended = events.BootstrapEnded(at=1.0, tried=99, answered=0, failed=((ALICE, "silent"),) * 99)
    assert len(written(caplog, FakeNode(), ended)) == 1 + events.MOST_NAMED


def test_peers_that_come_and_go_fill_no_disk(caplog: pytest.LogCaptureFixture) -> None:
    told = [events.PeerAdmitted(at=second / 10, peer=ALICE, bucket=3) for second in range(1200)]
    lines = written(caplog, FakeNode(table=1), *told)
    assert len(lines) == 2 * LINES
    assert [fields.get("suppressed") for _, _, fields in lines[LINES - 1 : LINES + 2]] == [None, 600 - LINES, None]


def test_what_goes_on_and_on_is_said_once_a_minute_for_each_request(caplog: pytest.LogCaptureFixture) -> None:
    told = [
        events.RequestServed(at=second, peer=ALICE, message=message, seconds=1.0, result="full")
        for second in range(90)
        for message in ("PUT_VALUE", "ADD_PROVIDER")
    ]
    lines = [(fields["request"], fields.get("suppressed")) for _, _, fields in written(caplog, FakeNode(), *told)]
    assert lines == [("PUT_VALUE", None), ("ADD_PROVIDER", None), ("PUT_VALUE", 59), ("ADD_PROVIDER", 59)]


def test_every_event_can_be_written_and_none_says_what_is_stored(caplog: pytest.LogCaptureFixture) -> None:
    assert {type(event) for event in EVERYTHING} == set(events.NodeEvent.__args__)
    lines = written(caplog, FakeNode(table=1), *EVERYTHING, level=logging.DEBUG)
    assert len(lines) > len(EVERYTHING)
    assert SECRET not in str(lines)
    assert KEY.hex() not in str(lines)


def test_above_debug_steps_are_not_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "p2pkad")
    node = FakeNode()
    with EventLog(node):
        assert not node.telling.wanted(events.PeerAsked)
    assert not node.listeners


class Picky(OpaqueValidator):
    """Refuses, or fails, and says what it was about."""

    def validate(self, key: bytes, value: bytes, now: float) -> None:
        if value.endswith(b"bad"):
            raise InvalidRecord(key, f"I do not like {value!r}")
        if value.endswith(b"broken"):
            raise ValueError(value)


async def test_no_line_of_a_working_node_has_a_key_or_a_value(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    options: dict[str, Any] = {"listen": ("/ip4/127.0.0.1/tcp/0",), "validators": {"v": OpaqueValidator()}}
    async with p2pkad.open_node(**options) as first:
        options |= {"bootstrap": first.addresses}
        async with (
            p2pkad.open_node(**{**options, "validators": {"v": Picky()}}) as second,
            p2pkad.open_node(**options) as third,
        ):
            with EventLog(first), EventLog(second), EventLog(third):
                await second.wait_ready(timeout=30)
                await third.wait_ready(timeout=30)
                first.subscribe(lambda event: 1 / 0, events.ValueHeard | events.Published)
                await third.connect(second.addresses[0])
                for value in (VALUE, VALUE + b"bad", VALUE + b"broken"):
                    await first.put_value(KEY + value, value)
                    await third.get_value(KEY + value)
                for value in (VALUE + b"bad", VALUE + b"broken"):
                    with pytest.raises(InvalidRecord):
                        await second.put_value(KEY, value)
                with pytest.raises(p2pkad.NotFound):
                    await second.get_value(KEY + b"nothing")
                await trio.sleep(0.1)
    said = [f"{record.getMessage()} {vars(record)} {record.exc_text}" for record in caplog.records]
    ours = [record for record in caplog.records if record.name.startswith("p2pkad.")]
    assert {"a listener failed on Published", "the validator of a namespace failed", "LookupEnded"} <= {
        record.getMessage() for record in ours
    }
    assert any("reset: InvalidRecord" in record.getMessage() for record in ours), "a refused put is told at debug"
    assert not [line for line in said if SECRET in line or KEY.hex() in line]


def test_a_handler_writes_so_many_warnings_of_a_kind(caplog: pytest.LogCaptureFixture) -> None:
    throttle = Throttle()

    def passes(message: str, created: float, level: int = logging.WARNING) -> tuple[bool, int]:
        record = logging.makeLogRecord({"name": "x", "msg": message, "levelno": level, "created": created})
        return throttle.filter(record), getattr(record, "suppressed", 0)

    assert [passes("again", 0.0) for _ in range(LINES + 5)] == [(True, 0)] * LINES + [(False, 0)] * 5
    assert passes("another", 1.0) == (True, 0)
    assert passes("again", 61.0) == (True, 5)
    assert all(passes("again", 61.0, logging.INFO)[0] for _ in range(2 * LINES)), "only warnings and errors"
    assert sum(passes(f"figure {number}", 62.0)[0] for number in range(10_000)) < 300 + LINES


def test_a_clock_that_is_set_back_silences_nothing() -> None:
    throttle = Throttle()

    def passes(created: float) -> bool:
        return throttle.filter(logging.makeLogRecord({"levelno": logging.WARNING, "msg": "again", "created": created}))

    assert [passes(86_400.0) for _ in range(LINES + 1)] == [True] * LINES + [False]
    assert [passes(0.0) for _ in range(LINES + 1)] == [True] * LINES + [False]
    assert passes(60.0)
