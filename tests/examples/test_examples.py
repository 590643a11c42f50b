"""What the programs in examples/ say that they do, between real processes."""

from __future__ import annotations

import re

import pytest

from tests.support.programs import ran, running
from tests.support.running import ROOT

pytestmark = pytest.mark.long

EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py"))
PEER_ID = r"12D3KooW\w{44}"
STAYS = "Ctrl-C ends it."


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_program_says_how_it_is_used(name: str) -> None:
    code, printed, complaints = ran(f"examples/{name}", "--help")
    assert (code, complaints) == (0, "")
    assert f"python examples/{name} " in printed


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_program_takes_public_names_only(name: str) -> None:
    imported = re.findall(r"^\s*(?:import|from) (p2pkad\S*)", (ROOT / "examples" / name).read_text(), re.MULTILINE)
    assert imported == ["p2pkad"]


def test_a_note_is_remembered() -> None:
    with running("examples/embed.py") as first:
        (address,) = first.until(STAYS)
        code, printed, complaints = ran("examples/embed.py", "shopping", "bread", "--bootstrap", address)
        assert (code, complaints) == (0, "")
        assert re.fullmatch(f"held by {PEER_ID} {PEER_ID}\nbread\n", printed)
        assert ran("examples/embed.py", "shopping", "--bootstrap", address) == (0, "bread\n", "")
        code, printed, complaints = ran("examples/embed.py", "shoes", "--bootstrap", address)
        assert (code, printed) == (1, "")
        assert complaints.startswith("NotFound: /notes/shoes: not found")
        assert first.interrupt() == (0, "")


def test_greeters_are_found_and_greet() -> None:
    with running("examples/own_host.py", "--name", "Ada") as ada:
        (address,) = ada.until(STAYS)
        with running("examples/own_host.py", "--name", "Bob", "--bootstrap", address) as bob:
            bob.until(STAYS)
            code, printed, complaints = ran("examples/own_host.py", "--bootstrap", address)
            assert (code, complaints) == (0, "")
            assert sorted(printed.splitlines()) == ["Hello stranger, I am Ada.", "Hello stranger, I am Bob."]
            assert [each.interrupt() for each in (ada, bob)] == [(0, ""), (0, "")]


def test_a_profile_is_its_owners() -> None:
    with running("examples/signed_records.py", "serve") as server:
        (address,) = server.until(STAYS)
        code, owner, complaints = ran("examples/signed_records.py", "write", "I sail.", "--bootstrap", address)
        assert code == 0
        assert re.fullmatch(f"held by {PEER_ID} {PEER_ID}\n", complaints)
        owner = owner.strip()
        forged = ran("examples/signed_records.py", "forge", owner, "I sink.", "--bootstrap", address)
        assert forged == (0, "1 refused it, 0 took it\n", "")
        code, profile, complaints = ran("examples/signed_records.py", "read", owner, "--bootstrap", address)
        assert (code, complaints) == (0, "")
        assert re.fullmatch(r"I sail\.  \(until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\)\n", profile)
        assert server.interrupt() == (0, "")


def test_who_stops_saying_so_is_offline() -> None:
    with running("examples/presence.py", "ada", "--every", "1") as ada:
        (address,) = ada.until(STAYS)
        with running("examples/presence.py", "bob", "--every", "1", "--watch", "ada", "--bootstrap", address) as bob:
            bob.until(STAYS)
            bob.until("ada is online")
            ada.process.kill()
            bob.until("ada is offline")
            code, _ = bob.interrupt()
            assert code == 0
