"""Holders that serve what is false, old or somebody else's; and keys that are any bytes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio

from p2pkad.core.messages import AnyReply, FindNodeReply, GetValue, GetValueReply, PutValue, PutValueReply
from p2pkad.core.peers import PeerInfo
from p2pkad.core.records import Record
from p2pkad.errors import InvalidRecord, NotFound, NoValidator
from p2pkad.net.base import Handler, Request
from p2pkad.node.service import KademliaService
from p2pkad.validators.opaque import OpaqueValidator
from tests.behaviour.conftest import BehaviourNetwork

KEY = b"/v/key"
NOTHING, OLD, BEST, FALSE = None, b"1", b"2", b"9 false"
"""What a holder has. By its bytes alone the false value would be the best one."""


class Truth(OpaqueValidator):
    """Any bytes that do not say themselves that they are false."""

    def validate(self, key: bytes, value: bytes, now: float) -> None:
        if value.endswith(b"false"):
            raise InvalidRecord(key, "it is false")


def holder(value: bytes | None, puts: list[bytes]) -> Handler:
    """Answers with this value and notes what it is corrected by."""

    async def handler(request: Request) -> AnyReply:
        match request.message:
            case GetValue(key):
                return GetValueReply(key, None if value is None else Record(key, value), ())
            case PutValue(key, record):
                puts.append(record.value)
                return PutValueReply(key, record)
        return FindNodeReply(())

    return handler


async def among(network: BehaviourNetwork, values: Sequence[bytes | None]) -> tuple[KademliaService, list[list[bytes]]]:
    """A node that knows holders of these values, and what each of them is corrected by."""
    (node,) = await network.start(validators={"v": Truth()})
    corrections: list[list[bytes]] = [[] for _ in values]
    for value, puts in zip(values, corrections, strict=True):
        peer = await network.start_peer(holder(value, puts))
        await node.connect(PeerInfo(peer.id, peer.local_addresses()))
    await node.wait_ready(peers=len(values), timeout=10)
    return node, corrections


@pytest.mark.scenario("V5")
@pytest.mark.parametrize("values", [(FALSE, OLD, BEST), (BEST, OLD, FALSE), (OLD, FALSE, FALSE, FALSE, BEST, OLD)])
async def test_the_best_valid_value_is_got_whoever_lies(network: BehaviourNetwork, values: Sequence[bytes]) -> None:
    node, _ = await among(network, values)
    assert await node.get_value(KEY) == BEST


@pytest.mark.scenario("V5", "V6")
async def test_where_all_lie_nothing_is_found_and_nobody_is_corrected(network: BehaviourNetwork) -> None:
    node, corrections = await among(network, (FALSE, NOTHING, FALSE))
    with pytest.raises(NotFound):
        await node.get_value(KEY)
    await trio.sleep(1)
    assert corrections == [[], [], []]


@pytest.mark.scenario("V6")
async def test_what_is_passed_on_is_valid_and_who_lied_gets_it_too(network: BehaviourNetwork) -> None:
    node, corrections = await among(network, (FALSE, NOTHING, BEST, OLD))
    await node.get_value(KEY)
    await network.until(lambda: corrections == [[BEST], [BEST], [], [BEST]], "all of the others are corrected")


@pytest.mark.scenario("V9")
@pytest.mark.on_real_hosts_too
@pytest.mark.parametrize("key", [b"/v/\xff\xfe\x00/\n", b"/v/" + b"k" * 8000], ids=["not text", "long"])
async def test_a_key_is_any_bytes(network: BehaviourNetwork, key: bytes) -> None:
    writer, reader, _ = await network.start(3, k=1)
    await writer.put_value(key, b"value")
    assert await reader.get_value(key) == b"value"


@pytest.mark.scenario("V9")
async def test_keys_of_no_namespace_and_of_one_that_nobody_registered_need_a_default_validator(
    network: BehaviourNetwork,
) -> None:
    picky, _ = await network.start(2)
    with pytest.raises(InvalidRecord, match="the key has no namespace"):
        await picky.put_value(b"\xff\xfe", b"value")
    with pytest.raises(NoValidator, match="no validator is registered for the namespace /other"):
        await picky.put_value(b"/other/key", b"value")
    broad = await network.start(2, default_validator=OpaqueValidator())
    for key in (b"\xff\xfe", b"/other/key"):
        assert broad[1].id in (await broad[0].put_value(key, b"value")).stored
        assert await broad[1].get_value(key) == b"value"


@pytest.mark.scenario("V6")
async def test_a_value_with_which_a_message_is_full_is_got_though_nobody_can_be_corrected_with_it(
    network: BehaviourNetwork,
) -> None:
    full = 65_536
    value, corrections = b"v" * (full - 40), []  # with the date of its arrival it needs more than is left
    (node,) = await network.start(validators={"v": OpaqueValidator()}, max_message=full)
    for each in (value, None):
        peer = await network.start_peer(holder(each, corrections))
        await node.connect(PeerInfo(peer.id, peer.local_addresses()))
    await node.wait_ready(peers=2, timeout=10)
    for _ in range(2):
        assert await node.get_value(KEY) == value
        await trio.sleep(0.1)
    assert corrections == []
