"""The driver of foreign peers, with a peer that has no node inside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import driver
import pytest
import trio
from driver import Driver, Language, NeverHappened, PeerDied, PeerError, PeerSilent, eventually, flags, open_driver, unbase64
from failures import leaves

FAKE = Path(__file__).with_name("fake_peer.py")
PEER = Language((sys.executable, str(FAKE)))


@pytest.fixture
async def open_one(tmp_path: Path) -> AsyncIterator[Driver]:
    async with open_driver(tmp_path) as one:
        yield one


async def test_a_peer_says_who_it_is_and_answers(open_one: Driver) -> None:
    peer = await open_one.start("fake", PEER)
    assert (peer.id, peer.address) == ("12D3Fake", "/ip4/127.0.0.1/tcp/1/p2p/12D3Fake")
    answer = await peer.ask("echo", key=b"\x00\xff", timeout=2)
    assert answer["said"]["timeout"] == 2
    assert unbase64(answer["said"]["key"]) == b"\x00\xff"


async def test_answers_find_their_requests_in_whatever_order_they_come(open_one: Driver) -> None:
    peer = await open_one.start("fake", PEER)
    said: dict[str, str] = {}

    async def ask(verb: str) -> None:
        said[verb] = (await peer.ask(verb))["said"]["verb"]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, "answer_after_echo")
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ask, "echo")
    assert said == {"answer_after_echo": "answer_after_echo", "echo": "echo"}


async def test_what_a_peer_could_not_do_is_raised_with_its_kind(open_one: Driver) -> None:
    peer = await open_one.start("fake", PEER)
    with pytest.raises(PeerError, match="fake: fail: not_found: there is none") as raised:
        await peer.ask("fail")
    assert raised.value.kind == "not_found"


async def test_a_peer_that_dies_ends_the_driver_with_the_end_of_its_log(tmp_path: Path) -> None:
    async def program() -> None:
        async with open_driver(tmp_path) as one:
            peer = await one.start("fake", PEER)
            await peer.ask("die")

    with pytest.raises(PeerDied, match=r"(?s)fake ended by itself with status 7.*something broke"):
        await program()


async def test_two_peers_that_die_at_once_are_both_named(tmp_path: Path) -> None:
    async def program() -> None:
        async with open_driver(tmp_path) as one:
            for name in "ab":
                one._nursery.start_soon(die, name)

    with pytest.raises(BaseExceptionGroup) as raised:
        await program()
    assert sorted(map(str, leaves(raised.value))) == ["a", "b"]


async def die(name: str) -> None:
    raise PeerDied(name)


async def test_a_line_that_is_none_ends_the_driver_and_is_quoted(tmp_path: Path) -> None:
    async def program() -> None:
        async with open_driver(tmp_path) as one:
            await (await one.start("fake", PEER)).ask("babble")

    with pytest.raises(PeerDied, match="fake wrote what is no answer: b'hello'"):
        await program()


async def test_a_peer_that_was_killed_on_purpose_harms_nobody(open_one: Driver) -> None:
    victim, other = await open_one.start("victim", PEER), await open_one.start("other", PEER)
    await victim.kill()
    assert (await other.ask("echo"))["ok"]
    with pytest.raises(PeerDied, match="victim is gone: echo"):
        await victim.ask("echo")


async def test_a_peer_that_does_not_answer_is_named_with_its_verb(open_one: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "GRACE_SECONDS", 0.1)
    peer = await open_one.start("fake", PEER)
    with pytest.raises(PeerSilent, match=r"fake: no answer to wait in 0\.2 s"):
        await peer.ask("wait", wait=60, timeout=0.1)


async def test_a_peer_that_never_serves_is_given_up_and_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "READY_SECONDS", 0.2)
    async with open_driver(tmp_path) as one:
        with pytest.raises(PeerSilent, match="fake was not ready"):
            await one.start("fake", Language((*PEER.command, "--mute")))
        assert not alive(one._peers[0].pid)


async def test_a_start_that_is_cancelled_leaves_no_peer_behind(tmp_path: Path) -> None:
    async with open_driver(tmp_path) as one:
        with trio.move_on_after(0.2):
            await one.start("fake", Language((*PEER.command, "--mute")))
        assert not alive(one._peers[0].pid)


async def test_stop_returns_the_exit_status(open_one: Driver) -> None:
    peer = await open_one.start("fake", PEER)
    assert await peer.stop() == 0


async def test_closing_leaves_no_peer_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(driver, "END_SECONDS", 0.5)
    async with open_driver(tmp_path) as one:
        pids = [(await one.start("good", PEER)).pid, (await one.start("bad", Language((*PEER.command, "--stubborn")))).pid]
    assert not any(alive(pid) for pid in pids)
    assert "bad did not end with its input and was killed" in capsys.readouterr().err
    assert [end.partition(" and")[0] for end in one.bad_ends] == ["bad did not end with its input"]


async def test_a_peer_that_fails_at_its_end_is_told_of_and_one_that_was_killed_is_not(tmp_path: Path) -> None:
    failing = Language((*PEER.command, "--failing-end"))
    async with open_driver(tmp_path) as one:
        await one.start("bad", failing)
        await (await one.start("victim", failing)).kill()
    (end,) = one.bad_ends
    assert end.startswith("bad ended with status 3")
    assert "it broke at the end" in end


async def test_an_error_in_the_program_leaves_no_peer_behind_either(tmp_path: Path) -> None:
    peers = []

    async def program() -> None:
        async with open_driver(tmp_path) as one:
            peers.append(await one.start("fake", PEER))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await program()
    assert not alive(peers[0].pid)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
async def test_a_driver_that_is_killed_takes_its_peers_along(tmp_path: Path, how: signal.Signals) -> None:
    program = f"""
import sys, trio
sys.path.insert(0, {str(FAKE.parents[2] / "interop")!r})
from pathlib import Path
from driver import Language, open_driver
async def main():
    async with open_driver(Path({str(tmp_path)!r})) as one:
        peer = await one.start("fake", Language({PEER.command!r}))
        print(peer.pid, flush=True)
        await trio.sleep_forever()
trio.run(main)
"""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    pid = int(await process.stdout.receive_some())
    process.send_signal(how)
    await process.wait()

    async def is_alive() -> bool:
        return alive(pid)

    await eventually(is_alive, lambda lives: not lives, within=10, what="the peer ends")


async def test_what_never_happens_says_what_was_seen_instead() -> None:
    async def probe() -> int:
        return 3

    with pytest.raises(NeverHappened, match=r"not within 0\.2 s: four\. Last seen: 3"):
        await eventually(probe, lambda number: number == 4, within=0.2, what="four")


def test_options_become_flags() -> None:
    assert flags({"bucket_size": 3, "bootstrap": ["a", "b"], "refresh": False, "seed": None}) == [
        "--bucket-size=3",
        "--bootstrap=a",
        "--bootstrap=b",
        "--refresh=false",
    ]


def alive(pid: int) -> bool:
    """Whether a process runs. One that has ended and that nobody has waited for does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
