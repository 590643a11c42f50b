"""The command line with nothing replaced: a node in a process of its own, and commands that ask it."""

from __future__ import annotations

import shlex
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial

import httpx
import pytest

from p2pkad.cli import exits
from tests.support.running import ROOT, SECONDS, Running

pytestmark = pytest.mark.long

CONTENT = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"


@pytest.fixture
def start() -> Iterator[type[Running]]:
    running: list[Running] = []

    def start(*words: str) -> Running:
        running.append(Running(*words))
        return running[-1]

    yield start
    for each in running:
        each.kill()


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    """The address of a server that keeps keys of the namespace demo."""
    server = Running("--json", "--validator", "demo=opaque", "--data-dir", "")
    yield server.ready()["addresses"][0]
    server.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_node_that_is_told_to_stop_has_succeeded(start, tmp_path, number):
    node = start("--json", "--data-dir", str(tmp_path))
    node.ready()
    assert node.end(number) == (exits.DONE, "")


GARBAGE = """
import atexit, gc, sys
from p2pkad.cli.entry import main
atexit.register(lambda: print(gc.isenabled(), gc.get_freeze_count() > 10 * len(gc.get_objects()), file=sys.stderr))
main()
"""


def test_a_node_that_serves_looks_for_garbage_and_not_among_what_was_loaded():
    words = [sys.executable, "-c", GARBAGE, "run", "--json", "--listen", "/ip4/127.0.0.1/tcp/0", "--data-dir", ""]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as node:
        assert node.stdout is not None
        assert "ready" in node.stdout.readline()
        node.send_signal(signal.SIGTERM)
        assert node.communicate(timeout=SECONDS)[1] == "True True\n"


def test_a_second_run_has_the_identity_of_the_first(start, tmp_path):
    first = start("--json", "--data-dir", f"{tmp_path}/state")
    ready = first.ready()
    key = tmp_path / "state" / "identity.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    first.end(signal.SIGTERM)
    second = start("--json", "--data-dir", f"{tmp_path}/state").ready()
    assert second["id"] == ready["id"]
    assert (second["event"], second["mode"], second["protocol"]) == ("ready", "server", "/p2pkad/kad/1.0.0")


def test_what_run_suggests_works_when_it_is_pasted(start, tmp_path):
    options = ("--validator", "demo=opaque", "--protocol", "/x/kad/1.0.0", "--allow-zero-peers")
    node = start(*options, "--data-dir", str(tmp_path))
    suggested = [line.strip() for line in node.read_until("Ctrl-C") if line.startswith("  ")]
    assert [shlex.split(line)[3] for line in suggested] == ["put", "get", "status", "run"]
    paste = partial(subprocess.run, shell=True, check=False, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS)
    ran = [paste(line) for line in suggested[:3]]
    assert [(run.returncode, run.stderr) for run in ran] == 3 * [(exits.DONE, "")]
    assert ran[1].stdout == "hello"
    words = shlex.split(suggested[3])[4:]
    assert words[:2] == ["--listen", "/ip4/0.0.0.0/tcp/0"], "typed here on loopback instead"
    joined = start(*words[2:])
    joined.read_until("Ctrl-C")
    assert joined.end(signal.SIGTERM)[0] == exits.DONE


def test_a_value_that_was_put_is_got(type_in, served):
    network = ["--validator", "demo=opaque", "--bootstrap", served]
    peer = served.rpartition("/")[2]
    assert type_in("put", "/demo/x", "-", *network, standard_input=b"1").out == f"stored {peer}\n"
    got = type_in("get", "/demo/x", *network, "--json").objects
    assert (got[0]["value"], got[0]["from"]) == ("MQ==", [peer])
    assert type_in("get", "/demo/nothing", *network).code == exits.NOT_FOUND


def test_a_worse_value_is_refused_by_the_holder_and_the_command_fails(type_in, served):
    network = ["--validator", "demo=opaque", "--bootstrap", served]
    type_in("put", "/demo/y", "2", *network)
    worse = type_in("put", "/demo/y", "1", *network)
    assert (worse.code, worse.out.split()[0]) == (exits.FAILED, "refused")


