from __future__ import annotations

import pytest

from p2pkad.errors import NotFound, PeerBusy, PeerUnreachable, RequestTimeout, key_text
from tests.support.worlds import peer_id


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (b"/v/name", "/v/name"),
        (b"/v/two words", "hex:2f762f74776f20776f726473"),
        (b"name", "hex:6e616d65"),
        (b"/v/" + b"a" * 97, "/v/" + "a" * 77 + "… (100 bytes)"),
        (b"\xff" * 100, "hex:" + "ff" * 80 + "… (100 bytes)"),
    ],
)
def test_keys_are_shown_as_people_type_them(key: bytes, text: str) -> None:
    assert key_text(key) == text


def test_an_error_names_the_thing_and_the_numbers() -> None:
    peer = peer_id(1)
    assert str(PeerUnreachable(peer)) == f"{peer}: unreachable (no usable address)"
    assert str(PeerUnreachable(peer, [("/ip4/1.2.3.4", "refused"), ("/ip4/1.2.3.5", "silent")])) == (
        f"{peer}: unreachable (/ip4/1.2.3.4: refused; /ip4/1.2.3.5: silent)"
    )
    assert str(PeerBusy(peer, [("/ip4/1.2.3.4", "it hung up"), ("", "lost")])) == (
        f"{peer}: has no room for this node (/ip4/1.2.3.4: it hung up; lost)"
    )
    assert "within 0 s" in str(RequestTimeout(peer, "FindNode", -4e-5))
    assert str(RequestTimeout(peer, "FindNode", 2.0)) == f"{peer}: no answer to FindNode within 2 s"
    assert str(NotFound("/v/k", asked=3, answered=2)) == "/v/k: not found (3 asked, 2 answered)"


@pytest.mark.scenario("L12")
def test_what_a_lookup_that_did_not_come_to_its_end_missed_is_not_called_absent() -> None:
    cut_short = NotFound("/v/k", asked=3, answered=2, complete=False)
    assert str(cut_short) == "/v/k: not found in time, and may be there (3 asked, 2 answered)"
    assert str(NotFound("/v/k", asked=1, answered=0, complete=False)) == "/v/k: nobody answered (1 asked, 0 answered)"
