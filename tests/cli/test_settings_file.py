"""Options from a TOML file: what may stand in it, what goes before it, and the file that has them all."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import p2pkad
from p2pkad.cli import exits, settings_file
from p2pkad.cli.main import make_app
from p2pkad.cli.options import Asking, Logging, Namespaces, NodeOptions
from p2pkad.errors import ConfigError
from tests.cli.conftest import ALICE, PEER

NO_PORT = f"/ip4/127.0.0.1/p2p/{ALICE}"


@pytest.fixture
def file(tmp_path, monkeypatch) -> Path:
    """Where the file is when nobody says where."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = tmp_path / "p2pkad" / "config.toml"
    path.parent.mkdir()
    return path


@pytest.fixture
def asked(type_in, node):
    node.answers["get_record"] = p2pkad.NotFound("/pk/x", asked=1, answered=1)
    return lambda *words: type_in("get", "/pk/x", *words)


def test_what_is_typed_goes_before_the_environment_and_that_before_the_file(asked, node, file, monkeypatch):
    file.write_text(f'[node]\nbootstrap = ["{PEER}"]\nk = 7\nalpha = 5\nbeta = 2\ndial_timeout = 3\n[ask]\ntimeout = 9\n')
    monkeypatch.setenv("P2PKAD_ALPHA", "4")
    monkeypatch.setenv("P2PKAD_BETA", "1")
    asked("--beta", "3")
    assert node.config.bootstrap == (PEER,)
    assert (node.config.k, node.config.alpha, node.config.beta, node.config.dial_timeout) == (7, 4, 3, 3.0)
    assert node.calls[0][2]["timeout"] == 9.0


def test_a_list_whose_variable_is_empty_has_nothing_in_it(asked, node, file, monkeypatch):
    file.write_text(f'[node]\nbootstrap = ["{PEER}"]\nvalidator = ["demo=opaque"]\nsecurity = ["tls"]\nlisten = []\n')
    for name in ("BOOTSTRAP", "VALIDATOR", "SECURITY"):
        monkeypatch.setenv(f"P2PKAD_{name}", "")
    refusal = "p2pkad: security=(): name one or both of 'noise' and 'tls' (from P2PKAD_SECURITY)\n"
    assert asked("--bootstrap", PEER).err == refusal
    _, run, _ = make_app().parse_args(["run"])
    assert (run.kwargs["options"].bootstrap, run.kwargs["options"].listen) == ((), ())
    monkeypatch.delenv("P2PKAD_SECURITY")
    ended = asked()
    assert (ended.code, "Start one with `p2pkad run`" in ended.err) == (exits.USAGE, True)
    asked("--bootstrap", PEER)
    assert (node.config.bootstrap, list(node.config.validators), node.config.security) == ((PEER,), [], ("tls",))


def test_a_file_can_be_named(asked, node, tmp_path, file, monkeypatch):
    file.write_text(f'[node]\nbootstrap = ["{PEER}"]\nk = 7\n')
    other = tmp_path / "other.toml"
    other.write_text(f'[node]\nbootstrap = ["{PEER}"]\nk = 8\n')
    asked("--config", str(other))
    assert node.config.k == 8
    monkeypatch.setenv("P2PKAD_CONFIG", str(other))
    asked()
    assert node.config.k == 8
    ended = asked("--config", "/no/such.toml")
    assert (ended.code, ended.err.count("\n"), "/no/such.toml" in ended.err) == (exits.USAGE, 1, True)


def test_truth_and_empty_lists_can_stand_in_it(type_in, node, file):
    file.write_text('[node]\nallow_zero_peers = true\nlisten = []\nvalidator = ["demo=opaque"]\n[ask]\njson = true\n')
    node.answers["put_value"] = p2pkad.PutReceipt(key=b"/demo/x", stored=())
    assert type_in("put", "/demo/x", "1", "--bootstrap", PEER).objects[0]["stored"] == []
    assert node.config.allow_zero_peers is False  # no option of put
    assert list(node.config.validators) == ["demo"]


def test_an_empty_list_of_bootstrap_peers_is_none(asked, file):
    file.write_text("[node]\nbootstrap = []\n")
    ended = asked()
    assert (ended.code, "Start one with `p2pkad run`" in ended.err) == (exits.USAGE, True)


def test_how_commands_ask_is_not_how_a_node_or_a_key_is_shown(type_in, file, tmp_path, monkeypatch):
    monkeypatch.delenv("P2PKAD_DATA_DIR")
    file.write_text(f'[node]\ndata_dir = "{tmp_path}/here"\nk = 7\n[ask]\njson = true\ntimeout = 9\n')
    assert type_in("key", "new").out.startswith("id ")
    assert type_in("key", "show").out.endswith(f"{tmp_path}/here/identity.key\n")
    assert type_in("key", "show", "--json").objects[0]["file"] == f"{tmp_path}/here/identity.key"
    _, run, _ = make_app().parse_args(["run"])
    assert (run.kwargs.get("json", False), run.kwargs["options"].k) == (False, 7)


