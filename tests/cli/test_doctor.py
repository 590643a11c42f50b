"""What is wrong is named, with what to do about it: staged with real nodes, and a real `p2pkad doctor` that looks at them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
import trio

import p2pkad
from p2pkad.cli import checks, exits
from p2pkad.cli.checks import Finding, Subject
from p2pkad.cli.control.server import control_socket
from p2pkad.cli.local import LocalNode
from p2pkad.node.clock import Clock
from tests.cli.conftest import ALICE, BOB, NOBODY, Typed
from tests.support.running import ROOT, Running

pytestmark = pytest.mark.long

PATIENCE = 60.0
SOON = ("--request-timeout", "5")
"""For a node that meets nobody: doctor waits so long for its first peer."""


def named(ended: Typed) -> dict[str, list[tuple[str, str, str | None]]]:
    """What was found: states, sentences and remedies by check."""
    found: dict[str, list[tuple[str, str, str | None]]] = {}
    for each in ended.objects:
        found.setdefault(each["check"], []).append((each["state"], each["sentence"], each["remedy"]))
    return found


def bad(ended: Typed) -> set[str]:
    return {each["check"] for each in ended.objects if each["state"] == "bad"}


@pytest.fixture
def start() -> Iterator[Callable[..., dict]]:
    running: list[Running] = []

    def start(*words: str) -> dict:
        running.append(Running("--json", *words))
        return running[-1].ready()

    yield start
    for each in running:
        each.kill()


@pytest.fixture
def doctor(type_in, tmp_path) -> Callable[..., Typed]:
    """`p2pkad doctor` of the node in the state directory `tmp_path`, or with these words."""
    return lambda *words: type_in("doctor", "--json", *(words or ("--data-dir", str(tmp_path))))


@pytest.fixture
def knows(type_in, tmp_path) -> Callable[[int], None]:
    """Return when the node in the state directory `tmp_path` has so many peers in its table: it says that it serves before."""

    def wait(peers: int) -> None:
        until = time.monotonic() + PATIENCE
        while (known := type_in("status", "--json", "--data-dir", str(tmp_path)).objects[0]["table"]) < peers:
            assert time.monotonic() < until, f"it knows {known} peers after {PATIENCE:.0f} s, and not {peers}"
            time.sleep(0.1)

    return wait


def test_a_node_among_others_is_well(doctor, start, knows, tmp_path):
    others = [start("--data-dir", "")["addresses"][0]]
    for _ in range(2):
        others += start("--data-dir", "", "--bootstrap", others[0])["addresses"]
    own = start("--data-dir", str(tmp_path), *(word for each in others for word in ("--bootstrap", each)))
    knows(len(others))
    ended = doctor()
    assert (bad(ended), ended.code, ended.err) == (set(), exits.DONE, "")
    found = named(ended)
    assert list(found) == ["disk", "bootstrap", "table", "clock", "mode", "addresses", "reachability"]
    assert [state for state, _, _ in found["bootstrap"]] == ["ok"] * 3
    assert found["reachability"] == [("ok", f"{own['addresses'][0]} can be dialled", None)]
    assert (found["clock"][0][0], found["table"][0][0]) == ("ok", "ok")


@pytest.mark.parametrize("runs", [True, False])
def test_no_bootstrap_peer_is_reachable(doctor, start, tmp_path, runs):
    if runs:
        start("--data-dir", str(tmp_path), "--bootstrap", NOBODY, *SOON)
    ended = doctor(*(() if runs else ("--bootstrap", NOBODY, *SOON)))
    ((state, sentence, remedy),) = named(ended)["bootstrap"]
    assert (ended.code, state, remedy is not None) == (exits.FAILED, "bad", True)
    assert sentence == f"{NOBODY} cannot be reached: connection refused"


def test_what_is_found_is_told_in_time_also_of_a_peer_that_is_silent(doctor, start, tmp_path):
    other = Running("--json", "--data-dir", "")
    try:
        address = other.ready()["addresses"][0]
        start("--data-dir", str(tmp_path), "--bootstrap", address)
        other.process.send_signal(signal.SIGSTOP)
        ended = doctor("--data-dir", str(tmp_path), "--timeout", "4")
    finally:
        other.kill()
    assert (ended.code, "bootstrap" in bad(ended)) == (exits.FAILED, True)
    assert list(named(ended)) == ["disk", "bootstrap", "table", "clock", "mode", "addresses", "reachability"]


async def test_each_address_of_a_peer_has_its_own_reason():
    here, there = f"/ip4/192.0.2.1/tcp/1/p2p/{ALICE}", f"/ip4/192.0.2.1/tcp/12/p2p/{ALICE}"
    causes = [("/ip4/192.0.2.1/tcp/1", "connection refused"), ("/ip4/192.0.2.1/tcp/12", "no answer within 5 s")]

    async def identify(address: str, *, timeout: float) -> p2pkad.PeerDescription:
        raise p2pkad.PeerUnreachable(ALICE, causes)

    node = SimpleNamespace(protocol="/p2pkad/kad/1.0.0", id=BOB, identify=identify)
    config = p2pkad.Config(bootstrap=(here, there))
    found = await checks.bootstrap(Subject(node=node, config=config, directory=None, looks=trio.CapacityLimiter(checks.LOOKS)))
    assert [each.sentence for each in found] == [
        f"{here} cannot be reached: connection refused",
        f"{there} cannot be reached: no answer within 5 s",
    ]


def test_one_bootstrap_peer_that_answers_is_enough(doctor, start, tmp_path):
    other = start("--data-dir", "")["addresses"][0]
    start("--data-dir", str(tmp_path), "--bootstrap", NOBODY, "--bootstrap", other)
    ended = doctor()
    assert [state for state, _, _ in named(ended)["bootstrap"]] == ["warn", "ok"]
    assert ended.code == exits.DONE


def test_a_bootstrap_peer_speaks_another_kademlia_protocol(doctor, start):
    other = start("--data-dir", "", "--protocol", "/ipfs/kad/1.0.0")["addresses"][0]
    ended = doctor("--bootstrap", other, *SOON)
    ((state, sentence, remedy),) = named(ended)["bootstrap"]
    assert (ended.code, state) == (exits.FAILED, "bad")
    assert sentence == f"{other} is there (p2pkad), but speaks /ipfs/kad/1.0.0 and not /p2pkad/kad/1.0.0"
    assert remedy.startswith("pass --protocol /ipfs/kad/1.0.0")


def test_a_bootstrap_peer_is_a_client(doctor, start):
    client = start("--data-dir", "", "--mode", "client")["addresses"][0]
    ended = doctor("--bootstrap", client, *SOON)
    assert (ended.code, "answers no Kademlia protocol" in named(ended)["bootstrap"][0][1]) == (exits.FAILED, True)


@asynccontextmanager
async def a_node(ahead: float = 0.0, **options) -> AsyncIterator[p2pkad.KademliaService]:
    """A node in this process. ahead: seconds that its clock is."""
    config = p2pkad.Config(listen=("/ip4/127.0.0.1/tcp/0",), **options)
    host = p2pkad.new_host(config)
    clock = Clock(monotonic=trio.current_time, wall=lambda: time.time() + ahead)
    async with host.run(), p2pkad.KademliaService(host, config, clock=clock) as node:
        yield node


@pytest.mark.parametrize(("ahead", "whither"), [(-3600.0, "behind"), (3600.0, "ahead of")])
async def test_the_clock_is_off_by_an_hour(tmp_path, ahead, whither):
    async with a_node() as first, a_node(bootstrap=first.addresses) as second, a_node(bootstrap=first.addresses) as third:
        await third.wait_ready(timeout=PATIENCE)
        config = p2pkad.Config(bootstrap=(*second.addresses, *third.addresses))
        async with a_node(ahead, bootstrap=config.bootstrap) as wrong:
            await wrong.wait_ready(peers=3, timeout=PATIENCE)
            node = LocalNode(wrong, config, stays=True, directory=str(tmp_path))
            async with control_socket(tmp_path, node):
                words = [sys.executable, "-m", "p2pkad", "doctor", "--json", "--data-dir", str(tmp_path)]
                ran = await trio.run_process(words, cwd=ROOT, capture_stdout=True, capture_stderr=True, check=False)
    ended = Typed(ran.returncode, ran.stdout.decode(), ran.stderr.decode())
    assert (ended.code, bad(ended)) == (exits.FAILED, {"clock"})
    ((_, sentence, remedy),) = named(ended)["clock"]
    hour = f"the clock of this machine is (59 min 5[0-9] s|1 h 0 min) {whither} that of the middle one of 3 peers"
    assert re.fullmatch(hour, sentence), sentence
    assert "timedatectl" in remedy


def test_an_announced_address_is_unreachable(doctor, start, tmp_path):
    other = start("--data-dir", "")["addresses"][0]
    node = start("--data-dir", str(tmp_path), "--bootstrap", other, "--announce", "/ip4/127.0.0.1/tcp/1")
    ended = doctor()
    assert (ended.code, bad(ended)) == (exits.FAILED, {"reachability"})
    ((_, sentence, remedy),) = named(ended)["reachability"]
    assert sentence == f"/ip4/127.0.0.1/tcp/1/p2p/{node['id']} is told to peers, and a dial to it fails: connection refused"
    assert "--announce" in remedy


def test_an_announced_address_belongs_to_somebody_else(doctor, start, tmp_path):
    other = start("--data-dir", "")["addresses"][0]
    start("--data-dir", str(tmp_path), "--bootstrap", other, "--announce", other.partition("/p2p/")[0])
    assert bad(doctor()) == {"reachability"}


@pytest.mark.parametrize("words", [("--bootstrap", NOBODY, *SOON), ("--mode", "client")])
def test_the_table_is_empty(doctor, start, tmp_path, words):
    start("--data-dir", str(tmp_path), *words)
    ended = doctor()
    assert (ended.code, "table" in bad(ended)) == (exits.FAILED, True)
    assert "the routing table is empty" in named(ended)["table"][0][1]


def test_the_first_node_of_a_network_has_nobody_to_wait_for(doctor, start, tmp_path):
    ready = start("--data-dir", str(tmp_path), "--http", "127.0.0.1:0")
    ended = doctor()
    health = httpx.get(f"{ready['http']}/health")
    assert (ended.code, bad(ended), health.status_code) == (exits.DONE, set(), 200)
    assert named(ended)["table"] == [
        ("warn", health.json()["reason"], "wait until others dial this node, or name some with --bootstrap")
    ]
    assert named(ended)["bootstrap"] == [
        ("warn", "there are no bootstrap peers", "name some with --bootstrap, or wait until others dial this node")
    ]


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of 20 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("mounting takes root")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.scenario("H5")
def test_the_disk_is_full(doctor, start, small_disk, type_in):
    other = start("--data-dir", "")["addresses"][0]
    options = ("--http", "127.0.0.1:0", "--expire-interval", "0.2")
    health = start("--data-dir", str(small_disk), "--bootstrap", other, *options)["http"] + "/health"
    look = ("--data-dir", str(small_disk))
    assert named(doctor(*look))["disk"][0][0] == "warn"
    subprocess.run(["dd", "if=/dev/zero", f"of={small_disk}/filler", "bs=64k"], capture_output=True, check=False)
    ended = doctor(*look)
    ((state, sentence, remedy),) = named(ended)["disk"]
    assert (ended.code, state) == (exits.FAILED, "bad")
    assert sentence == f"{small_disk} cannot be written: No space left on device"
    assert remedy.startswith("make room there")
    # The node notices when it has something to write, and is well again when there is room.
    reason = until_it_says(health, ready=False)
    assert "the disk is full" in reason
    assert f"             {reason}" in type_in("status", *look).out.splitlines()
    (small_disk / "filler").unlink()
    until_it_says(health, ready=True)


def until_it_says(health: str, *, ready: bool) -> str:
    """Ask a node again and again whether it is ready; the reason that it gives with the wanted answer."""
    patience = time.monotonic() + 30
    while (said := httpx.get(health).json())["ready"] is not ready:
        assert time.monotonic() < patience, said
        time.sleep(0.05)
    return str(said["reason"])


@pytest.mark.parametrize(
    ("free", "state"), [(checks.DISK_FULL - 1, "bad"), (checks.DISK_LOW - 1, "warn"), (checks.DISK_LOW, "ok")]
)
async def test_a_disk_is_full_before_nothing_fits_on_it(tmp_path, monkeypatch, free, state):
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_blocks=free, f_bfree=free, f_bavail=free, f_frsize=1))
    (found,) = await checks.disk(subject(directory=str(tmp_path)))
    assert (found.state, found.remedy is None) == (state, state == "ok")
    assert list(tmp_path.iterdir()) == []


async def test_a_disk_that_the_node_cannot_write_to_is_no_good_whatever_is_free(tmp_path):
    node = {"stats": lambda: SimpleNamespace(store_trouble="x.db: cannot be written (disk I/O error)")}
    (found,) = await checks.disk(subject(directory=str(tmp_path), **node))
    assert (found.state, found.sentence) == ("bad", "x.db: cannot be written (disk I/O error)")
    assert found.remedy == "look at the disk; the node tries again at least every 300 s"


async def test_a_directory_that_is_not_there_is_no_fault(tmp_path):
    assert [each.state for each in await checks.disk(subject(directory=str(tmp_path / "none")))] == ["ok"]
    assert [each.state for each in await checks.disk(subject(directory=None))] == ["ok"]


@pytest.fixture
def hanging_disk(monkeypatch) -> Iterator[threading.Event]:
    """Whoever writes to the disk waits for this event."""
    moves, fsync = threading.Event(), os.fsync

    def hang(descriptor: int) -> None:
        moves.wait(10)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", hang)
    yield moves
    moves.set()


@pytest.mark.scenario("H5")
async def test_a_disk_that_hangs_is_told_in_time_however_often_it_is_looked_at(tmp_path, hanging_disk):
    patient = subject(directory=str(tmp_path), request_timeout=0.2)
    others = trio.to_thread.current_default_thread_limiter()
    busy = others.borrowed_tokens
    for _ in range(checks.LOOKS + 2):
        with trio.fail_after(5):
            (found,) = await checks.disk(patient)
        assert (found.state, found.sentence) == ("bad", f"{tmp_path}: its disk does not answer within 0.2 s")
        assert found.remedy.startswith("look at the disk")
    assert patient.looks.borrowed_tokens == checks.LOOKS
    assert others.borrowed_tokens == busy
    hanging_disk.set()
    with trio.fail_after(5):
        for _ in range(checks.LOOKS):  # once the disk moves all of them are there again
            await patient.looks.acquire_on_behalf_of(object())


async def test_of_a_disk_that_hangs_what_the_node_knows_is_told(tmp_path, hanging_disk):
    trouble = "x.db: its disk has not answered for 30 s. What is stored is served"
    node = {"stats": lambda: SimpleNamespace(store_trouble=trouble)}
    (found,) = await checks.disk(subject(directory=str(tmp_path), request_timeout=0.1, **node))
    assert (found.state, found.sentence) == ("bad", trouble)


@pytest.mark.scenario("H5")
async def test_whoever_looks_at_a_disk_that_hangs_can_be_stopped(tmp_path, hanging_disk):
    with trio.move_on_after(0.1) as stopped:
        await checks.disk(subject(directory=str(tmp_path)))
    assert stopped.cancelled_caught
    assert not hanging_disk.is_set()
    assert trio.current_time() - stopped.deadline < 5


def subject(directory: str | None = None, request_timeout: float = 10.0, **node) -> Subject:
    node.setdefault("protocol", "/p2pkad/kad/1.0.0")
    node.setdefault("stats", lambda: SimpleNamespace(store_trouble=None, provided=0))
    return Subject(
        node=SimpleNamespace(**node),
        config=p2pkad.Config(request_timeout=request_timeout),
        directory=directory,
        looks=trio.CapacityLimiter(checks.LOOKS),
    )


@pytest.mark.parametrize(
    ("mode", "addresses", "state"),
    [
        ("client", (), "ok"),
        ("server", (), "bad"),
        ("server", (f"/ip4/127.0.0.1/tcp/4001/p2p/{ALICE}", f"/ip6/::1/tcp/4001/p2p/{ALICE}"), "warn"),
        ("server", (f"/ip4/127.0.0.1/tcp/4001/p2p/{ALICE}", f"/ip4/192.0.2.1/tcp/4001/p2p/{ALICE}"), "ok"),
        ("server", (f"/dns4/example.net/tcp/4001/p2p/{ALICE}",), "ok"),
    ],
)
async def test_a_server_has_an_address_that_somebody_can_dial(mode, addresses, state):
    (found,) = await checks.mode(subject(mode=mode, addresses=addresses))
    assert (found.state, found.remedy is None) == (state, state == "ok")


@pytest.mark.parametrize(
    ("addresses", "provided", "state"),
    [
        ((f"/ip4/127.0.0.1/tcp/4001/p2p/{ALICE}",), 1, "warn"),
        ((f"/ip4/127.0.0.1/tcp/4001/p2p/{ALICE}",), 0, "ok"),
        ((f"/ip4/192.0.2.1/tcp/4001/p2p/{ALICE}",), 1, "ok"),
        ((), 1, "bad"),
    ],
)
async def test_a_client_that_provides_has_an_address_that_somebody_can_dial(addresses, provided, state):
    def stats():
        return SimpleNamespace(provided=provided)

    (found,) = await checks.mode(subject(mode="client", addresses=addresses, stats=stats))
    assert (found.state, found.remedy is None) == (state, state == "ok")


def test_the_addresses_of_a_client_are_looked_at_once_it_provides_something(doctor, start, type_in, tmp_path):
    other = start("--data-dir", "")["addresses"][0]
    own = start("--data-dir", str(tmp_path), "--bootstrap", other, "--mode", "client")
    assert named(doctor())["reachability"] == [("ok", "nobody is told the addresses of a client that provides nothing", None)]
    assert type_in("provide", "1220" + "00" * 32, "--data-dir", str(tmp_path)).code == exits.DONE
    found = named(doctor())
    assert found["reachability"] == [("ok", f"{own['addresses'][0]} can be dialled", None)]
    assert [state for state, _, _ in found["mode"]] == ["warn"]


async def test_where_peers_see_a_node_is_told_without_the_ports_that_it_dialled_from():
    seen = {"/ip4/10.0.0.7/tcp/50000": 1, "/ip4/10.0.0.9/tcp/4001": 2, "/ip4/10.0.0.7/tcp/50001": 3}
    (found,) = await checks.addresses(subject(mode="server", addresses=(), observed_addresses=lambda: seen))
    assert found.sentence == "4 of 6 peers see this node at 10.0.0.7"


@pytest.mark.parametrize(
    ("seen", "told", "state"),
    [
        ({}, ("/ip4/10.0.0.1/tcp/4001",), "ok"),
        ({"/ip4/8.8.8.8/tcp/50000": 3}, ("/ip4/10.0.0.1/tcp/4001",), "warn"),
        ({"/ip4/8.8.8.8/tcp/50000": 3}, ("/ip4/8.8.8.8/tcp/4001",), "ok"),
        ({"/ip4/10.0.0.7/tcp/50000": 3}, ("/ip4/10.0.0.1/tcp/4001",), "ok"),
    ],
)
async def test_a_node_behind_a_router_is_told_so(seen, told, state):
    (found,) = await checks.addresses(subject(mode="server", addresses=told, observed_addresses=lambda: seen))
    assert found.state == state
    assert found.remedy is None or "--announce /ip4/8.8.8.8/tcp/PORT" in found.remedy


@pytest.mark.parametrize(
    ("offsets", "state"),
    [([], "warn"), ([0.4], "ok"), ([9e9, 0.1, 0.2], "ok"), ([30.0], "warn"), ([-61.0, -60.5], "bad"), ([3600.0], "bad")],
)
def test_the_clock_in_the_middle_counts(offsets, state):
    assert checks._clock(offsets, asked=5).state == state


async def test_a_key_with_which_no_clock_can_be_compared_is_not_blamed_on_the_peers():
    from libp2p.crypto.rsa import create_new_key_pair

    async with a_node() as other, a_node(identity=p2pkad.Identity(create_new_key_pair()), bootstrap=other.addresses) as node:
        await node.wait_ready(timeout=PATIENCE)
        looked_at = Subject(node=node, config=p2pkad.Config(), directory=None, looks=trio.CapacityLimiter(checks.LOOKS))
        (found,) = await checks.clock(looked_at)
    assert (found.state, "date -u" in found.remedy) == ("warn", True)
    assert found.sentence.startswith("not compared: comparing clocks takes a public key that is its own peer id: Ed25519")


def test_a_person_sees_findings_and_under_them_what_to_do(type_in):
    ended = type_in("doctor", "--bootstrap", NOBODY, *SOON)
    first = next(line for line in ended.out.splitlines() if "bootstrap" in line)
    assert first.split()[:2] == ["bad", "bootstrap"]
    assert "-> check its address" in ended.out
    assert ended.err == "p2pkad: 2 things are wrong\n"
    assert len(ended.out.splitlines()) <= 24


async def test_findings_are_told_in_the_order_of_the_checks(monkeypatch):
    async def slow(subject):
        await trio.sleep(0.05)
        return [Finding(check="disk", state="ok", sentence="slow")]

    async def quick(subject):
        return [Finding(check="table", state="ok", sentence="quick"), Finding(check="table", state="ok", sentence="quicker")]

    monkeypatch.setattr(checks, "CHECKS", (slow, quick))
    told = []

    async def tell(answer):
        told.append(answer["sentence"])

    await checks.examine(subject(), tell)
    assert told == ["slow", "quick", "quicker"]
