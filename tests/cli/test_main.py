"""What there is to type, and what is said about a typing error."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import p2pkad
from p2pkad.cli import exits
from p2pkad.cli.main import COMMANDS, make_app
from tests.cli.conftest import ALICE, PEER

NAMES = [command.name for command in COMMANDS]


def test_help_lists_every_command(type_in):
    shown = type_in("--help")
    assert shown.code == 0
    assert [name for name in NAMES if f"│ {name.split()[0]} " not in shown.out] == []


def test_no_arguments_at_all_show_the_help(type_in):
    assert type_in().out == type_in("--help").out


@pytest.mark.parametrize("command", COMMANDS, ids=NAMES)
def test_help_of_a_command_ends_with_an_example_that_can_be_typed(type_in, command):
    shown = type_in(*command.name.split(), "--help")
    assert shown.code == 0
    _, _, example = shown.out.partition("Example:")
    assert " ".join(example.replace("\\\n", "").split()) == command.example


@pytest.mark.parametrize("name", ["put", "provide"])
def test_who_stores_something_is_told_when_it_ends(type_in, name):
    lifetimes = {p2pkad.KademliaConfig().record_lifetime, p2pkad.KademliaConfig().provider_lifetime}
    assert lifetimes == {2 * 24 * 3600.0}
    shown = " ".join(type_in(name, "--help").out.split())
    assert "peers drop it after two days" in shown
    assert "Through the running node it lasts" in shown


@pytest.mark.parametrize("command", COMMANDS, ids=NAMES)
def test_each_option_of_a_command_says_what_it_is(type_in, command):
    shown = type_in(*command.name.split(), "--help").out
    rows = [line.strip("│ ") for line in shown.splitlines() if line.startswith("│ --")]
    assert [row for row in rows if len(row.split(maxsplit=2)) < 3] == []


@pytest.mark.parametrize(
    ("words", "unneeded"),
    [
        (["--help"], ["libp2p", "trio", "cryptography"]),
        (["status", "--data-dir", "/nowhere"], ["libp2p", "structlog", "p2pkad.cli.local"]),
    ],
    ids=["help", "asking the node that runs"],
)
def test_what_a_command_does_not_need_is_not_loaded(words, unneeded):
    program = (
        "import sys\n"
        "from p2pkad.cli.main import main\n"
        f"main({words})\n"
        f"sys.exit([name for name in {unneeded} if name in sys.modules] or 0)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_the_version_is_that_of_the_package(type_in):
    assert type_in("--version").out.strip() == p2pkad.__version__


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["gett", "/demo/x"], "gett"),
        (["get"], "KEY"),
        (["get", "/demo/x", "and more"], "'and more': nothing more is expected. Try: p2pkad get --help"),
        (["get", "/demo/x", "--kay", "3"], "--kay"),
        (["get", "/demo/x", "--k", "three"], "three"),
        (["get", "/demo/x", "--scope", "galaxy"], "galaxy"),
        (["get", "/demo/x"], "--bootstrap"),
        (["get", "", "--bootstrap", PEER], "key"),
        (["get", "hex:abc", "--bootstrap", PEER], "hex:abc"),
        (["get", "/demo/x", "--bootstrap", PEER, "--timeout", "0"], "--timeout"),
        (["get", "/demo/x", "--bootstrap", PEER, "--timeout", "nan"], "--timeout"),
        (["get", "/demo/x", "--bootstrap", PEER, "--k", "0"], "k=0"),
        (["get", "/demo/x", "--bootstrap", PEER, "--validator", "demo"], "NS=KIND"),
        (
            ["get", "/demo/x", "--bootstrap", PEER, "--validator", "a=pk", "--validator", "a=ipns"],
            "a=pk a=ipns: name each namespace once",
        ),
        (["get", "/demo/x", "--bootstrap", PEER, "--validator", "demo=magic"], "opaque"),
        (["get", "/demo/x", "--bootstrap", PEER, "--default-validator", "magic"], "magic"),
        (["put", "/demo/x", "@/no/such/file", "--bootstrap", PEER], "/no/such/file"),
        (["run", "--mode", "leader"], "leader"),
        (["run", "--mode", "leader"], "Try: p2pkad run --help"),
        (["key", "new", "--bad"], "Try: p2pkad key new --help"),
        (["nonsense"], "Try: p2pkad --help"),
        (["run", "--protocol", "kad"], "protocol"),
        (["closest", "/demo/x", "--count", "0", "--bootstrap", PEER], "--count"),
        (["run", "--validator", "a=signed:"], "NS=KIND"),
        (["run", "--validator", "a=pk:x"], "NS=KIND"),
        (["findprovs", "x", "--count", "-1", "--bootstrap", PEER], "--count"),
        (["ping", PEER, "--count", "0"], "--count"),
        (["ping", PEER, "--count", "63"], "--count 63: one each 1 s takes more than the 60 s that there are"),
        (["ping", PEER, "--count", "63"], "pass a longer --timeout"),
        (["ping", str(ALICE)], "--bootstrap"),
        (["ping", "foo"], "'foo': no peer id; expected base58"),
        (["ping", "foo"], "or an address that ends in /p2p/<peer id>"),
        (["ping", "/ip4/127.0.0.1/tcp/1"], "'/ip4/127.0.0.1/tcp/1' does not say who and where"),
        (["ping", "/ip4/127.0.0.1/tcp/1/p2p/foo"], "/ip4/127.0.0.1/tcp/1/p2p/foo: 'foo': no peer id"),
        (["findpeer", "foo"], "'foo': no peer id; expected base58"),
    ],
)
def test_bad_input_gets_one_line_that_names_it_and_code_2(type_in, node, words, named):
    ended = type_in(*words)
    assert ended.code == exits.USAGE
    assert ended.err.count("\n") == 1
    assert ended.err.startswith("p2pkad: ")
    assert named in ended.err
    assert ended.out == ""
    assert node.calls == []


def arguments(command):
    """What a command takes, as it is read."""
    app = make_app()
    for word in command.name.split():
        app = app[word]
    return app.assemble_argument_collection()


def counts(command):
    """The options of a command that take a whole number."""
    return [each.name for each in arguments(command) if each.hint in (int, int | None)]


@pytest.mark.parametrize("command", COMMANDS, ids=NAMES)
def test_a_count_that_is_not_whole_is_refused_wherever_one_is_typed(type_in, monkeypatch, command):
    words = [*command.name.split(), *("x" for each in arguments(command) if not each.name.startswith("-"))]
    for option in counts(command):
        for number in ("300.9", "1.0"):
            ended = type_in(*words, f"{option}={number}")
            assert (ended.code, f"{option}: {number} is no whole number" in ended.err) == (exits.USAGE, True)
        variable = "P2PKAD_" + option.removeprefix("--").replace("-", "_").upper()
        monkeypatch.setenv(variable, "1.5")
        ended = type_in(*words)
        assert (ended.code, f"{variable}: 1.5 is no whole number" in ended.err) == (exits.USAGE, True)
        monkeypatch.delenv(variable)


def test_commands_that_count_are_known_to_take_whole_numbers():
    found = {command.name: counts(command) for command in COMMANDS}
    assert {"--k", "--max-connections", "--max-store-bytes"} <= set(found["run"])
    assert ["--min-stored" in found["put"], "--quorum" in found["get"]] == [True, True]
    assert ["--count" in found[name] for name in ("findprovs", "closest", "ping")] == [True] * 3


def test_a_bug_gets_one_line_too_and_the_way_to_its_traceback(type_in, node, monkeypatch):
    node.answers["get_record"] = ZeroDivisionError("division by zero")
    words = ["get", "/pk/x", "--bootstrap", PEER]
    ended = type_in(*words)
    assert ended.code == exits.FAILED
    assert ended.err.count("\n") == 1
    assert "P2PKAD_DEBUG=1" in ended.err
    monkeypatch.setenv("P2PKAD_DEBUG", "1")
    assert "raise answer\nZeroDivisionError: division by zero" in type_in(*words).err


def test_ctrl_c_while_the_event_loop_begins_is_no_error(type_in, monkeypatch):
    def stopped(*_, **__):
        raise BaseExceptionGroup("in a nursery", [KeyboardInterrupt()])

    monkeypatch.setattr("p2pkad.cli.status.ask", stopped)
    ended = type_in("status")
    assert (ended.code, ended.err) == (exits.INTERRUPTED, "")


def test_options_come_from_the_environment_too(type_in, node, monkeypatch):
    node.answers["get_record"] = p2pkad.NotFound("/pk/x", asked=1, answered=1)
    monkeypatch.setenv("P2PKAD_BOOTSTRAP", f"{PEER} {PEER}1")
    monkeypatch.setenv("P2PKAD_DIAL_TIMEOUT", "0.5")
    monkeypatch.setenv("P2PKAD_K", "7")
    type_in("get", "/pk/x", "--k", "8")
    assert node.config.bootstrap == (PEER, f"{PEER}1")
    assert node.config.dial_timeout == 0.5
    assert node.config.k == 8


def test_the_environment_names_no_key_and_no_value(type_in, monkeypatch):
    monkeypatch.setenv("P2PKAD_KEY", "/pk/x")
    monkeypatch.setenv("P2PKAD_BOOTSTRAP", PEER)
    ended = type_in("get")
    assert (ended.code, "KEY" in ended.err) == (exits.USAGE, True)


def test_a_bad_value_in_the_environment_is_named_with_its_variable(type_in, monkeypatch):
    monkeypatch.setenv("P2PKAD_K", "many")
    ended = type_in("get", "/pk/x")
    assert (ended.code, "P2PKAD_K" in ended.err) == (exits.USAGE, True)


def test_a_reader_that_has_left_is_no_error_worth_a_line():
    program = (
        "import sys\n"
        "from cyclopts import App\n"
        "from p2pkad.cli import main, output, process\n"
        "async def work(): output.line('data')\n"
        "app = App(exit_on_error=False)\n"
        "app.default(lambda: process.execute(work))\n"
        "main.make_app = lambda origins: app\n"
        "sys.exit(main.main([]))"
    )
    read_end, write_end = os.pipe()
    os.close(read_end)
    run = subprocess.run([sys.executable, "-c", program], stdout=write_end, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write_end)
    assert (run.returncode, run.stderr) == (exits.PIPE_CLOSED, "")


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["key", "--help"], ["--version"], ["config"], ["man"]])
def test_nor_is_one_that_has_seen_enough_of_what_is_shown(words):
    read_end, write_end = os.pipe()
    os.close(read_end)
    command = [sys.executable, "-m", "p2pkad", *words]
    run = subprocess.run(command, stdout=write_end, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write_end)
    assert (run.returncode, run.stderr) == (exits.PIPE_CLOSED, "")