def test_content_that_was_provided_is_found(type_in, served):
    assert type_in("findprovs", CONTENT, "--bootstrap", served).code == exits.NOT_FOUND
    announced = type_in("provide", CONTENT, "--bootstrap", served, "--announce", "/ip4/127.0.0.1/tcp/9/")
    assert announced.code == exits.DONE
    (provider,) = type_in("findprovs", CONTENT, "--bootstrap", served).objects
    assert provider["addresses"] == [f"/ip4/127.0.0.1/tcp/9/p2p/{provider['id']}"]


def test_a_peer_is_found_by_its_id_and_pinged(type_in, served):
    peer = served.rpartition("/")[2]
    assert type_in("findpeer", peer, "--bootstrap", served).objects == [{"id": peer, "addresses": [served]}]
    assert type_in("ping", peer, "--count", "1", "--bootstrap", served).out.endswith(" ms\n")


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (["findprovs", "nonsense"], "'nonsense'"),
        (["provide", "nonsense"], "'nonsense'"),
        (["findpeer", "nonsense"], "'nonsense'"),
        (["ping", "nonsense"], "'nonsense'"),
        (["ping", "/ip4/127.0.0.1/tcp/1"], "/ip4/127.0.0.1/tcp/1"),
        (["run", "--listen", "nonsense"], "'nonsense'"),
        (["run", "--bootstrap", "/ip4/127.0.0.1/tcp/1"], "/ip4/127.0.0.1/tcp/1"),
        (["run", "--data-dir", "/dev/null/state"], "/dev/null/state"),
    ],
)
def test_what_only_the_node_can_judge_is_usage_too(type_in, served, command, named):
    ended = type_in(*command, *([] if "--bootstrap" in command else ["--bootstrap", served]))
    assert (ended.code, ended.err.count("\n"), ended.out) == (exits.USAGE, 1, "")
    assert named in ended.err


@pytest.mark.scenario("H7")
def test_a_port_that_is_taken_is_named_with_the_way_out(type_in, served):
    address = served.partition("/p2p/")[0]
    ended = type_in("run", "--listen", address, "--data-dir", "")
    (line,) = ended.err.splitlines()
    assert (ended.code, address in line, "--listen" in line) == (exits.USAGE, True, True)


def test_a_server_that_is_not_there_is_named_with_the_reason(type_in, served):
    nobody = "/ip4/127.0.0.1/tcp/1/p2p/" + served.rpartition("/")[2]
    ended = type_in("closest", "/demo/x", "--bootstrap", nobody)
    assert (ended.code, ended.err.count("\n")) == (exits.FAILED, 1)
    assert "refused" in ended.err


def test_a_running_node_is_asked_over_http_how_it_is(start):
    first = start("--json", "--data-dir", "", "--http", "127.0.0.1:0").ready()
    second = start("--json", "--data-dir", "", "--http", "127.0.0.1:0", "--bootstrap", first["addresses"][0]).ready()
    assert httpx.get(f"{first['http']}/health/live").status_code == 200
    for _ in range(100):
        health = httpx.get(f"{second['http']}/health")
        if health.status_code == 200:
            break
        time.sleep(0.1)
    assert health.json() == {"live": True, "ready": True, "reason": "1 peer in the routing table"}
    assert "\np2pkad_table_peers 1.0\n" in httpx.get(f"{second['http']}/metrics").text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("module", ["cyclopts", "trio"])
def test_a_command_that_is_stopped_while_it_loads_says_nothing(tmp_path, module, number):
    # Where an import is under way, as -X importtime tells: the modules that it brings come before it does.
    command = [sys.executable, "-X", "importtime", "-m", "p2pkad", "status", "--data-dir", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as loading:
        said = []
        for line in loading.stderr:
            said.append(line)
            if line.rpartition("|")[2].strip().startswith(f"{module}."):
                loading.send_signal(number)
                break
        said += loading.stderr.readlines()
        assert loading.wait(SECONDS) == 128 + number
    assert [line for line in said if not line.startswith("import time:")] == []


def test_nobody_has_to_read_what_a_command_says(tmp_path):
    made = subprocess.run(
        f"{sys.executable} -m p2pkad key new {tmp_path}/a.key >&-",
        shell=True,
        check=False,
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        timeout=SECONDS,
    )
    assert (made.returncode, made.stderr) == (exits.DONE, "")
    assert (tmp_path / "a.key").exists()
