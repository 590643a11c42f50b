"""Opened and closed two hundred times, with peers and without: nothing grows."""

from __future__ import annotations

import gc

import pytest
import trio

from p2pkad.config import HostConfig
from p2pkad.net.libp2p import ArmouredHost, new_host
from tests.faults.ours import open_ours
from tests.faults.subjects import LOOPBACK, Limits, stay_with
from tests.support.census import Census, Memory, census, memory
from tests.support.child import Returned, run_in_child

TIMES = 200
AT_ONCE = 10
"""Hosts that live at the same time: closing one takes a fifth of a second, most of it waiting."""
MIB = 1024 * 1024
LEEWAY = 8 * MIB
"""What 180 hosts may add to memory: fragments, caches. A host takes about 80 KiB while it lives, with a peer 200."""


async def open_and_close(with_peer: bool) -> tuple[Census, Memory, int]:
    """Growth between the first AT_ONCE hosts and the last: tasks and descriptors, bytes; and how many hosts still exist."""
    await live_a_while(with_peer)
    counted, held = census(), memory()
    for _ in range(TIMES // AT_ONCE - 1):
        await live_a_while(with_peer)
    gc.collect()
    hosts = sum(isinstance(thing, ArmouredHost) for thing in gc.get_objects())
    return census() - counted, memory() - held, hosts


async def live_a_while(with_peer: bool) -> None:
    """AT_ONCE hosts, each opened and closed."""
    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(live_once, with_peer)


async def live_once(with_peer: bool) -> None:
    """One host, closed while its peer is still connected."""
    async with trio.open_nursery() as outside:
        async with open_ours(Limits()) as ours:
            await ours.set_server(True)
            if with_peer:
                assert await outside.start(stay_with, ours) is not None
        outside.cancel_scope.cancel()


@pytest.mark.scenario("H8")
@pytest.mark.parametrize("with_peer", [False, pytest.param(True, marks=pytest.mark.long)], ids=["alone", "with_a_peer"])
def test_two_hundred_hosts_leave_no_task_no_descriptor_and_no_memory(with_peer: bool) -> None:
    outcome = run_in_child(open_and_close, with_peer, seconds=120)
    assert isinstance(outcome, Returned), outcome.log
    counted, held, hosts = outcome.value
    assert counted == Census(tasks=0, descriptors=0)
    assert hosts == 0
    assert held.resident < LEEWAY


@pytest.mark.scenario("H8")
async def test_closing_twice_is_closing_once() -> None:
    host = new_host(HostConfig(listen=(LOOPBACK,)))
    before = census()
    async with host.run():
        await host.close()
        await host.close()
    await host.close()
    assert census() - before == Census(tasks=0, descriptors=0)
