"""Which addresses pass between two peers."""

from __future__ import annotations

import pytest

from p2pkad.config import ScopeRule
from p2pkad.core.peers import Address, Scope
from p2pkad.core.scope import addresses_for, connection_scope, recalled

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


NAME = Address(b"name", "/dns4/example.org/tcp/1", Scope.PUBLIC, down_to=Scope.PUBLIC)
TYPED = Address(b"name", "/dns4/example.org/tcp/1", Scope.PUBLIC)


@pytest.mark.parametrize(
    ("rule", "scope", "down_to"),
    [
        ("auto", Scope.LOOPBACK, Scope.LOOPBACK),
        ("auto", Scope.PRIVATE, Scope.PRIVATE),
        ("auto", Scope.PUBLIC, Scope.PUBLIC),
        ("wan", Scope.LOOPBACK, Scope.PUBLIC),
        ("lan", Scope.PUBLIC, Scope.PRIVATE),
        ("all", Scope.PUBLIC, Scope.LOOPBACK),
    ],
)
def test_a_name_leads_no_nearer_than_an_address_that_its_teller_may_tell(rule: ScopeRule, scope: Scope, down_to: Scope) -> None:
    (passed,) = addresses_for((NAME,), rule, scope)
    assert (passed, passed.down_to) == (NAME, down_to)
    (typed,) = addresses_for((TYPED,), rule, scope)
    assert typed.down_to is Scope.LOOPBACK


@pytest.mark.parametrize(("rule", "down_to"), [("auto", Scope.PUBLIC), ("lan", Scope.PRIVATE), ("all", Scope.LOOPBACK)])
def test_a_name_of_an_earlier_life_leads_where_anybodys_may(rule: ScopeRule, down_to: Scope) -> None:
    home, name = recalled((PRIVATE, NAME), rule)
    assert (home, name.down_to) == (PRIVATE, down_to)


def test_a_connection_from_an_unknown_place_is_far_away() -> None:
    assert connection_scope(None) is Scope.PUBLIC
    assert connection_scope(LOOPBACK) is Scope.LOOPBACK
