"""Who publishes keeps it alive, nobody else does, and stopping is for good. Time is virtual; hours take no time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256
from typing import Any

import pytest
import trio

from p2pkad.core.messages import FindNodeReply, PutValue
from p2pkad.core.records import Record, StoredRecord
from p2pkad.errors import InvalidRecord, NotFound, P2pkadError, StaleRecord, StoreFailed, StoreFull
from p2pkad.events import LookupStarted, NodeEvent, Republished, RepublishFailed
from p2pkad.net.base import Request
from p2pkad.node.cycle import PACE
from p2pkad.node.moving import PAUSE
from p2pkad.node.service import KademliaService
from p2pkad.store.base import Decide
from p2pkad.testing import SimulatedNodes, open_simulated_network, run_simulated
from p2pkad.validators.opaque import OpaqueValidator
from tests.support.records import Fickle

KEY = b"/v/key"
CONTENT = b"\x12\x20" + sha256(b"content").digest()

LIFETIME = 1000.0
INTERVAL = 400.0
DAY = 86_400.0
# Nothing else is to happen while the hours pass.
QUIET = {"refresh_interval": 1e6, "validators": {"v": OpaqueValidator()}}
LIVES = {
    "record_lifetime": LIFETIME,
    "republish_interval": INTERVAL,
    "provider_lifetime": LIFETIME,
    "reprovide_interval": INTERVAL,
}


def simulated(count: int, **options: Any) -> Callable[[Callable[[SimulatedNodes], Awaitable[None]]], Callable[[], None]]:
    """The test gets a network of so many nodes, and runs in virtual time."""

    def decorate(test: Callable[[SimulatedNodes], Awaitable[None]]) -> Callable[[], None]:
        async def main() -> None:
            async with open_simulated_network(count, **{**QUIET, **LIVES, **options}) as net:
                await test(net)

        def run() -> None:
            run_simulated(main)

        run.__name__, run.__doc__ = test.__name__, test.__doc__
        return run

    return decorate


async def holders(net: SimulatedNodes) -> set[KademliaService]:
    """Who has a copy of the record."""
    return {node for node in net.nodes if await node.local_value(KEY) is not None}


async def findable(node: KademliaService) -> bool:
    try:
        return await node.get_value(KEY) == b"value"
    except NotFound:
        return False


async def provided(node: KademliaService) -> bool:
    return bool(await node.find_providers(CONTENT, count=1))


def failures(told: Sequence[Republished | RepublishFailed]) -> list[type[P2pkadError]]:
    """Of what kinds the errors were."""
    return [type(event.error) for event in told if isinstance(event, RepublishFailed)]


async def overtaken(net: SimulatedNodes) -> tuple[KademliaService, KademliaService]:
    """A node that publishes a record and was away while another put a better one, and that other node."""
    early, late = net.nodes[:2]
    await early.put_value(KEY, b"1")
    await net.crash(early)
    await late.put_value(KEY, b"2")
    return await net.restart(early), late


def watched(node: KademliaService) -> list[Republished | RepublishFailed]:
    """What the node tells of its republishing, from now on."""
    told: list[Republished | RepublishFailed] = []

    def listen(event: NodeEvent) -> None:
        assert isinstance(event, Republished | RepublishFailed)
        told.append(event)

    node.subscribe(listen, Republished | RepublishFailed)
    return told


# A record


@pytest.mark.scenario("V12")
@simulated(40, k=5)
async def test_a_record_outlives_all_of_its_first_holders_while_its_publisher_lives(net: SimulatedNodes) -> None:
    publisher = net.nodes[0]
    await publisher.put_value(KEY, b"value")
    for holder in await holders(net) - {publisher}:
        await net.crash(holder)
    await trio.sleep(INTERVAL + 10)
    assert len(await holders(net) - {publisher}) >= 5
    await trio.sleep(10 * LIFETIME)
    assert await findable(net.nodes[-1])


@pytest.mark.scenario("V12")
@simulated(30, k=5)
async def test_a_record_without_its_publisher_is_gone_everywhere_after_its_lifetime_read_as_it_may_be(
    net: SimulatedNodes,
) -> None:
    publisher = net.nodes[0]
    await publisher.put_value(KEY, b"value")
    await trio.sleep(2 * INTERVAL)
    await net.stop(publisher)
    for turn in range(21):
        # Holders die away, and readers bring the record to those who come after them.
        if turn % 2 and turn < 18:
            await net.crash(min(await holders(net), key=lambda node: node.id))
        assert turn > 11 or (await findable(net.nodes[-1]) and len(await holders(net)) >= 4)
        await findable(net.nodes[turn % 3])
        await trio.sleep(LIFETIME / 20)
    assert not await holders(net)
    assert not await findable(net.nodes[-1])


@pytest.mark.scenario("V12", "P4")
@simulated(30)
async def test_what_a_node_publishes_is_published_again_after_a_restart_in_its_time(net: SimulatedNodes) -> None:
    publisher = net.nodes[0]
    await publisher.put_value(KEY, b"value")
    await publisher.provide(CONTENT)
    await trio.sleep(INTERVAL / 2)
    await net.crash(publisher)
    again = await net.restart(publisher)
    told = watched(again)
    await trio.sleep(INTERVAL / 5)
    assert told == [], "it is not time yet"
    await trio.sleep(INTERVAL / 2)
    assert {event.kind for event in told if isinstance(event, Republished)} == {"record", "provider"}
    await trio.sleep(3 * LIFETIME)
    assert await findable(net.nodes[-1])
    assert await provided(net.nodes[-1])


@pytest.mark.scenario("V12", "P4")
@simulated(30)
async def test_after_an_absence_of_more_than_a_lifetime_it_is_published_at_once(net: SimulatedNodes) -> None:
    publisher = net.nodes[0]
    await publisher.put_value(KEY, b"value")
    await publisher.provide(CONTENT)
    await net.crash(publisher)
    await trio.sleep(2 * LIFETIME)
    assert not await findable(net.nodes[-1])
    assert not await provided(net.nodes[-1])
    await net.restart(publisher)
    await trio.sleep(30)
    assert await findable(net.nodes[-1])
    assert await provided(net.nodes[-1])


@pytest.mark.scenario("V12")
@simulated(30)
async def test_a_record_that_was_withdrawn_is_gone_and_stays_so_after_a_restart(net: SimulatedNodes) -> None:
    publisher = net.nodes[0]
    await publisher.put_value(KEY, b"value")
    assert await publisher.stop_publishing(KEY)
    assert await publisher.local_value(KEY) is None
    await net.crash(publisher)
    again = await net.restart(publisher)
    assert not await again.stop_publishing(KEY)
    await trio.sleep(LIFETIME)
    assert not await holders(net)


@pytest.mark.scenario("V12", "P4")
@simulated(30)
async def test_what_is_withdrawn_while_it_is_looked_up_is_not_published_again(net: SimulatedNodes) -> None:
    publisher = net.nodes[0]
    await publisher.put_value(KEY, b"value")
    await publisher.provide(CONTENT)
    withdrawn: list[bytes] = []
    told = watched(publisher)
    async with trio.open_nursery() as nursery:

        def withdraw(event: LookupStarted) -> None:
            if event.key in (KEY, CONTENT):
                withdrawn.append(event.key)
                nursery.start_soon(publisher.stop_publishing if event.key == KEY else publisher.stop_providing, event.key)

        publisher.subscribe(withdraw, LookupStarted)
        await trio.sleep(INTERVAL + 10)
    assert sorted(withdrawn) == sorted([KEY, CONTENT])
    assert told == []
    await trio.sleep(LIFETIME - INTERVAL)
    assert not await holders(net)


@pytest.mark.scenario("V4", "V12")
@simulated(30, k=5)
async def test_a_better_record_of_somebody_else_ends_the_publishing_of_the_own_one(net: SimulatedNodes) -> None:
    again, late = await overtaken(net)
    told = watched(again)
    await trio.sleep(INTERVAL + 10)
    (event,) = told
    assert isinstance(event, RepublishFailed)
    assert isinstance(event.error, StaleRecord)
    assert {await node.local_value(KEY) for node in net.nodes} == {None, b"2"}
    assert again.stats().published == 0
    await net.stop(late)
    await trio.sleep(LIFETIME + 10)
    assert not await holders(net), "who never published the better one does not keep it alive"


@pytest.mark.scenario("V4", "V12")
@pytest.mark.parametrize("how", ["put", "read"])
def test_who_hears_of_a_better_record_meanwhile_says_that_it_publishes_its_own_no_more(how: str) -> None:
    async def main() -> None:
        async with open_simulated_network(2 if how == "put" else 30, **{**QUIET, **LIVES}, k=5) as net:
            if how == "put":
                early, late = net.nodes
                await early.put_value(KEY, b"1")
                told = watched(early)
                await late.put_value(KEY, b"2")
            else:
                early, _ = await overtaken(net)
                told = watched(early)
                assert await early.get_value(KEY) == b"2"
            await trio.sleep(10)
            (event,) = told
            assert isinstance(event, RepublishFailed)
            assert isinstance(event.error, StaleRecord)
            assert (early.stats().published, await early.local_value(KEY)) == (0, b"2")

    run_simulated(main)


@pytest.mark.scenario("V4", "H5")
@pytest.mark.parametrize("trouble", ["no room for one that is larger", "the disk hangs"])
def test_who_cannot_keep_the_better_record_gives_its_own_one_up_all_the_same(trouble: str) -> None:
    async def main() -> None:
        async with open_simulated_network(30, **{**QUIET, **LIVES}, k=5) as net:
            again, _ = await overtaken(net)
            told = watched(again)
            update = again._store.update

            async def fail(key: bytes, decide: Decide) -> StoredRecord | None:
                if trouble == "the disk hangs":
                    await update(key, decide)
                    raise StoreFailed("the disk has not answered", in_use=True)
                chosen = decide(await again._store.get(key, net.wall()))
                if chosen is not None:
                    raise StoreFull("all that is here is nearer")
                return await update(key, decide)

            again._store.update = fail  # type: ignore[method-assign]
            await trio.sleep(INTERVAL + 10)
            assert failures(told) == [StaleRecord]
            assert again.stats().published == 0

    run_simulated(main)


@pytest.mark.scenario("V12", "H5")
@simulated(30, k=5)
async def test_what_a_full_disk_does_not_replace_is_published_on_and_nothing_else_is_said(net: SimulatedNodes) -> None:
    again, _ = await overtaken(net)
    told = watched(again)
    update = again._store.update

    async def full(key: bytes, decide: Decide) -> StoredRecord | None:
        decide(await again._store.get(key, net.wall()))
        raise StoreFull("the disk is full")

    again._store.update = full  # type: ignore[method-assign]
    await trio.sleep(INTERVAL + 10)
    assert set(failures(told)) == {StoreFull}
    assert again.stats().published == 1
    again._store.update = update  # type: ignore[method-assign]
    told.clear()
    await trio.sleep(INTERVAL)
    assert failures(told) == [StaleRecord]
    assert again.stats().published == 0


@pytest.mark.scenario("V4", "H5")
@simulated(2)
async def test_who_is_cancelled_while_a_better_record_is_stored_says_that_it_publishes_its_own_no_more(
    net: SimulatedNodes,
) -> None:
    early, late = net.nodes
    await early.put_value(KEY, b"1")
    told = watched(early)
    update = early._store.update

    async def slow(key: bytes, decide: Decide) -> StoredRecord | None:
        await update(key, decide)
        await trio.sleep_forever()

    early._store.update = slow  # type: ignore[method-assign]
    receipt = await late.put_value(KEY, b"2", timeout=3)
    assert receipt.unreachable == (early.id,)
    await trio.sleep(60)
    assert failures(told) == [StaleRecord]


@pytest.mark.scenario("V4")
def test_who_comes_after_the_end_of_a_value_takes_nothing_from_its_publisher() -> None:
    async def main() -> None:
        options = {**QUIET, **LIVES, "validators": {"v": Mortal()}, "expire_interval": 1e6}
        async with open_simulated_network(2, **options) as net:
            early, late = net.nodes
            told = watched(early)
            await early.put_value(KEY, b"%d" % (net.wall() + 100))
            await trio.sleep(150)
            value = b"%d" % (net.wall() + 100)
            await late.put_value(KEY, value)
            assert await early.local_value(KEY) == value
            assert told == []

    run_simulated(main)


@pytest.mark.scenario("V3", "V4")
@simulated(30, k=5)
async def test_of_versions_that_are_put_at_once_every_reader_gets_the_best(net: SimulatedNodes) -> None:
    async with trio.open_nursery() as nursery:
        for number, writer in enumerate(net.nodes[:8]):
            nursery.start_soon(writer.put_value, KEY, b"version %d" % number)
    assert {await node.get_value(KEY) for node in net.nodes} == {b"version 7"}
    await trio.sleep(5)
    assert {await node.local_value(KEY) for node in net.nodes} <= {None, b"version 7"}


@pytest.mark.scenario("V12", "V2")
def test_what_its_validator_refuses_by_now_is_not_sent_and_not_forgotten() -> None:
    validator = Fickle()

    async def main() -> None:
        async with open_simulated_network(10, **{**QUIET, **LIVES, "validators": {"v": validator}}) as net:
            publisher = net.nodes[0]
            told = watched(publisher)
            await publisher.put_value(KEY, b"value")
            validator.trusts = False
            await trio.sleep(LIFETIME + INTERVAL)
            assert told
            assert all(isinstance(event, RepublishFailed) and isinstance(event.error, InvalidRecord) for event in told)
            validator.trusts = True
            await trio.sleep(INTERVAL)
            assert await findable(net.nodes[-1])

    run_simulated(main)


class Mortal(OpaqueValidator):
    """A value is the wall time at which it dies."""

    def expires(self, key: bytes, value: bytes) -> float | None:
        return float(value)


@pytest.mark.scenario("V8", "V12", "V14")
def test_a_value_that_says_when_it_dies_is_not_republished_beyond() -> None:
    async def main() -> None:
        async with open_simulated_network(10, **{**QUIET, **LIVES, "validators": {"v": Mortal()}}) as net:
            publisher = net.nodes[0]
            told = watched(publisher)
            await publisher.put_value(KEY, b"%d" % (net.wall() + 2 * INTERVAL))
            await trio.sleep(1.9 * INTERVAL)
            assert len(await holders(net)) == 10
            await trio.sleep(0.2 * INTERVAL)
            assert not await holders(net)
            await trio.sleep(2 * LIFETIME)
            assert not await holders(net)
            assert len(told) in (1, 2)
            assert publisher.stats().published == 0

    run_simulated(main)


@pytest.mark.long
@pytest.mark.scenario("V14")
@simulated(30, latency=(0.05, 0.3))
async def test_readers_do_not_keep_a_record_alive_beyond_its_ttl(net: SimulatedNodes) -> None:
    async def knows_nobody(request: Request) -> FindNodeReply:
        return FindNodeReply(())

    rust = await net.start_peer(knows_nobody)
    brief = PutValue(KEY, Record(KEY, b"value", publisher=bytes(rust.id), ttl=20))
    for peer in await net.nodes[0].closest_peers(KEY):
        await rust.request(peer, brief, trio.current_time() + 5)

    ends = trio.current_time() + 20

    async def reads(node: KademliaService) -> None:
        while trio.current_time() < ends + 5:
            await findable(node)
            await trio.sleep(0.3)

    async with trio.open_nursery() as readers:
        for node in net.nodes[:6]:
            readers.start_soon(reads, node)
    assert not await holders(net)


@pytest.mark.scenario("V13")
@simulated(1, allow_zero_peers=True)
async def test_what_was_put_while_nobody_was_there_is_published_when_somebody_comes(net: SimulatedNodes) -> None:
    (alone,) = net.nodes
    assert (await alone.put_value(KEY, b"value")).stored == (alone.id,)
    await trio.sleep(10 * LIFETIME)
    await net.start()
    await trio.sleep(INTERVAL)
    assert await holders(net) == set(net.nodes)


@pytest.mark.scenario("V13")
@simulated(1, allow_zero_peers=True)
async def test_what_was_put_and_provided_while_nobody_was_there_goes_out_as_soon_as_somebody_is(net: SimulatedNodes) -> None:
    (alone,) = net.nodes
    await alone.put_value(KEY, b"value")
    await alone.provide(CONTENT)
    await trio.sleep(5)
    newcomer = await net.start()
    await trio.sleep(5)
    assert await holders(net) == {alone, newcomer}
    assert [info.id for info in await newcomer.local_providers(CONTENT)] == [alone.id]


# What is provided


@pytest.mark.long
@pytest.mark.scenario("P4")
@simulated(40, k=5)
async def test_what_is_provided_is_announced_again_before_it_is_forgotten(net: SimulatedNodes) -> None:
    provider = net.nodes[0]
    receipt = await provider.provide(CONTENT)
    for node in [node for node in net.nodes if node.id in receipt.sent]:
        await net.crash(node)
    await trio.sleep(INTERVAL + 10)
    assert await provided(net.nodes[-1])
    for _ in range(20):
        await trio.sleep(LIFETIME / 2)
        assert await provided(net.nodes[-1])


@pytest.mark.scenario("P4")
@simulated(30)
async def test_stop_providing_ends_that_and_survives_a_restart(net: SimulatedNodes) -> None:
    provider = net.nodes[0]
    await provider.provide(CONTENT)
    assert await provider.stop_providing(CONTENT)
    await net.crash(provider)
    again = await net.restart(provider)
    told = watched(again)
    await trio.sleep(LIFETIME + 10)
    assert not await provided(net.nodes[-1])
    assert told == []
    assert not await again.stop_providing(CONTENT)


@pytest.mark.scenario("P4")
def test_records_and_providers_have_an_interval_each() -> None:
    async def main() -> None:
        slow = {"republish_interval": 900.0, "reprovide_interval": 90.0}
        async with open_simulated_network(5, **{**QUIET, **LIVES, **slow}) as net:
            told = watched(net.nodes[0])
            await net.nodes[0].put_value(KEY, b"value")
            await net.nodes[0].provide(CONTENT)
            await trio.sleep(901)
            kinds = [event.kind for event in told if isinstance(event, Republished)]
            assert kinds.count("record") == 1
            assert 10 <= kinds.count("provider") <= 13

    run_simulated(main)


@pytest.mark.long
@pytest.mark.scenario("P4")
@simulated(10, k=3)
async def test_many_keys_go_out_spread_over_the_interval_and_a_backlog_at_a_measured_pace(net: SimulatedNodes) -> None:
    provider, keys = net.nodes[0], 200
    async with trio.open_nursery() as nursery:
        for number in range(keys):
            nursery.start_soon(provider.provide, b"\x12\x20" + sha256(b"%d" % number).digest())
    told = watched(provider)
    await trio.sleep(INTERVAL * 1.05)
    times = [event.at for event in told]
    assert keys <= len(times) < 1.5 * keys
    assert most_within(10, times) < keys / 4
    await net.crash(provider)
    await trio.sleep(2 * LIFETIME)
    again = await net.restart(provider)
    began, told = trio.current_time(), watched(again)
    await trio.sleep(INTERVAL)
    times = sorted(event.at - began for event in told)[:keys]
    assert INTERVAL / 8 < times[-1] < INTERVAL / 2
    assert most_within(10, times) < keys / 4


@pytest.mark.scenario("P9")
@simulated(10, k=3)
async def test_a_provider_that_comes_back_elsewhere_is_found_there_long_before_its_next_announcement(
    net: SimulatedNodes,
) -> None:
    provider = net.nodes[0]
    old = await announced(provider)
    await net.crash(provider)
    again = await net.restart_elsewhere(provider)
    told = watched(again)
    await trio.sleep(INTERVAL / 8)
    assert len(told) == 1
    (new,) = {address for found in await told_by_holders(net, again) for address in found}
    assert new not in old


@pytest.mark.scenario("P9")
@simulated(10, k=3)
async def test_a_provider_that_moves_while_it_runs_says_so(net: SimulatedNodes) -> None:
    provider = net.nodes[0]
    old = await announced(provider)
    told = watched(provider)
    net.move(provider)
    await trio.sleep(INTERVAL / 8)
    assert len(told) == 1
    (new,) = {address for found in await told_by_holders(net, provider) for address in found}
    assert new not in old


@pytest.mark.long
@pytest.mark.scenario("P9")
@simulated(10, k=3, reprovide_interval=DAY, provider_lifetime=4 * DAY)
async def test_what_was_announced_elsewhere_goes_out_at_the_pace_of_a_backlog(net: SimulatedNodes) -> None:
    provider, keys = net.nodes[0], 100
    async with trio.open_nursery() as nursery:
        for number in range(keys):
            nursery.start_soon(provider.provide, b"\x12\x20" + sha256(b"%d" % number).digest())
    told = watched(provider)
    net.move(provider)
    await trio.sleep(PAUSE)
    times = [event.at for event in told]
    assert len(times) == keys
    assert most_within(10, times) <= 12 * PACE
    await trio.sleep(2 * PAUSE)
    assert len(told) == keys, "what is announced where the node is stays as it is"


@pytest.mark.long
@pytest.mark.scenario("P9")
@simulated(10, k=3, reprovide_interval=DAY, provider_lifetime=4 * DAY)
async def test_a_provider_whose_address_comes_and_goes_is_quiet_most_of_the_time(net: SimulatedNodes) -> None:
    provider = net.nodes[0]
    await announced(provider)
    told = watched(provider)
    flaps = 120
    for _ in range(flaps):
        net.move(provider)
        await trio.sleep(30)
    assert 2 <= len(told) <= flaps * 30 / PAUSE + 1
    await trio.sleep(2 * PAUSE)
    (last,) = {address for found in await told_by_holders(net, provider) for address in found}
    assert provider.addresses == (f"{last}/p2p/{provider.id}",)


@pytest.mark.scenario("P9")
@simulated(10, k=3)
async def test_a_provider_that_comes_back_where_it_was_has_nothing_to_say(net: SimulatedNodes) -> None:
    provider = net.nodes[0]
    await announced(provider)
    await net.crash(provider)
    told = watched(await net.restart(provider))
    await trio.sleep(INTERVAL / 2)
    assert told == []


async def announced(provider: KademliaService) -> set[str]:
    """It provides CONTENT; the addresses that it has."""
    await provider.provide(CONTENT)
    return {address.partition("/p2p/")[0] for address in provider.addresses}


async def told_by_holders(net: SimulatedNodes, provider: KademliaService) -> list[set[str]]:
    """Where each of the others that holds a record of the provider has it, as it came."""
    others = [await node.local_providers(CONTENT) for node in net.nodes if node is not provider]
    return [{address.text for address in info.addresses} for found in others for info in found]


def most_within(seconds: float, times: list[float]) -> int:
    """How many of these times lie within so many seconds of each other, where there are most."""
    return max(sum(begin <= each < begin + seconds for each in times) for begin in times)
