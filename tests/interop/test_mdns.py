"""p2pkad and a real go peer that know nothing of each other, on a local network that the test makes."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from driver import Language

from tests.support.child import Returned, run_in_child

pytestmark = pytest.mark.foreign

NEW_NETWORK = 0x40000000
"""CLONE_NEWNET, unshare(2): network interfaces of this process alone."""
LAN = "10.77.0.1"
PATIENCE = 30.0


def make_lan() -> None:
    """From now on this process has a network of its own, which ends with it. Before any thread begins.

    It is the loopback, since not every kernel has other devices to make: go speaks mDNS where multicast is said to work.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NEW_NETWORK):
        raise OSError(ctypes.get_errno(), "unshare")
    for command in (
        "ip link set lo up multicast on",
        f"ip address add {LAN}/24 dev lo",
        "ip route add 224.0.0.0/4 dev lo",
    ):
        subprocess.run(command.split(), check=True, capture_output=True)


async def meet(command: tuple[str, ...], logs: str) -> tuple[bool, bool, bool]:
    """Whether a host heard of a go peer, whether a node on it finds that peer, and the peer the node."""
    make_lan()
    import p2pkad
    from p2pkad.net.base import Found, NetworkEvent

    sys.path.insert(0, str(Path(__file__).parents[2] / "interop"))
    from driver import Language, eventually, open_driver

    listen, protocol = f"/ip4/{LAN}/tcp/0", "/violence/kad/1.0.0"
    host = p2pkad.new_host(p2pkad.HostConfig(listen=(listen,), mdns=True))
    async with open_driver(Path(logs)) as driver:
        go = await driver.start("go", Language(command), listen=listen, mdns=True)
        async with host.run(), p2pkad.KademliaService(host, p2pkad.KademliaConfig(protocol=protocol)) as node:

            async def table() -> set[str]:
                return {entry["id"] for entry in (await go.ask("routing_table"))["peers"]}

            async def found() -> set[str]:
                # A network that is new is told who was found before.
                async with host.open_network(protocol="/test/listens/1.0.0", max_message=1024) as network:
                    told: list[NetworkEvent] = []
                    network.subscribe(told.append)
                    return {str(event.info.id) for event in told if isinstance(event, Found)}

            heard = await eventually(found, {go.id}.__eq__, within=PATIENCE, what="we hear of go")
            await node.wait_ready(peers=1, timeout=PATIENCE)
            known = await eventually(table, {str(node.id)}.__eq__, within=PATIENCE, what="go has us in its table")
            asked = [str(info.id) for info in await node.closest_peers(b"key")]
            return heard == {go.id}, asked == [go.id], known == {str(node.id)}


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT RUN: making a network takes the rights of root")
def test_a_go_peer_and_a_node_find_each_other(language_of: Callable[[str], Language], tmp_path: Path) -> None:
    assert run_in_child(meet, language_of("go").command, str(tmp_path), seconds=3 * PATIENCE) == Returned((True, True, True))
