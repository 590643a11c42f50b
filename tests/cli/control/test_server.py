"""The control socket, with a node behind it that does what a test says."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

import pytest
import trio

import p2pkad
from p2pkad.cli.control import client, server
from p2pkad.cli.control.client import RemoteNode, running_node
from p2pkad.cli.control.lines import MAX_LINE, SOCKET, request_line
from p2pkad.cli.control.server import control_socket
from p2pkad.cli.exits import TIMED_OUT, USAGE, NodeSaid, UsageError, exit_code
from p2pkad.cli.requests import Peers, Put, Request, Status, ask_once

PATIENCE = 30.0


class Node:
    """Tells of these peers, then raises this error, or goes on for ever."""

    def __init__(self, peers=(), error=None, *, endless=False):
        self.peers, self.error, self.endless = peers, error, endless
        self.began, self.cancelled = trio.Event(), trio.Event()

    async def ask(self, request, tell):
        self.began.set()
        for peer in self.peers:
            await tell({"id": peer})
        if self.error is not None:
            raise self.error
        if self.endless:
            try:
                await trio.sleep_forever()
            finally:
                self.cancelled.set()


ALL = Peers()


async def heard(node: RemoteNode, request: Request = ALL) -> list[str]:
    told = []

    async def tell(answer):
        told.append(answer["id"])

    await node.ask(request, tell)
    return told


async def test_answers_arrive_in_order_and_end(tmp_path):
    async with control_socket(tmp_path, Node(["a", "b", "c"])):
        node = await running_node(tmp_path)
        assert await heard(node) == ["a", "b", "c"]
        assert await heard(node) == ["a", "b", "c"]
    assert await running_node(tmp_path) is None


async def test_what_was_told_before_an_error_is_heard(tmp_path):
    told = []

    async def tell(answer):
        told.append(answer["id"])

    async with control_socket(tmp_path, Node(["a"], p2pkad.NoPeers("/pk/x"))):
        node = await running_node(tmp_path)
        with pytest.raises(NodeSaid, match="routing table is empty"):
            await node.ask(Peers(), tell)
    assert told == ["a"]


@pytest.mark.parametrize("error", [ZeroDivisionError("x"), ExceptionGroup("", [ZeroDivisionError("x")])])
async def test_a_bug_ends_the_request_and_not_the_node(tmp_path, error, caplog):
    async with control_socket(tmp_path, Node(error=error)):
        node = await running_node(tmp_path)
        for _ in range(2):
            with pytest.raises(NodeSaid, match="bug in p2pkad: ZeroDivisionError"):
                await ask_once(node, Status())
    assert "a command failed" in caplog.text


async def test_who_leaves_early_has_the_work_cancelled(tmp_path):
    behind = Node(endless=True)
    async with control_socket(tmp_path, behind):
        node = await running_node(tmp_path)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(heard, node)
            await behind.began.wait()
            nursery.cancel_scope.cancel()
        with trio.fail_after(PATIENCE):
            await behind.cancelled.wait()


async def test_who_leaves_while_several_tasks_write_to_it_is_no_bug(tmp_path, caplog):
    class Busy(Node):
        async def ask(self, request, tell):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                self.began.set()
                try:
                    await trio.sleep_forever()
                finally:
                    self.cancelled.set()
                    raise trio.BrokenResourceError  # in a group with what cancels the other one

    behind = Busy()
    async with control_socket(tmp_path, behind) as path:
        async with await trio.open_unix_socket(path) as stream:
            await stream.send_all(request_line(Peers()))
            await behind.began.wait()
        with trio.fail_after(PATIENCE):
            await behind.cancelled.wait()
    assert "failed" not in caplog.text


async def test_what_is_too_long_for_the_socket_is_not_sent(tmp_path):
    behind = Node()
    async with control_socket(tmp_path, behind):
        node = await running_node(tmp_path)
        with pytest.raises(UsageError, match=f"in {MAX_LINE} bytes at most"):
            await ask_once(node, Put(key="/demo/x", value="A" * MAX_LINE))
    assert not behind.began.is_set()


async def test_work_ends_with_its_time(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "GRACE", 0.0)
    behind = Node(endless=True)
    async with control_socket(tmp_path, behind):
        with pytest.raises(NodeSaid, match=r"no result within 0\.01 s") as raised:
            await heard(await running_node(tmp_path), Peers(timeout=0.01))
    assert (raised.value.code, behind.cancelled.is_set()) == (4, True)


async def test_a_node_that_ends_says_so_to_who_waits(tmp_path):
    behind, ended = Node(endless=True), trio.Event()
    async with trio.open_nursery() as nursery:

        async def wait(node):
            with pytest.raises(NodeSaid, match="ended before it had answered"):
                await heard(node)
            ended.set()

        async with control_socket(tmp_path, behind):
            nursery.start_soon(wait, await running_node(tmp_path))
            await behind.began.wait()
        with trio.fail_after(PATIENCE):
            await ended.wait()


async def test_the_socket_is_for_its_user_alone_and_goes_with_the_node(tmp_path):
    state = tmp_path / "state"
    async with control_socket(state, Node()) as path:
        assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(state.stat().st_mode)) == (0o600, 0o700)
        assert [each.name for each in state.iterdir()] == ["control.sock"]
    assert list(state.iterdir()) == []


async def test_what_a_killed_node_left_is_replaced(tmp_path):
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "control.sock"))
    assert await running_node(tmp_path) is None
    async with control_socket(tmp_path, Node(["a"])):
        assert await heard(await running_node(tmp_path)) == ["a"]


async def test_a_living_node_is_left_alone(tmp_path):
    async with control_socket(tmp_path, Node(["a"])):
        with pytest.raises(p2pkad.ConfigError, match="a node that runs listens there"):
            async with control_socket(tmp_path, Node(["b"])):
                pass
        assert await heard(await running_node(tmp_path)) == ["a"]


async def test_the_socket_of_a_successor_stays(tmp_path):
    async with control_socket(tmp_path, Node()) as path:
        path.unlink()
        path.write_text("somebody else's")
    assert path.read_text() == "somebody else's"


async def test_a_directory_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises((p2pkad.ConfigError, OSError), match="file"):
        async with control_socket(tmp_path / "file", Node()):
            pass


async def test_another_user_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "ROOT", -1)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    async with control_socket(tmp_path, Node(["a"])):
        with pytest.raises(NodeSaid, match="may not control this node, which runs as user 12345") as said:
            await heard(await running_node(tmp_path))
    assert (said.value.kind, said.value.code) == ("ConfigError", USAGE)


LARGE = Put(key="/v/key", value="AAAA" * 250_000, allow_large=True)
"""More than the socket takes before anybody has read of it."""


@pytest.mark.parametrize("request_", [ALL, LARGE])
async def test_only_so_many_are_answered_at_a_time(tmp_path, monkeypatch, request_):
    monkeypatch.setattr(server, "MAX_CLIENTS", 1)
    behind = Node(endless=True)
    async with control_socket(tmp_path, behind) as path:
        node = RemoteNode(path)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(heard, node)
            await behind.began.wait()
            with trio.fail_after(PATIENCE), pytest.raises(NodeSaid, match="1 commands are being answered") as said:
                await heard(node, request_)
            nursery.cancel_scope.cancel()
    assert said.value.code == TIMED_OUT, "usage would be that no node is there"


async def test_who_asks_nothing_is_let_go(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "REQUEST_TIMEOUT", 0.01)
    async with control_socket(tmp_path, Node()) as path, await trio.open_unix_socket(path) as silent:
        with trio.fail_after(PATIENCE):
            assert await silent.receive_some() == b""


async def test_who_takes_no_answers_is_let_go(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "WRITE_TIMEOUT", 0.01)
    behind = Node(["x" * 100_000] * 1000, endless=True)
    async with control_socket(tmp_path, behind) as path, await trio.open_unix_socket(path) as deaf:
        await deaf.send_all(request_line(Peers()))
        await behind.began.wait()
        await trio.sleep(0.5)
        with trio.fail_after(PATIENCE):
            received = 0
            while data := await deaf.receive_some():
                received += len(data)
    assert received < 10_000_000


async def test_a_line_that_never_ends_takes_no_more_memory_than_the_bound(tmp_path):
    async with control_socket(tmp_path, Node()) as path, await trio.open_unix_socket(path) as endless:
        with trio.fail_after(PATIENCE), pytest.raises(trio.BrokenResourceError):
            await endless.send_all(b"." * (4 * MAX_LINE))


async def test_a_node_that_takes_no_connection_is_busy_and_not_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "CONNECT_TIMEOUT", 0.2)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / SOCKET))
        listener.listen(0)
        node = await running_node(tmp_path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as another:
            another.setblocking(False)
            with suppress(BlockingIOError):
                another.connect(str(tmp_path / SOCKET))
            for asked in (lambda: heard(node), lambda: running_node(tmp_path)):
                with trio.fail_after(PATIENCE), pytest.raises(TimeoutError, match="the node there is busy") as caught:
                    await asked()
                assert exit_code(caught.value) == TIMED_OUT


async def test_a_node_that_was_busy_for_a_moment_is_waited_for(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / SOCKET))
        listener.listen(0)
        assert await running_node(tmp_path) is not None  # which leaves a connection in the backlog
        found = []

        async def look() -> None:
            found.append(await running_node(tmp_path))

        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(look)
                await trio.sleep(client.PAUSE)
                assert not found
                listener.accept()[0].close()
        assert found[0] is not None


async def test_without_a_node_there_is_none(tmp_path):
    assert await running_node(tmp_path) is None
    assert await running_node(Path(f"{tmp_path}/no/such/directory")) is None
