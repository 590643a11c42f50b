"""Which addresses pass between two peers."""

from __future__ import annotations

import pytest

from p2pkad.config import ScopeRule
from p2pkad.core.peers import Address, Scope
from p2pkad.core.scope import addresses_for, connection_scope

LOOPBACK, PRIVATE, PUBLIC = (Address(bytes([scope]), scope.name.lower(), scope) for scope in Scope)


@pytest.mark.parametrize(
    ("rule", "scope", "passing"),
    [
        ("auto", Scope.LOOPBACK, (PUBLIC, LOOPBACK, PRIVATE)),
        ("auto", Scope.PRIVATE, (PUBLIC, PRIVATE)),
        ("auto", Scope.PUBLIC, (PUBLIC,)),
        ("wan", Scope.LOOPBACK, (PUBLIC,)),
        ("lan", Scope.PUBLIC, (PUBLIC, PRIVATE)),
        ("lan", Scope.LOOPBACK, (PUBLIC, PRIVATE)),
        ("all", Scope.PUBLIC, (PUBLIC, LOOPBACK, PRIVATE)),
    ],
)
def test_an_address_passes_to_and_from_whom_it_is_as_wide_as(
    rule: ScopeRule, scope: Scope, passing: tuple[Address, ...]
) -> None:
    assert addresses_for((PUBLIC, LOOPBACK, PRIVATE), rule, scope) == passing


def test_nothing_is_copied_where_everything_passes() -> None:
    addresses = (PUBLIC, PRIVATE)
    assert addresses_for(addresses, "auto", Scope.PRIVATE) is addresses


def test_a_connection_from_an_unknown_place_is_far_away() -> None:
    assert connection_scope(None) is Scope.PUBLIC
    assert connection_scope(LOOPBACK) is Scope.LOOPBACK
