"""Which addresses may pass between two peers: one rule, for telling and for believing.

A peer on a loopback connection may hear everything, one on a private network private and public addresses, one on the
internet public ones; what a peer says is believed within the same limits. So a demo on one machine, a network at home and
the internet all work without a switch, private addresses stay private, and nobody far away can send us into our own
network. kad-dht r2 leaves this to the implementation; go asks for two networks instead, a WAN and a LAN one.

A name passes as what its last label says, which is public as a rule. Where it leads is seen when it is dialled: no nearer than
an address that the same peer may tell (`Address.down_to`).
"""

from __future__ import annotations

from dataclasses import replace

from p2pkad.config import ScopeRule
from p2pkad.core.peers import Address, Scope

# The narrowest scope that passes. auto has none of its own.
_NARROWEST = {"all": Scope.LOOPBACK, "lan": Scope.PRIVATE, "wan": Scope.PUBLIC}


def connection_scope(remote: Address | None) -> Scope:
    """How far away the other end of a connection is. What is unknown is as far as can be."""
    return Scope.PUBLIC if remote is None else remote.scope


def addresses_for(addresses: tuple[Address, ...], rule: ScopeRule, scope: Scope) -> tuple[Address, ...]:
    """Of `addresses` those that a peer at this scope may tell us, or be told; the same tuple when that is all of them.

    rule: see `KademliaConfig.scope`. scope: that of the connection, from `connection_scope`.
    """
    return passing(addresses, narrowest_for(rule, scope))


def narrowest_for(rule: ScopeRule, scope: Scope) -> Scope:
    """The narrowest scope that passes; for `passing`, where it is asked for many."""
    return _NARROWEST.get(rule, scope)


def passing(addresses: tuple[Address, ...], narrowest: Scope) -> tuple[Address, ...]:
    """Of `addresses` those that pass, as `addresses_for`."""
    for address in addresses:
        if address.scope < narrowest or narrowest < address.down_to:
            return tuple(_leading(each, narrowest) for each in addresses if each.scope >= narrowest)
    return addresses


def recalled(addresses: tuple[Address, ...], rule: ScopeRule) -> tuple[Address, ...]:
    """Addresses that were believed in an earlier life. Who told them is forgotten: names lead where anybody's may."""
    return tuple(_leading(each, _NARROWEST.get(rule, Scope.PUBLIC)) for each in addresses)


def _leading(address: Address, narrowest: Scope) -> Address:
    return replace(address, down_to=narrowest) if narrowest < address.down_to else address
