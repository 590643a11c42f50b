"""Which error ends a command with which code."""

from __future__ import annotations

import pytest

import p2pkad
from p2pkad.cli import exits
from tests.cli.conftest import ALICE, PEER


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (p2pkad.NotFound("/pk/x", asked=3, answered=3), exits.NOT_FOUND),
        (p2pkad.NotFound("/pk/x", asked=3, answered=1, complete=False), exits.TIMED_OUT),
        (p2pkad.RequestTimeout(ALICE, "FIND_NODE", 10), exits.TIMED_OUT),
        (p2pkad.NotReady(0, 1, 30), exits.TIMED_OUT),
        (TimeoutError("no result within 60 s"), exits.TIMED_OUT),
        (p2pkad.InvalidRecord(b"/pk/x", "not a key"), exits.USAGE),
        (p2pkad.RecordTooLarge(b"/pk/x", 20_000, 16_384), exits.USAGE),
        (p2pkad.LocalProtocolError("neither CID nor multihash"), exits.USAGE),
        (p2pkad.ConfigError("a port is taken"), exits.USAGE),
        (p2pkad.QuorumNotMet("1 of 2 equal answers"), exits.FAILED),
        (p2pkad.StaleRecord(b"/pk/x", "a better one is stored"), exits.FAILED),
        (p2pkad.PeerUnreachable(ALICE, [("/ip4/127.0.0.1/tcp/1", "refused")]), exits.FAILED),
        (OSError(28, "No space left on device"), exits.FAILED),
    ],
)
def test_an_error_ends_the_command_with_its_sentence_and_its_code(type_in, node, error, code):
    node.answers["get_record"] = error
    ended = type_in("get", "/pk/x", "--bootstrap", PEER)
    assert ended.code == code
    assert ended.err.count("\n") == 1
    assert str(error) in ended.err
    assert node.closed


def test_an_error_is_found_inside_the_groups_that_nurseries_make():
    inner = ValueError("the one")
    group = BaseExceptionGroup("outer", [ExceptionGroup("inner", [inner, KeyError("another")])])
    assert exits.leaf(group) is inner
    assert exits.leaf(inner) is inner
