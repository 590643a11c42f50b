"""A run with one seed is the same run, in every process."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
import trio
import trio._core._run as trio_run
import trio.testing

from p2pkad.errors import NotFound
from p2pkad.testing import open_simulated_network, run_simulated
from p2pkad.testing.runs import VirtualClock

ROOT = Path(__file__).parents[2]

LIFE = """
import sys
import trio
from p2pkad.errors import P2pkadError
from p2pkad.testing import open_simulated_network, run_simulated
from p2pkad.validators.opaque import OpaqueValidator

async def main(seed):
    options = {"validators": {"v": OpaqueValidator()}, "refresh_interval": 300.0}
    async with open_simulated_network(24, seed=seed, loss=0.02, **options) as net:
        async def use(node, number):
            try:
                await node.put_value(b"/v/%d" % number, b"value")
                await net.nodes[-number].get_value(b"/v/%d" % number)
            except P2pkadError as error:
                print(type(error).__name__, end=" ")
        async with trio.open_nursery() as nursery:
            for number, node in enumerate(net.nodes[:6], start=1):
                nursery.start_soon(use, node, number)
        crashed = net.nodes[3]
        await net.crash(crashed)
        net.partition(net.nodes[:12], net.nodes[12:])
        net.hang(net.nodes[5])
        await net.start()
        await trio.sleep(100)
        net.heal()
        await net.restart(crashed)
        await trio.sleep(250)
        print(net.messages, net.dials, net.trace.digest())

run_simulated(main, int(sys.argv[1]), seed=int(sys.argv[1]))
"""


def a_life(seed: int, hash_seed: int) -> str:
    """What a network with this seed has been through, told by a process of its own."""
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", LIFE, str(seed)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.mark.long
def test_processes_with_one_seed_have_one_trace_and_another_seed_has_another() -> None:
    one, same, other = a_life(1, hash_seed=1), a_life(1, hash_seed=2), a_life(2, hash_seed=1)
    assert one == same
    assert one != other
    assert int(one.split()[-3]) > 1000, "there was something to differ in"


@pytest.mark.parametrize("switch", ["_ALLOW_DETERMINISTIC_SCHEDULING", "_r"])
def test_a_trio_without_the_switches_is_not_relied_on(switch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(trio_run, switch)
    with pytest.raises(RuntimeError, match="has no switch for runs that repeat themselves"):
        run_simulated(trio.sleep, 1)


def test_the_switches_do_what_is_expected_of_them() -> None:
    async def order() -> list[int]:
        done: list[int] = []

        async def task(number: int) -> None:
            for _ in range(10):
                await trio.lowlevel.checkpoint()
            done.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(task, number)
        return done

    orders = [tuple(run_simulated(order, seed=seed)) for seed in (1, 1, 2, 3)]
    assert orders[0] == orders[1]
    assert len(set(orders)) == 3


def test_what_comes_after_a_run_is_by_chance_again() -> None:
    dice = trio_run._r
    assert isinstance(dice, Random)
    before = dice.getstate(), trio_run._ALLOW_DETERMINISTIC_SCHEDULING
    run_simulated(trio.sleep, 1)
    assert (dice.getstate(), trio_run._ALLOW_DETERMINISTIC_SCHEDULING) == before


async def _times() -> list[float]:
    """The times at which things happen that have nothing to do with a simulated network."""
    times = [trio.current_time()]
    await trio.sleep(5)
    times.append(trio.current_time())
    with trio.move_on_after(3):
        await trio.sleep(10)
    times.append(trio.current_time())
    await trio.testing.wait_all_tasks_blocked(0.001)
    times.append(trio.current_time())
    return times


def test_the_clock_keeps_the_time_of_trios_own() -> None:
    assert run_simulated(_times) == [0, 5, 8, 8]
    assert trio.run(_times, clock=VirtualClock()) == trio.run(_times, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.parametrize("clock", [VirtualClock, lambda: trio.testing.MockClock(autojump_threshold=0)])
def test_a_network_keeps_the_same_time_by_either_clock(clock: type[VirtualClock]) -> None:
    async def main() -> tuple[int, float]:
        async with open_simulated_network(20) as net:
            await net.nodes[0].closest_peers(b"key")
            return net.messages, trio.current_time()

    messages, seconds = trio.run(main, clock=clock())
    assert messages >= 19
    assert 0.1 < seconds < 3


async def test_a_network_runs_in_pytest_trio_with_its_jumping_clock(autojump_clock: trio.testing.MockClock) -> None:
    async with open_simulated_network(5, latency=0.2) as net:
        assert len(await net.nodes[0].closest_peers(b"key")) == 4
        assert trio.current_time() >= 1.6


def test_what_the_block_raises_comes_out_as_it_is() -> None:
    async def main() -> None:
        async with open_simulated_network(2) as net:
            await net.nodes[0].get_value(b"/pk/nobody")

    with pytest.raises(NotFound):
        run_simulated(main)


def test_what_stays_is_looked_through_less_often_while_it_runs_and_as_before_afterwards() -> None:
    before = gc.get_threshold()

    async def main() -> tuple[int, int, int]:
        return gc.get_threshold()

    young, *older = run_simulated(main)
    assert young > 10 * before[0]
    assert tuple(older) == before[1:]
    assert gc.get_threshold() == before
