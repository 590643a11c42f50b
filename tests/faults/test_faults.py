"""What goes wrong on a plain py-libp2p host, one entry each: the situation, what such a host shows, what ours shows.

Our host is put into each situation here. A plain one with a service on it is put into those that the service masters there;
what it warns of stands under `left` at the others. And so is a plain one, the *stock twin*, in a process of its own, ten
seconds at most: as long as it shows what stands under `stock`, the workaround is needed, and the twin fails as expected (xfail,
strict). A plain host that shows anything else turns it red: one that has been mended with the sentence which workaround
may go, one that fails in another way with what it showed.

The numbers are names, used in commits and in the changelog. 11, 12, 14, 15, 16 and those above 28 are matters of
configuration; 20 is test_hostile_identify.py, where plain hosts do no worse than ours.
"""

from __future__ import annotations

import pytest
import trio

from p2pkad.events import HostFault
from tests.faults.attacks import connections, dialling, identity, lifecycle, streams
from tests.faults.faults import Fault, judge
from tests.faults.guest import open_guest
from tests.faults.ours import open_ours
from tests.faults.stock import open_stock
from tests.support.child import Raised, run_in_child

OURS_SECONDS = 30
"""An attack takes one or two; a host that takes so long has stopped."""
STOCK_SECONDS = 10.0