def test_where_a_node_listens_is_not_where_a_command_does(type_in, node, file):
    file.write_text('[node]\nlisten = ["/ip4/0.0.0.0/tcp/4001"]\nannounce = ["/ip4/192.0.2.1/tcp/4001"]\n')
    node.answers["provide"] = p2pkad.ProvideReceipt(key=b"\x12\x20", sent=())
    type_in("provide", "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy", "--bootstrap", PEER)
    assert (node.config.listen, node.config.announce) == (("/ip4/0.0.0.0/tcp/0",), ())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[node]\nbootstap = ["x"]\n', 'unknown key "bootstap" in [node]. Did you mean "bootstrap"?'),
        ("[node]\nlog_level = 'info'\n", 'unknown key "log_level" in [node]. It belongs to [log].'),
        ("[ask]\ndata_dir = '/x'\n", 'unknown key "data_dir" in [ask]. It belongs to [node].'),
        ("[nodes]\nk = 3\n", "unknown table [nodes]. Did you mean [node]?"),
        ("k = 3\n", "k belongs below [node]"),
        ("[zzzzzz]\n", "unknown table [zzzzzz]. There are [node], [http], [log], [ask]."),
        (
            "[node]\nzzzzzz = 3\n",
            f'unknown key "zzzzzz" in [node]. There are {len(settings_file.keys("node"))}: `p2pkad config` prints them.',
        ),
        ("node = 3\n", "[node] is a table"),
        ("[node]\nk = '3'\n", 'k in [node] has to be a whole number, and is "3"'),
        ("[node]\nk = true\n", "k in [node] has to be a whole number, and is true"),
        ("[node]\nk = 3.5\n", "k in [node] has to be a whole number, and is 3.5"),
        ("[node]\nbootstrap = 'x'\n", 'bootstrap in [node] has to be a list, each of it text, and is "x"'),
        ("[node]\nmode = 'leader'\n", 'mode in [node] has to be one of "server", "client", and is "leader"'),
        ("[node]\nallow_zero_peers = 1\n", "allow_zero_peers in [node] has to be true or false, and is 1"),
        ("[node\n", "this is not TOML"),
    ],
)
def test_what_cannot_stand_in_it_is_named_with_file_and_table(asked, file, text, sentence):
    file.write_text(text)
    ended = asked("--bootstrap", PEER)
    assert (ended.code, ended.err.count("\n")) == (exits.USAGE, 1)
    assert f"{file}: {sentence}" in ended.err


def test_a_value_that_cannot_work_is_refused_with_where_it_comes_from(asked, file, monkeypatch):
    file.write_text("[node]\nk = 0\nrequest_timeout = 0\n")
    words = ("--bootstrap", PEER)
    refusal = "p2pkad: k=0: must be 1 or more"
    ended = asked(*words)
    assert (ended.code, ended.err) == (exits.USAGE, f"{refusal} (from {file})\n")
    monkeypatch.setenv("P2PKAD_K", "0")
    assert asked(*words).err == f"{refusal} (from P2PKAD_K)\n"
    assert asked(*words, "--k", "0").err == f"{refusal}\n"
    assert asked(*words, "--k", "1").err == f"p2pkad: request_timeout=0.0: must be above 0, and finite (from {file})\n"


def test_of_values_that_do_not_go_together_those_that_were_not_typed_are_named(type_in, file, monkeypatch):
    file.write_text("[node]\nmax_connections = 10\n")
    refusal = "must be below max_connections=10"
    assert type_in("run").err == f"p2pkad: connection_reserve=16: {refusal} (max_connections from {file})\n"
    monkeypatch.setenv("P2PKAD_CONNECTION_RESERVE", "12")
    both = f"connection_reserve from P2PKAD_CONNECTION_RESERVE, max_connections from {file}"
    assert type_in("run").err == f"p2pkad: connection_reserve=12: {refusal} ({both})\n"
    assert type_in("run", "--max-connections", "4", "--connection-reserve", "4").err.endswith("max_connections=4\n")


def test_other_refusals_of_options_say_where_they_come_from_too(type_in, asked, file, monkeypatch):
    file.write_text('[http]\nhttp = "0.0.0.0:80"\n[ask]\ntimeout = 0\n')
    assert type_in("run", "--data-dir", "", "--listen", "/ip4/127.0.0.1/tcp/0").err.endswith(f" (from {file})\n")
    assert asked("--bootstrap", PEER).err == f"p2pkad: --timeout 0: must be above 0, and 86400 at most (from {file})\n"
    monkeypatch.setenv("P2PKAD_VALIDATOR", "demo")
    assert asked("--bootstrap", PEER, "--timeout", "5").err.endswith("as demo=opaque (from P2PKAD_VALIDATOR)\n")


