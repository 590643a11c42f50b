"""Commands and the node that runs: two real processes, and the socket between them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import p2pkad
from p2pkad.cli import exits
from p2pkad.cli.status import lines
from tests.cli.conftest import NOBODY
from tests.support.running import ROOT, SECONDS, Running

CONTENT = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"


pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def other() -> Iterator[str]:
    """The address of another node of the network."""
    server = Running("--json", "--validator", "demo=opaque", "--data-dir", "")
    yield server.ready()["addresses"][0]
    server.kill()


@pytest.fixture(scope="module")
def state(other, tmp_path_factory) -> Iterator[Path]:
    """The state directory of a node that runs."""
    directory = tmp_path_factory.mktemp("state")
    node = Running("--json", "--validator", "demo=opaque", "--bootstrap", other, "--data-dir", str(directory))
    node.ready()
    yield directory
    node.kill()


@pytest.fixture
def at(type_in, state):
    """Type words at the node that runs."""
    return lambda *words, **options: type_in(*words, "--data-dir", str(state), **options)


def test_a_value_is_put_got_and_given_up(at, other):
    put = at("put", "/demo/x", "-", standard_input=b"\x00hello\n")
    assert (put.code, len(put.out.splitlines())) == (exits.DONE, 2)
    assert other.rpartition("/")[2] in put.out
    assert at("get", "/demo/x").out == "\x00hello\n"
    assert at("get", "/demo/x", "--json").objects[0]["value"] == "AGhlbGxvCg=="
    assert at("status", "--json").objects[0]["published"] == 1
    assert at("stop-publishing", "/demo/x", "--json").objects == [{"key": "/demo/x", "stopped": True}]
    assert at("stop-publishing", "/demo/x").code == exits.NOT_FOUND
    assert at("status", "--json").objects[0]["published"] == 0


def test_content_is_provided_found_and_given_up(at, state, type_in, other):
    assert at("findprovs", CONTENT).code == exits.NOT_FOUND
    assert at("provide", CONTENT).code == exits.DONE
    status = at("status", "--json").objects[0]
    assert at("findprovs", CONTENT).objects == [{"id": status["id"], "addresses": status["addresses"]}]
    assert [each["id"] for each in type_in("findprovs", CONTENT, "--bootstrap", other).objects] == [status["id"]]
    assert at("stop-providing", CONTENT).code == exits.DONE


def test_a_node_that_may_be_alone_keeps_what_it_provides_and_says_so(type_in, tmp_path):
    node = Running("--json", "--allow-zero-peers", "--data-dir", str(tmp_path))
    try:
        node.ready()
        ended = type_in("provide", CONTENT, "--data-dir", str(tmp_path))
    finally:
        node.kill()
    said = f"p2pkad: {CONTENT}: nobody was told. The node keeps it, and tells others when somebody is there\n"
    assert (ended.code, ended.out, ended.err) == (exits.DONE, "", said)


def test_peers_are_found_pinged_and_listed(at, other):
    peer = other.rpartition("/")[2]
    assert at("findpeer", peer).objects == [{"id": peer, "addresses": [other]}]
    assert [each["id"] for each in at("closest", "/demo/x").objects] == [peer]
    assert at("ping", peer, "--count", "1").out.endswith(" ms\n")
    (listed,) = [each for each in at("peers").objects if each["id"] == peer]
    assert (listed["addresses"], listed["in_table"], listed["connected"]) == ([other], True, "outbound")
    assert "/p2pkad/kad/1.0.0" in listed["protocols"]


def test_status_is_one_screen(at, state):
    shown = at("status").out.splitlines()
    assert len(shown) <= 24
    assert max(map(len, shown)) <= 100
    words = {line.split()[0] for line in shown}
    assert {"id", "running", "network", "address", "connections", "table", "store", "publishing"} <= words


def test_status_says_what_is_wrong_with_the_disk(at):
    (said,) = at("status", "--json").objects
    assert said["store_trouble"] is None
    shown = list(lines({**said, "store_trouble": "state.db: the disk is full"}))
    assert shown[-2] == " " * 13 + "state.db: the disk is full"


def test_what_the_node_refuses_ends_the_command_with_its_sentence_and_code(at):
    assert at("get", "/demo/nothing").code == exits.NOT_FOUND
    unknown = at("put", "/other/x", "1")
    assert (unknown.code, "Known namespaces: pk=pk, demo=opaque" in unknown.err) == (exits.USAGE, True)
    assert at("provide", "nonsense").code == exits.USAGE


def test_with_bootstrap_peers_typed_the_running_node_is_not_asked(at, other):
    own = at("status", "--json").objects[0]["id"]
    assert at("status", "--json", "--bootstrap", other).objects[0]["id"] != own


@pytest.mark.parametrize("command", ["status", "peers"])
def test_a_client_that_meets_nobody_says_why_instead_of_showing_itself(type_in, command):
    ended = type_in(command, "--bootstrap", NOBODY, "--request-timeout", "0.2")
    assert (ended.code, ended.out) == (exits.FAILED, "")
    assert "connection refused" in ended.err


def test_what_nobody_took_is_kept_and_that_is_said(type_in, tmp_path):
    state = tmp_path / "alone"
    words = ("--data-dir", str(state), "--validator", "demo=opaque", "--bootstrap", NOBODY)
    node = Running("--json", "--request-timeout", "0.2", *words)
    try:
        node.ready()
        ended = type_in("put", "/demo/x", "kept", "--data-dir", str(state), "--timeout", "5")
        assert (ended.code, "This node keeps it" in ended.err) == (exits.FAILED, True)
        assert type_in("get", "/demo/x", "--data-dir", str(state)).out == "kept"
        ended = type_in("provide", CONTENT, "--data-dir", str(state), "--timeout", "5")
        assert ended.err.startswith(f"p2pkad: {CONTENT}: there is nobody to ask")
    finally:
        node.kill()


def test_bootstrap_peers_of_the_environment_are_for_when_no_node_runs(at, type_in, other, monkeypatch):
    monkeypatch.setenv("P2PKAD_BOOTSTRAP", other)
    assert at("closest", "/demo/x").err == ""
    alone = type_in("closest", "/demo/x")
    assert other in [address for each in alone.objects for address in each["addresses"]]
    assert "a client of this command asks" in alone.err
    assert at("status", "--json").objects[0]["mode"] == "server"
    assert type_in("status", "--json").code == exits.USAGE


def test_without_anybody_to_ask_a_line_says_what_to_do(type_in, tmp_path):
    ended = type_in("status", "--data-dir", str(tmp_path))
    assert (ended.code, ended.err.count("\n")) == (exits.USAGE, 1)
    for named in (str(tmp_path), "p2pkad run", "--bootstrap"):
        assert named in ended.err


def test_a_second_node_in_one_directory_is_refused(type_in, state):
    ended = type_in("run", "--listen", "/ip4/127.0.0.1/tcp/0", "--data-dir", str(state))
    assert (ended.code, ended.err.count("\n"), str(state) in ended.err) == (exits.USAGE, 1, True)


def test_a_killed_node_is_followed_by_another_in_its_directory(type_in, tmp_path):
    for number in (signal.SIGKILL, signal.SIGTERM):
        node = Running("--json", "--data-dir", str(tmp_path))
        own = node.ready()["id"]
        assert type_in("status", "--json", "--data-dir", str(tmp_path)).objects[0]["id"] == own
        node.end(number)
    assert not (tmp_path / "control.sock").exists()
    assert type_in("status", "--data-dir", str(tmp_path)).code == exits.USAGE


def test_ctrl_c_ends_the_command_and_the_node_goes_on(state, at, other):
    words = ["ping", other.rpartition("/")[2], "--count", "1000", "--timeout", "2000", "--data-dir", str(state)]
    command = subprocess.Popen([sys.executable, "-m", "p2pkad", *words], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert command.stdout.readline().endswith(" ms\n")
    command.send_signal(signal.SIGINT)
    assert command.wait(SECONDS) == exits.INTERRUPTED
    command.stdout.close()
    assert at("status").code == exits.DONE


def test_a_node_ignores_sighup(tmp_path):
    node = Running("--json", "--data-dir", str(tmp_path))
    node.ready()
    node.process.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    assert node.end(signal.SIGTERM)[0] == exits.DONE


def test_a_node_that_is_told_to_stop_over_and_over_ends_as_well(tmp_path):
    node = Running("--json", "--data-dir", str(tmp_path))
    node.ready()
    while node.process.poll() is None:
        node.process.send_signal(signal.SIGTERM)
        time.sleep(0.01)
    _, err = node.process.communicate(timeout=SECONDS)
    assert (node.process.returncode, err) == (exits.DONE, "")
    assert not (tmp_path / "control.sock").exists()


def test_a_state_directory_that_lies_too_deep_is_named(type_in, tmp_path):
    deep = tmp_path / ("d" * 100)
    for words in (["run", "--listen", "/ip4/127.0.0.1/tcp/0"], ["status"]):
        ended = type_in(*words, "--data-dir", str(deep))
        assert (ended.code, "shorter --data-dir" in ended.err) == (exits.USAGE, True)


def test_the_largest_value_goes_through(at):
    size = p2pkad.KademliaConfig().max_message - 1000
    put = at("put", "/demo/large", "-", "--allow-large", standard_input=b"v" * size)
    assert put.code == exits.DONE, put.err
    assert len(at("get", "/demo/large").out) == size