FAULTS = (
    Fault(
        number=1,
        attack=streams.token_that_is_not_text,
        stock=Raised(("UnicodeDecodeError",)),
        ours={"bystander_answered": True, "newcomer_answered": True},
        workaround="the guard around the swarm's stream handler (net/libp2p/guard.py)",
        marks=[pytest.mark.scenario("H1")],
    ),
    Fault(
        number=1,
        attack=streams.handler_that_raises,
        stock=Raised(("ZeroDivisionError",)),
        ours={"bystander_answered": True, "newcomer_answered": True},
        workaround="the guard around the swarm's stream handler (net/libp2p/guard.py)",
        marks=[pytest.mark.scenario("H1")],
    ),
    Fault(
        number=2,
        attack=dialling.connect_on_loopback,
        stock={"waits_for_nothing": True},
        ours={"waits_for_nothing": False},
        workaround="dialling each address ourselves (net/libp2p/dialer.py), as far as the head start is its reason",
        marks=[pytest.mark.scenario("H3")],
    ),
    Fault(
        number=3,
        attack=connections.come_and_go,
        stock={"answered": connections.FEW},
        ours={"answered": 3 * connections.FEW},
        left=HostFault.INBOUND_PLACES,
        workaround="giving the inbound slot back (net/libp2p/transport.py)",
        marks=[pytest.mark.scenario("H2")],
    ),
    Fault(
        number=4,
        attack=connections.more_peers_than_it_remembers,
        stock={"own_key": "PeerStoreError"},
        ours={"own_key": "there"},
        left=HostFault.OWN_KEY,
        workaround="keeping the host's own entry (net/libp2p/peerstore.py)",
        marks=[pytest.mark.scenario("H2")],
    ),
    Fault(
        number=5,
        attack=dialling.two_dead_addresses_and_a_good_one,
        stock={"connected": False},
        ours={"connected": True},
        workaround="dialling each address ourselves (net/libp2p/dialer.py), as far as the number of addresses is its reason",
        marks=[pytest.mark.scenario("H3")],
    ),
    Fault(
        number=5,
        attack=dialling.failed_a_moment_ago,
        stock={"connected": False},
        ours={"connected": True},
        workaround="dialling each address ourselves (net/libp2p/dialer.py), as far as the minute's refusal is its reason",
        marks=[pytest.mark.scenario("H3")],
    ),
    Fault(
        number=6,
        attack=dialling.silent_listener,
        stock={"gave_up": False},
        ours={"gave_up": True},
        workaround="the deadline of each dial (net/libp2p/dialer.py)",
        marks=[pytest.mark.scenario("H3")],
    ),
    Fault(
        number=7,
        attack=dialling.peers_it_only_heard_of,
        stock={"dials_uninvited": True},
        ours={"dials_uninvited": False},
        left=HostFault.UNINVITED_DIALS,
        workaround="stopping the auto-connector (net/libp2p/host.py)",
    ),
    Fault(
        number=8,
        attack=identity.says_what_it_speaks,
        stock={"written_down": True, "told": False},
        ours={"told": True},
        workaround="our own identify exchange as the source of Identified (net/libp2p/identify.py)",
    ),
    Fault(
        number=8,
        attack=identity.begins_to_serve,
        stock={"peer_told": False},
        ours={"peer_told": True},
        workaround="the push in set_server (net/libp2p/network.py)",
        marks=[pytest.mark.scenario("M2")],
    ),
    Fault(
        number=9,
        attack=identity.listens_everywhere,
        stock={"nowhere": True},
        ours={"nowhere": False, "somewhere": True},
        left=HostFault.WILDCARDS,
        workaround="expanding wildcard addresses (net/libp2p/listening.py)",
    ),
    Fault(
        number=10,
        attack=streams.reset_while_the_host_reads,
        stock={"learnt": "StreamEOF", "forgotten": False},
        ours={"forgotten": True},
        workaround="forgetting a stream that the peer has reset (net/libp2p/guard.py)",
    ),
    Fault(
        number=10,
        attack=streams.half_closed_and_forgotten,
        stock={"forgotten": False},
        ours={"forgotten": True},
        workaround="resetting streams whose handler is done (net/libp2p/guard.py)",
    ),
    Fault(
        number=13,
        attack=dialling.only_through_a_relay,
        stock={"connected": False, "circuits_dialled": 0},
        ours={"connected": False, "relay_dialled_as_the_peer": False},
        mended={"circuits_dialled": 1},
        workaround="leaving circuit addresses out of a dial (net/libp2p/dialer.py)",
    ),
    Fault(
        number=17,
        attack=identity.comes_back_as_a_server,
        stock={"order": "connected-disconnected-connected", "known_as_server": False},
        ours={"known_as_server": True},
        workaround="identify on every connection (net/libp2p/identify.py)",
        marks=[pytest.mark.scenario("H11")],
    ),
    Fault(
        number=18,
        attack=connections.dial_when_full,
        stock={"dialled": "SwarmDialAllFailedError"},
        ours={"dialled": "connected"},
        left=HostFault.FULL,
        workaround="the reserve for dialling (net/connections.py)",
    ),
    Fault(
        number=19,
        attack=connections.dial_each_other_at_once,
        stock={"connections": {(2, 2)}},
        ours={"answered": True},
        mended={"connections": {(1, 1)}},
        workaround="pools that outlive one of two connections (net/libp2p/streams.py)",
        marks=[pytest.mark.scenario("H12")],
    ),
    Fault(
        number=21,
        attack=lifecycle.port_of_a_stranger,
        stock={"started": True, "listens": 0},
        ours={"started": False, "names_the_port": True},
        mended={"started": False},
        left=HostFault.LISTENING,
        workaround="the probe of each port before listening (net/libp2p/listening.py)",
        marks=[pytest.mark.scenario("H7")],
    ),
    Fault(
        number=21,
        attack=lifecycle.port_of_another_host,
        stock={"started": True, "listens": 1},
        ours={"started": False, "names_the_port": True},
        mended={"started": False},
        left=HostFault.LISTENING,
        workaround="the probe of each port before listening (net/libp2p/listening.py)",
        marks=[pytest.mark.scenario("H7")],
    ),
    Fault(
        number=22,
        attack=lifecycle.left_by_cancellation,
        stock={"descriptors": 1},
        ours={"tasks": 0, "descriptors": 0},
        left=HostFault.CLOSING,
        workaround="the shielded close when run() is left (net/libp2p/host.py)",
        marks=[pytest.mark.scenario("H8")],
    ),
    Fault(
        number=22,
        attack=lifecycle.closed_with_connections,
        stock={"all_at_once": False},
        ours={"all_at_once": True},
        left=HostFault.CLOSING,
        workaround="closing all connections in one nursery (net/libp2p/backbone.py)",
    ),
    Fault(
        number=23,
        attack=dialling.hangs_up_on_each_dial,
        stock={"attempts": 4},
        ours={"attempts": 1},
        left=HostFault.REPEATED_DIALS,
        workaround="RetryConfig(max_retries=0) (net/libp2p/host.py)",
    ),
    Fault(
        number=23,
        attack=dialling.five_connects_at_once,
        stock={"connections": 5},
        ours={"connections": 1},
        workaround="sharing one dial among all who want the peer (net/libp2p/dialer.py)",
    ),
    Fault(
        number=24,
        attack=identity.comes_back_at_once_as_a_server,
        stock={"order": "connected-connected-disconnected", "known_as_server": False},
        ours={"known_as_server": True},
        workaround="identify on every connection (net/libp2p/identify.py)",
        marks=[pytest.mark.scenario("H11")],
    ),
    Fault(
        number=25,
        attack=connections.disconnect_while_another_is_made,
        stock={"here": 0, "there": 1},
        ours={"here": 0, "there": 0},
        workaround="closing connection by connection in disconnect (net/libp2p/backbone.py)",
    ),
    Fault(
        number=25,
        attack=dialling.push_to_one_that_left,
        stock={"dials": 1},
        ours={"dials": 0},
        workaround="opening streams on connections, never through the host (net/libp2p/identify.py, streams.py)",
    ),
    Fault(
        number=26,
        attack=streams.streams_used_and_dropped,
        stock={"kept": "all"},
        ours={"kept": "few"},
        workaround="closing the NetStream around each muxed stream (net/libp2p/pipe.py)",
    ),
    Fault(
        number=27,
        attack=identity.push_among_silent_peers,
        stock={"returned": False},
        ours={"returned": True, "told": True},
        workaround="our own push, a deadline for each peer (net/libp2p/identify.py)",
        marks=[pytest.mark.scenario("M2")],
    ),
    Fault(
        number=28,
        attack=streams.open_streams_outlive_the_server,
        stock={"server_answered": True, "client_answered": True},
        ours={"server_answered": True, "client_answered": False},
        workaround="resetting open inbound streams when a server turns client (net/libp2p/serving.py)",
        marks=[pytest.mark.scenario("M1")],
    ),
)


@pytest.mark.parametrize("fault", [fault.for_ours() for fault in FAULTS])
async def test_our_host_masters_it(fault: Fault) -> None:
    with trio.fail_after(OURS_SECONDS):
        seen = await fault.attack(open_ours)
    assert {name: seen.get(name) for name in fault.ours} == fault.ours


@pytest.mark.long
@pytest.mark.parametrize("fault", [fault.for_guest() for fault in FAULTS if fault.left is None])
async def test_a_service_masters_it_on_a_plain_host(fault: Fault) -> None:
    with trio.fail_after(OURS_SECONDS):
        seen = await fault.attack(open_guest)
    assert {name: seen.get(name) for name in fault.ours} == fault.ours


def test_what_a_service_leaves_open_on_a_plain_host_is_what_it_says() -> None:
    configured = {HostFault.PLAINTEXT, HostFault.SLOW_READS}
    assert {fault.left for fault in FAULTS if fault.left is not None} == set(HostFault) - configured


@pytest.mark.stock
@pytest.mark.parametrize("fault", [fault.for_stock() for fault in FAULTS])
def test_a_plain_host_still_shows_the_fault(fault: Fault) -> None:
    judge(fault, run_in_child(fault.attack, open_stock, seconds=STOCK_SECONDS))
