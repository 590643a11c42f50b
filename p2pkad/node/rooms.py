"""The rooms of `node/` on one network: each is made once, and handed those that it works with.

membership    everybody asks it who is known and what is thought of them
asking        one request; on it bootstrap, and on both querying, the lookups
limits        what peers may take of the node, and what it does at a time: responding, asking and querying keep to them
hearing       what the network tells, handed to whom it concerns
cycle         what is the node's own and when it is due: publishing puts it there, republishing takes it out
superseding   says when an own record has to give way to somebody else's: publishing and responding put those into the store
maintenance   runs the chores: bootstrap, refreshing, lookout, moving, republishing, sweeping, remembering
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from p2pkad.config import KademliaConfig
from p2pkad.core.keyspace import SHA256
from p2pkad.core.peers import PeerId, PeerInfo
from p2pkad.events import LookupEnded, PeerAdmitted, PeerEvicted, PeerReturned
from p2pkad.net.base import Network
from p2pkad.node.asking import Asking
from p2pkad.node.bootstrap import Bootstrap
from p2pkad.node.clock import Clock
from p2pkad.node.cycle import Cycle
from p2pkad.node.finding import Finding
from p2pkad.node.hearing import Hearing
from p2pkad.node.limits import Limits
from p2pkad.node.lookout import Lookout
from p2pkad.node.maintenance import Chore, Maintenance
from p2pkad.node.meeting import Meeting
from p2pkad.node.membership import Membership
from p2pkad.node.moving import Moving
from p2pkad.node.publishing import Publishing
from p2pkad.node.querying import Querying
from p2pkad.node.refreshing import Refreshing
from p2pkad.node.remembering import Remembering
from p2pkad.node.republishing import Republishing
from p2pkad.node.responding import Responding
from p2pkad.node.superseding import Superseding
from p2pkad.node.sweeping import Sweeping
from p2pkad.node.telling import Telling
from p2pkad.store.base import Store
from p2pkad.store.memory import MemoryStore
from p2pkad.validators.base import Validators
from p2pkad.validators.public_key import PublicKeyValidator


@dataclass(frozen=True, slots=True)
class Rooms:
    """Those that a service itself turns to. The others are known to these."""

    membership: Membership
    bootstrap: Bootstrap
    querying: Querying
    publishing: Publishing
    finding: Finding
    responding: Responding
    refreshing: Refreshing
    remembering: Remembering
    maintenance: Maintenance
    hearing: Hearing
    meeting: Meeting


def store_of(own: PeerId, config: KademliaConfig) -> Store:
    """The store of a node that was given none: in memory, within the bounds of its configuration."""
    return MemoryStore(SHA256.key(own), config.store_bounds)


def put_together(
    network: Network,
    store: Store,
    config: KademliaConfig,
    clock: Clock,
    dice: Random,
    tell: Telling,
    bootstrap_peers: Sequence[PeerInfo],
    spawn: Callable[..., None],
    end: Callable[[], None],
) -> Rooms:
    """The rooms, none of which does anything yet. spawn: starts a task that lives as long as the service at most. end: ends
    the service, whose host or store is no more.
    """
    validators = Validators({"pk": PublicKeyValidator(), **config.validators}, config.default_validator)
    membership = Membership(network.id, config, clock, tell)
    limits = Limits(config, clock, tell)
    asking = Asking(network, membership, validators, limits, config, clock, dice, tell)
    bootstrap = Bootstrap(asking, membership, bootstrap_peers, config, clock, dice, tell, spawn)
    querying = Querying(asking, membership, bootstrap, limits, config, clock, tell)
    cycle = Cycle(store, config, clock, dice, membership.changed.unpark_all)
    superseding = Superseding(store, clock, tell)
    publishing = Publishing(
        network, membership, asking, querying, store, validators, config, clock, cycle, superseding, spawn, tell
    )
    finding = Finding(network, membership, querying, publishing, store, validators, config, clock)
    responding = Responding(network, membership, superseding, store, validators, limits, config, clock, dice, tell)
    refreshing = Refreshing(membership, querying, config, clock, dice, spawn)
    tell.subscribe(refreshing.on_event, LookupEnded | PeerAdmitted | PeerReturned)
    lookout = Lookout(membership, clock, dice)
    moving = Moving(network, membership, cycle, clock)
    sweeping = Sweeping(membership, store, config.expire_interval, clock, dice)
    republishing = Republishing(membership, publishing, cycle, clock, tell)
    remembering = Remembering(membership, store, clock)
    tell.subscribe(remembering.on_event, PeerAdmitted | PeerEvicted)
    chores: list[Chore] = [bootstrap, refreshing, lookout, moving, republishing, sweeping, remembering]
    maintenance = Maintenance(membership, asking, chores, config, clock, end)
    meeting = Meeting(network, membership, asking, clock)
    hearing = Hearing(membership, meeting, refreshing, moving, limits, bootstrap_peers, clock, tell, end)
    return Rooms(
        membership, bootstrap, querying, publishing, finding, responding, refreshing, remembering, maintenance, hearing, meeting
    )
