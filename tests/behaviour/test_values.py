"""Values: who stores them, who is believed, who is corrected."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import pytest
import trio
import trio.testing

from p2pkad.core.keyspace import SHA256
from p2pkad.core.messages import AnyReply, AnyRequest, FindNode, FindNodeReply, GetValue, GetValueReply, PutValue, PutValueReply
from p2pkad.core.peers import PeerId, PeerInfo
from p2pkad.core.records import Record
from p2pkad.errors import InvalidRecord, NotFound, QuorumNotMet, RecordTooLarge, RequestFailed, StaleRecord
from p2pkad.net.base import Handler, Request
from p2pkad.validators.opaque import OpaqueValidator
from tests.behaviour.conftest import BehaviourNetwork
from tests.support.records import Fickle

KEY = b"/v/key"


class Picky(OpaqueValidator):
    """Any bytes but `garbage`; a value that begins with a number is dead from then on."""

    def validate(self, key: bytes, value: bytes, now: float) -> None:
        if value == b"garbage":
            raise InvalidRecord(key, "it is garbage")

    def expires(self, key: bytes, value: bytes) -> float | None:
        head = value.partition(b" ")[0]
        return float(head) if head.isdigit() else None


def holder(answer: AnyReply | None, log: list[AnyRequest] | None = None) -> Handler:
    """A peer that answers GET_VALUE with this, knows nobody, and takes every put."""

    async def handler(request: Request) -> AnyReply | None:
        if log is not None:
            log.append(request.message)
        match request.message:
            case FindNode():
                return FindNodeReply(())
            case GetValue():
                return answer
            case PutValue(key, record):
                return PutValueReply(key, record)
        raise RequestFailed(request.peer, "not today")

    return handler


def value(content: bytes) -> GetValueReply:
    return GetValueReply(KEY, Record(KEY, content), ())


async def meet(network: BehaviourNetwork, handlers: Sequence[Handler]) -> None:
    """The first node of the network gets to know peers with these handlers."""
    node = network.nodes[0]
    for handler in handlers:
        peer = await network.start_peer(handler)
        await node.connect(PeerInfo(peer.id, peer.local_addresses()))
    await node.wait_ready(peers=len(handlers), timeout=10)


@pytest.mark.scenario("V2")
async def test_an_invalid_value_is_refused_before_anything_is_sent(network: BehaviourNetwork) -> None:
    log: list[AnyRequest] = []
    (node,) = await network.start(validators={"v": Picky()})
    await meet(network, [holder(None, log)])
    log.clear()
    for key, content in ((KEY, b"garbage"), (KEY, b""), (b"/other/key", b"value"), (b"key", b"value")):
        with pytest.raises(InvalidRecord):
            await node.put_value(key, content)
    with pytest.raises(InvalidRecord):
        await node.get_value(b"/other/key")
    assert not log
    assert node.stats().records == 0


@pytest.mark.scenario("V5")
@pytest.mark.parametrize("lie", [b"garbage", b"1 is long ago"], ids=["garbage", "expired"])
async def test_a_holder_that_lies_is_not_believed(network: BehaviourNetwork, lie: bytes) -> None:
    (node,) = await network.start(validators={"v": Picky()})
    await meet(network, [holder(value(lie))])
    with pytest.raises(NotFound):
        await node.get_value(KEY)
    await meet(network, [holder(value(b"honest")), holder(value(b"dishonest, and worse"))])
    assert await node.get_value(KEY) == b"honest"


@pytest.mark.scenario("V3")
async def test_a_value_worse_than_the_own_copy_is_not_put(network: BehaviourNetwork) -> None:
    nodes = await network.start(2)
    await nodes[0].put_value(KEY, b"2")
    with pytest.raises(StaleRecord):
        await nodes[0].put_value(KEY, b"1")


@pytest.mark.scenario("V13")
async def test_a_receipt_names_who_stored_who_refused_and_who_never_answered(network: BehaviourNetwork) -> None:
    (node,) = await network.start()
    log: list[AnyRequest] = []

    async def refuses(request: Request) -> AnyReply:
        if isinstance(request.message, PutValue):
            raise RequestFailed(request.peer, "no")
        return FindNodeReply(())

    async def stores_something_else(request: Request) -> AnyReply:
        if isinstance(request.message, PutValue):
            return PutValueReply(KEY, Record(KEY, b"something else"))
        return FindNodeReply(())

    await meet(network, [holder(None, log), refuses, stores_something_else])
    known = [info.id for info in node.routing_table()]
    receipt = await node.put_value(KEY, b"value")
    assert receipt.stored[0] == node.id
    assert len(receipt.stored) == 2
    assert len(receipt.refused) == 2
    assert {*receipt.stored[1:], *receipt.refused} == set(known)
    assert any(isinstance(message, PutValue) for message in log)
    with pytest.raises(QuorumNotMet) as caught:
        await node.put_value(KEY, b"value", min_stored=3)
    assert caught.value.receipt is not None


@pytest.mark.scenario("V13")
async def test_a_peer_that_dies_during_the_put_is_named_as_unreachable(network: BehaviourNetwork) -> None:
    (node,) = await network.start(request_timeout=0.2)

    async def dies(request: Request) -> AnyReply:
        if isinstance(request.message, PutValue):
            await trio.sleep_forever()
        return FindNodeReply(())

    await meet(network, [dies])
    with trio.fail_after(10):  # put_timeout is a minute: a peer has the time of one request
        receipt = await node.put_value(KEY, b"value")
    assert (receipt.stored, len(receipt.unreachable)) == ((node.id,), 1)


@pytest.mark.scenario("V9")
async def test_a_value_that_rust_could_not_read_is_put_on_request_only(network: BehaviourNetwork) -> None:
    nodes = await network.start(2)
    large = b"x" * 16 * 1024
    with pytest.raises(RecordTooLarge, match="16384 is the most that every peer takes"):
        await nodes[0].put_value(KEY, large)
    await nodes[0].put_value(KEY, large, allow_large=True)
    assert await nodes[1].get_value(KEY) == large


@pytest.mark.scenario("V14")
async def test_a_value_that_says_when_it_dies_tells_rust_so(network: BehaviourNetwork) -> None:
    (node,) = await network.start(validators={"v": Picky()})
    log: list[AnyRequest] = []
    await meet(network, [holder(None, log)])
    await node.put_value(KEY, b"%d mortal" % (time.time() + 1000))
    (sent,) = [message for message in log if isinstance(message, PutValue)]
    assert 900 < sent.record.ttl <= 1000
    assert sent.record.publisher == node.id


@pytest.mark.scenario("V6")
async def test_after_a_full_lookup_everybody_near_gets_the_best_value(network: BehaviourNetwork) -> None:
    (node,) = await network.start()
    logs: list[list[AnyRequest]] = [[], [], []]
    answers = [value(b"1"), value(b"2"), GetValueReply(KEY, None, ())]
    await meet(network, [holder(answer, log) for answer, log in zip(answers, logs, strict=True)])
    assert await node.get_value(KEY) == b"2"
    worse, best, none = logs
    puts = lambda log: [message.record.value for message in log if isinstance(message, PutValue)]  # noqa: E731
    await network.until(lambda: puts(worse) == [b"2"] and puts(none) == [b"2"], "both are corrected")
    assert puts(best) == []


@pytest.mark.scenario("V6", "V7")
async def test_after_a_quorum_only_those_with_a_worse_value_are_corrected(network: BehaviourNetwork) -> None:
    (node,) = await network.start(alpha=1, beta=20)
    answers: dict[PeerId, GetValueReply] = {}
    puts: list[PeerId] = []

    peers: list[PeerId] = []
    for _ in range(4):
        own_id: list[PeerId] = []

        async def handler(request: Request, own_id: list[PeerId] = own_id) -> AnyReply:
            match request.message:
                case GetValue():
                    return answers[own_id[0]]
                case PutValue(key, record):
                    puts.append(own_id[0])
                    return PutValueReply(key, record)
            return FindNodeReply(())

        made = await network.start_peer(handler)
        own_id.append(made.id)
        peers.append(made.id)
        await node.connect(PeerInfo(made.id, made.local_addresses()))
    await node.wait_ready(peers=4, timeout=10)
    nearest = sorted(peers, key=lambda each: SHA256.key(each) ^ SHA256.key(KEY))
    none, worse, *best = nearest  # in the order in which they are asked
    answers |= {none: GetValueReply(KEY, None, ()), worse: value(b"1")} | dict.fromkeys(best, value(b"2"))
    found = await node.get_record(KEY, quorum=2)
    assert (found.value, found.asked, set(found.holders)) == (b"2", 4, set(best))
    await network.until(lambda: bool(puts), "the worse one is corrected")
    await trio.sleep(0.1)
    assert puts == [worse]


@pytest.mark.scenario("V7")
async def test_the_own_copy_counts(network: BehaviourNetwork) -> None:
    nodes = await network.start(2)
    await nodes[0].put_value(KEY, b"value")
    found = await nodes[0].get_record(KEY, quorum=1)
    assert (found.holders, found.asked) == ((nodes[0].id,), 0)
    assert set((await nodes[0].get_record(KEY, quorum=2)).holders) == {nodes[0].id, nodes[1].id}


@pytest.mark.scenario("V14")
async def test_a_correction_passes_the_record_on_with_what_is_left_of_its_ttl(network: BehaviourNetwork) -> None:
    (node,) = await network.start()
    log: list[AnyRequest] = []
    from_rust = Record(KEY, b"value", publisher=bytes(node.id), ttl=77)
    await meet(network, [holder(GetValueReply(KEY, from_rust, ())), holder(GetValueReply(KEY, None, ()), log)])
    await node.get_value(KEY)
    await network.until(lambda: any(isinstance(message, PutValue) for message in log), "it is passed on")
    (sent,) = [message.record for message in log if isinstance(message, PutValue)]
    assert 0 < sent.ttl < 77
    assert sent == replace(from_rust, ttl=sent.ttl)


@pytest.mark.scenario("V4", "V6")
async def test_a_reader_keeps_the_better_value_where_its_own_copy_was_worse(network: BehaviourNetwork) -> None:
    (node,) = await network.start(allow_zero_peers=True)
    await node.put_value(KEY, b"1")
    await meet(network, [holder(value(b"2"))])
    assert await node.get_value(KEY) == b"2"
    await trio.sleep(0.1)
    assert await node.local_value(KEY) == b"2"


@pytest.mark.scenario("V9")
async def test_a_value_that_no_frame_holds_is_refused_before_anything_is_stored(network: BehaviourNetwork) -> None:
    node, _ = await network.start(2, max_message=64 * 1024)
    with pytest.raises(RecordTooLarge, match="and 65536 is the limit"):
        await node.put_value(KEY, b"x" * 64 * 1024, allow_large=True)
    assert node.stats().records == 0


class Moody(OpaqueValidator):
    """It finds every value valid, and cannot compare `odd` with anything."""

    def select(self, key: bytes, values: Sequence[bytes]) -> int:
        if b"odd" in values:
            raise RuntimeError("odd")
        return super().select(key, values)


async def test_a_value_that_the_validator_cannot_compare_ends_no_lookup(network: BehaviourNetwork) -> None:
    (node,) = await network.start(validators={"v": Moody()}, alpha=1, beta=20)
    await meet(network, [holder(value(b"even")), holder(value(b"odd")), holder(value(b"even"))])
    assert await node.get_value(KEY) in (b"even", b"odd")


async def test_when_nobody_answers_the_error_does_not_speak_of_a_deadline(network: BehaviourNetwork) -> None:
    node, gone = await network.start(2)
    await network.until(lambda: node.stats().table == 1, "it is known")
    await network.stop(gone)
    with pytest.raises(NotFound, match=r": nobody answered \(1 asked, 0 answered\)") as caught:
        await node.get_value(KEY)
    assert not caught.value.complete


@pytest.mark.scenario("V2", "V8")
async def test_a_server_neither_stores_nor_serves_what_is_not_valid(network: BehaviourNetwork) -> None:
    validator = Fickle()
    (server,) = await network.start(validators={"v": validator}, allow_zero_peers=True)
    await server.put_value(KEY, b"value")
    (asker,) = await network.start()
    assert (await asker.get_record(KEY)).holders == (server.id,)
    validator.trusts = False
    with pytest.raises(NotFound):
        await asker.get_value(KEY)
    with pytest.raises(NotFound):
        await server.get_value(KEY)
    assert (await asker.put_value(b"/v/other", b"value")).refused == (server.id,)
    assert await server.local_value(b"/v/other") is None