def test_an_address_that_is_none_is_named_with_its_option_and_where_it_comes_from(type_in, file):
    file.write_text('[node]\nlisten = ["/ip4/0.0.0.0/tcp/99999"]\n')
    ended = type_in("run", "--data-dir", "")
    assert ended.code == exits.USAGE
    assert ended.err.startswith("p2pkad: listen: '/ip4/0.0.0.0/tcp/99999' is no multiaddr: ")
    assert ended.err.endswith(f". Write it as /ip4/0.0.0.0/tcp/4001 (from {file})\n")
    file.write_text('[node]\nbootstrap = ["/ip4/127.0.0.1/tcp/1"]\n')
    ended = type_in("run", "--data-dir", "")
    assert (ended.code, ended.err.startswith("p2pkad: bootstrap: '/ip4/127.0.0.1/tcp/1'")) == (exits.USAGE, True)
    assert ended.err.endswith(f"(from {file})\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "--bootstrap", NO_PORT), "bootstrap: /ip4/127.0.0.1 has no port"),
        (("get", "/pk/x", "--bootstrap", NO_PORT), "bootstrap: /ip4/127.0.0.1 has no port"),
        (("run", "--announce", "/ip4/192.0.2.1"), "announce: /ip4/192.0.2.1 has no port"),
        (("ping", NO_PORT), "/ip4/127.0.0.1 has no port"),
    ],
)
def test_an_address_without_a_port_is_refused_with_the_form_to_use(type_in, words, said):
    ended = type_in(*words, "--data-dir", "")
    assert (ended.code, ended.err.count("\n")) == (exits.USAGE, 1)
    assert ended.err.startswith(f"p2pkad: {said}. Write it behind the address, as /ip4/")


@pytest.mark.parametrize("address", ["/dnsaddr/name.invalid", "/dns4/name.invalid/tcp/1", "/ip4/127.0.0.1/udp/1/quic-v1"])
def test_what_is_dialled_and_leads_nowhere_lacks_no_port(type_in, address):
    ended = type_in("get", "/pk/x", "--bootstrap", f"{address}/p2p/{ALICE}", "--data-dir", "")
    assert (ended.code, "port" in ended.err) == (exits.FAILED, False)


BROKEN = "[nodes]\nk = 7\n"


@pytest.mark.parametrize(
    "words", [("config",), ("man",), ("completion", "bash"), ("key", "new", "a.key"), ("key", "new", "--data-dir", "a")]
)
def test_a_broken_file_is_no_matter_for_what_it_takes_to_mend_it(type_in, file, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("P2PKAD_DATA_DIR")
    file.write_text(BROKEN)
    ended = type_in(*words)
    assert (ended.code, ended.out != "") == (exits.DONE, True)
    said = f"p2pkad: the file that is there cannot be used: {file}: unknown table [nodes]. Did you mean [node]?\n"
    assert ended.err == (said if words == ("config",) else "")


@pytest.mark.parametrize("words", [("key", "show"), ("status",), ("run",)])
def test_a_broken_file_is_refused_where_it_says_what_is_meant(type_in, file, tmp_path, monkeypatch, words):
    monkeypatch.delenv("P2PKAD_DATA_DIR")
    file.write_text(BROKEN)
    ended = type_in(*words)
    assert (ended.code, f"{file}: unknown table [nodes]" in ended.err) == (exits.USAGE, True)


def test_without_a_file_there_is_none(asked, node, file):
    assert asked("--bootstrap", PEER).code == exits.NOT_FOUND


def test_the_printed_file_changes_nothing_and_has_every_option(type_in, tmp_path):
    text = type_in("config").out
    uncommented = re.sub(r"^#(\w+ = )", r"\1", text, flags=re.MULTILINE)
    path = tmp_path / "config.toml"
    path.write_text(uncommented)
    options = settings_file.read(path)
    for part in (NodeOptions(), Namespaces(), Logging(), Asking()):
        for name, value in vars(part).items():
            if name in settings_file.ELSEWHERE and part != NodeOptions():
                continue
            if value is None:
                assert f"# {name} has none by itself\n" in text
            else:
                assert options[name] == (list(value) if isinstance(value, tuple) else value)
    assert tomllib.loads(text) == {table: {} for table in settings_file.TABLES}


def test_a_variable_that_looks_like_an_option_is_warned_of(asked, monkeypatch):
    monkeypatch.setenv("P2PKAD_BOOTSTAP", PEER)
    monkeypatch.setenv("P2PKAD_MIN_STORED", "3")  # an option of another command
    monkeypatch.setenv("P2PKAD_K", "3")
    ended = asked("--bootstrap", PEER)
    warnings = [line for line in ended.err.splitlines() if "warning" in line]
    assert warnings == ["p2pkad: warning: P2PKAD_BOOTSTAP in the environment is no option. Did you mean P2PKAD_BOOTSTRAP?"]
    assert ended.code == exits.NOT_FOUND


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "x.toml").write_bytes(b"\xff")
    for path in (tmp_path, tmp_path / "x.toml"):
        with pytest.raises(ConfigError, match="cannot read it"):
            settings_file.read(path)
