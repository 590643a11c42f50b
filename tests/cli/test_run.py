"""What `p2pkad run` says of the node that it runs."""

from __future__ import annotations

import json
import logging
import os
import shlex
import signal
import sys
from contextlib import asynccontextmanager

import pytest

from p2pkad import Config, events
from p2pkad.cli import exits, run
from tests.cli.conftest import ALICE, OWN


@pytest.fixture
def stopped_soon(node):
    """The node's process gets a SIGTERM as soon as the node has been listened to."""

    def subscribe(listener, kinds):
        node.listeners.append(listener)
        os.kill(os.getpid(), signal.SIGTERM)
        return lambda: node.listeners.remove(listener)

    node.subscribe = subscribe
    return node


def test_the_first_line_in_json_says_that_it_serves(type_in, stopped_soon):
    ended = type_in("run", "--json", "--protocol", "/x/kad/1.0.0")
    assert ended.objects == [
        {
            "event": "ready",
            "id": str(OWN),
            "addresses": list(stopped_soon.addresses),
            "mode": "server",
            "protocol": "/x/kad/1.0.0",
        }
    ]
    assert (ended.code, ended.err, stopped_soon.closed) == (exits.DONE, "", True)


def test_a_directory_too_deep_for_the_control_socket_is_refused_before_anything_is_opened(type_in, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("p2pkad.open_node", opened.append, raising=False)
    deep = tmp_path / ("d" * 100)
    ended = type_in("run", "--data-dir", str(deep))
    assert (ended.code, ended.err.count("\n"), "Name a shorter --data-dir" in ended.err) == (exits.USAGE, 1, True)
    assert (opened, deep.exists()) == ([], False)


def test_a_node_knows_its_directory_wherever_it_is_asked_from(type_in, stopped_soon, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    directories = []

    class Told(run.LocalNode):
        def __init__(self, *given, **named):
            directories.append(named["directory"])
            super().__init__(*given, **named)

    monkeypatch.setattr(run, "LocalNode", Told)
    ended = type_in("run", "--data-dir", "here")
    there = str(tmp_path / "here")
    assert (ended.code, stopped_soon.config.data_dir, directories) == (exits.DONE, there, [there])


def suggested(told):
    return [shlex.split(line)[3:] for line in told.splitlines() if line.startswith(f"  {sys.executable} -m p2pkad ")]


@pytest.fixture
def as_module(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/p2pkad/__main__.py"])


def test_a_person_is_told_who_and_where_it_is_and_what_to_type(type_in, stopped_soon, as_module):
    alone = ("--data-dir", "/tmp/state", "--allow-zero-peers")
    ended = type_in("run", "--validator", "demo=opaque", "--protocol", "/x/kad/1.0.0", *alone)
    where = ["--data-dir", "/tmp/state"]
    network = ["--bootstrap", stopped_soon.addresses[1], "--protocol", "/x/kad/1.0.0"]
    assert suggested(ended.out) == [
        ["put", "/demo/greeting", "hello", *where],
        ["get", "/demo/greeting", *where],
        ["status", *where],
        ["run", "--listen", "/ip4/0.0.0.0/tcp/0", "--data-dir", "", "--validator", "demo=opaque", *network],
    ]
    for fact in (str(OWN), *stopped_soon.addresses, "key        in /tmp/state\n"):
        assert fact in ended.out


def test_a_node_that_is_alone_suggests_no_put_that_it_would_refuse(node, as_module):
    node.config = Config()
    told = "\n".join(run.introduction(node, ("demo=opaque",), "/tmp/state"))
    assert [words[0] for words in suggested(told)] == ["status", "run"]


def test_a_node_that_keeps_nothing_is_asked_by_clients(node, as_module):
    told = "\n".join(run.introduction(node, ("demo=opaque",), None))
    network = ["--bootstrap", node.addresses[1]]
    assert suggested(told)[:2] == [
        ["put", "/demo/greeting", "hello", *network, "--validator", "demo=opaque"],
        ["get", "/demo/greeting", *network, "--validator", "demo=opaque"],
    ]
    assert [words[0] for words in suggested(told)[2:]] == ["run"]  # a status would be that of the client


def test_what_takes_no_option_is_suggested_with_none(node):
    told = "\n".join(run.introduction(node, (), None))
    assert "--protocol" not in told
    assert "put" not in told
    assert "the id is new each time" in told


def test_a_node_that_nobody_can_reach_suggests_nothing(node):
    node.addresses = ()
    assert "Try" not in "\n".join(run.introduction(node, ("demo=opaque",), None))


@pytest.mark.parametrize(
    ("called", "found", "typed"),
    [
        ("/opt/p2pkad/bin/p2pkad", "/opt/p2pkad/bin/p2pkad", "p2pkad"),
        ("/my venv/bin/p2pkad", "/usr/bin/p2pkad", "'/my venv/bin/p2pkad'"),
        ("/my venv/bin/p2pkad", None, "'/my venv/bin/p2pkad'"),
    ],
)
def test_suggestions_name_the_program_as_it_can_be_typed_anywhere(monkeypatch, called, found, typed):
    monkeypatch.setattr(sys, "argv", [called])
    monkeypatch.setattr("shutil.which", lambda _: found)
    assert run.program() == typed


def test_what_an_operator_would_like_to_know_is_logged(type_in, node):
    def tell(listener, kinds):
        listener(events.PeerAdmitted(at=1.0, peer=ALICE, bucket=3))
        listener(events.BootstrapEnded(at=1.0, tried=1, answered=0, failed=((ALICE, "unreachable (no usable address)"),)))
        os.kill(os.getpid(), signal.SIGTERM)
        return lambda: None

    node.subscribe = tell
    lines = type_in("run", "--log-format", "json").err.splitlines()
    said = [json.loads(line) for line in lines]
    assert [(each["level"], each["event"], each.get("peer"), each.get("reason")) for each in said] == [
        ("info", "peer admitted", str(ALICE), None),
        ("warning", "bootstrap peers asked", None, None),
        ("warning", "bootstrap peer failed", str(ALICE), "unreachable (no usable address)"),
    ]
    assert type_in("run", "--log-level", "error").err == ""


def test_a_bootstrap_peer_that_fails_beside_one_that_answers_is_not_warned_of(type_in, node):
    def tell(listener, kinds):
        listener(events.BootstrapEnded(at=1.0, tried=2, answered=1, failed=((ALICE, "unreachable (no usable address)"),)))
        os.kill(os.getpid(), signal.SIGTERM)
        return lambda: None

    node.subscribe = tell
    (line,) = type_in("run", "--log-format", "json").err.splitlines()
    assert json.loads(line)["level"] == "info"


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_exception_is_logged_without_what_it_was_about(type_in, node, form):
    def fail(listener, kinds):
        secret = "the value of somebody's key"
        try:
            raise ZeroDivisionError(len(secret))
        except ZeroDivisionError:
            logging.getLogger("p2pkad.validators.base").exception("the validator of a namespace failed")
        os.kill(os.getpid(), signal.SIGTERM)
        return lambda: None

    node.subscribe = fail
    said = type_in("run", "--log-format", form).err
    assert "ZeroDivisionError: 27" in said
    assert "somebody" not in said


def test_a_node_is_served_over_http_where_it_is_asked_for(type_in, stopped_soon, monkeypatch):
    asked = []

    @asynccontextmanager
    async def serve_http(node, bind, **options):
        asked.append((bind, options))
        yield "http://127.0.0.1:1234"

    monkeypatch.setattr("p2pkad.ops.http.serve_http", serve_http)
    (ready,) = type_in("run", "--json", "--http", "127.0.0.1:0").objects
    assert ready["http"] == "http://127.0.0.1:1234"
    monkeypatch.setenv("P2PKAD_HTTP", "192.0.2.1:80")
    told = type_in("run", "--http-remote", "--http-hosts", "node.internal").out
    assert "http       http://127.0.0.1:1234 (/health, /metrics)\n" in told
    assert asked == [
        ("127.0.0.1:0", {"hosts": (), "remote": False}),
        ("192.0.2.1:80", {"hosts": ("node.internal",), "remote": True}),
    ]


@pytest.mark.parametrize("words", [["--http-remote"], ["--http-hosts", "node.internal"]])
def test_what_is_said_of_http_where_there_is_none_is_a_warning(type_in, stopped_soon, words):
    ended = type_in("run", *words)
    assert (ended.code, ended.err) == (
        exits.DONE,
        "p2pkad: warning: --http-hosts and --http-remote count with --http alone, and there is none\n",
    )


def test_an_address_that_cannot_be_served_on_ends_it_in_a_line(type_in, node):
    ended = type_in("run", "--http", "0.0.0.0:8080")
    assert (ended.code, ended.out, node.closed) == (exits.USAGE, "", True)
    assert ended.err.startswith("p2pkad: http='0.0.0.0:8080': other machines reach this address")
