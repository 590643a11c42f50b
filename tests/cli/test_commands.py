"""What each command asks of a node, and what it prints of the answer."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import trio

import p2pkad
from p2pkad.cli import exits
from p2pkad.cli.words import key_of
from tests.cli.conftest import ALICE, BOB, OWN, PEER, info, peers_found

DEMO = ["--validator", "demo=opaque", "--bootstrap", PEER]
CONTENT = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"


def receipt(stored=(OWN, ALICE), refused=(), unreachable=()):
    return SimpleNamespace(key=b"/demo/x", stored=stored, refused=refused, unreachable=unreachable)


def found(value=b"hello", holders=(ALICE, BOB)):
    return SimpleNamespace(key=b"/demo/x", value=value, holders=holders, asked=5, answered=4, complete=True)


def test_put_prints_who_stored_refused_and_did_not_answer(type_in, node):
    node.answers["put_value"] = receipt(stored=(OWN, ALICE), refused=(BOB,), unreachable=())
    ended = type_in("put", "/demo/x", "hello", *DEMO)
    assert node.calls == [("put_value", (b"/demo/x", b"hello"), {"allow_large": False, "timeout": 60.0})]
    assert ended.out == f"stored {ALICE}\nrefused {BOB}\n"
    assert ended.code == exits.DONE


def test_put_says_the_same_in_json(type_in, node):
    node.answers["put_value"] = receipt(unreachable=(BOB,))
    (told,) = type_in("put", "/demo/x", "hello", *DEMO, "--json").objects
    assert told == {"key": "/demo/x", "stored": [str(ALICE)], "refused": [], "unreachable": [str(BOB)]}


def test_put_does_not_count_the_copy_that_ends_with_it(type_in, node):
    node.answers["put_value"] = receipt(stored=(OWN,))
    assert type_in("put", "/demo/x", "hello", *DEMO).code == exits.FAILED
    node.answers["put_value"] = receipt(stored=(OWN, ALICE))
    assert type_in("put", "/demo/x", "hello", *DEMO).code == exits.DONE
    ended = type_in("put", "/demo/x", "hello", *DEMO, "--min-stored", "2")
    assert (ended.code, ended.err) == (exits.FAILED, "p2pkad: /demo/x: held by 1, 2 were asked for\n")


def test_put_reads_standard_input_and_values_that_look_like_options(type_in, node):
    node.answers["put_value"] = receipt()
    type_in("put", "/demo/x", "-", *DEMO, standard_input=b"\x00\xff")
    type_in("put", "/demo/x", "-5", *DEMO, "--allow-large")
    assert [args[1] for _, args, _ in node.calls] == [b"\x00\xff", b"-5"]
    assert node.calls[1][2]["allow_large"] is True


def test_get_prints_the_bytes_of_the_value_and_nothing_else(type_in, node):
    node.answers["get_record"] = found(value=b"no newline")
    ended = type_in("get", "/demo/x", *DEMO, "--quorum", "2")
    assert node.calls == [("get_record", (b"/demo/x",), {"quorum": 2, "timeout": 60.0})]
    assert (ended.code, ended.out, ended.err) == (exits.DONE, "no newline", "")


def test_get_says_in_json_where_the_value_comes_from(type_in, node):
    node.answers["get_record"] = found(value=b"\x00\xff")
    (told,) = type_in("get", "hex:2f64656d6f2f78", *DEMO, "--json").objects
    assert told == {
        "key": "hex:2f64656d6f2f78",
        "value": "AP8=",
        "from": [str(ALICE), str(BOB)],
        "asked": 5,
        "answered": 4,
        "complete": True,
    }


def test_a_value_that_too_few_agree_on_is_not_printed_and_it_is_said_how_it_would_be(type_in, node):
    node.answers["get_record"] = p2pkad.QuorumNotMet("/demo/x: 2 of 9 equal answers", agreed=2, best=b"hello")
    ended = type_in("get", "/demo/x", *DEMO, "--quorum", "9")
    said = "p2pkad: /demo/x: 2 of 9 equal answers. --quorum 0 prints the best value that is found\n"
    assert (ended.code, ended.out, ended.err) == (exits.FAILED, "", said)


@pytest.mark.parametrize(
    ("words", "size", "helps"), [([], 20_000, True), (["--allow-large"], 20_000, False), ([], 5_000_000, False)]
)
def test_a_large_value_is_refused_with_the_option_that_sends_it_where_it_would(type_in, node, words, size, helps):
    node.answers["put_value"] = p2pkad.RecordTooLarge(b"/demo/x", size, 16384)
    ended = type_in("put", "/demo/x", "y", *words, *DEMO)
    assert (ended.code, ended.err.endswith("takes. --allow-large sends it all the same, and some take it\n")) == (2, helps)


@pytest.mark.parametrize("command", [["put", "/other/x", "hello"], ["get", "/other/x"]])
def test_a_namespace_without_rules_is_refused_with_the_option_that_gives_them(type_in, node, command):
    node.answers["put_value"] = node.answers["get_record"] = p2pkad.NoValidator(b"/other/x", "no validator")
    ended = type_in(*command, *DEMO)
    assert ended.code == exits.USAGE
    assert "Known namespaces: pk=pk, demo=opaque; --validator NS=KIND adds one, --default-validator KIND" in ended.err


@pytest.mark.parametrize(
    ("key", "meant"), [("demo/x", " Did you mean /demo/x?"), ("demo", ""), ("hex:64656d6f2f78", ""), ("/other/x", "")]
)
def test_a_key_without_its_slash_is_said_back_with_it(type_in, node, key, meant):
    node.answers["put_value"] = p2pkad.NoValidator(key_of(key), "there are no rules for it")
    ended = type_in("put", key, "y", *DEMO)
    assert ended.code == exits.USAGE
    assert ended.err.startswith(f"p2pkad: {key}: there are no rules for it.{meant} Known namespaces")


def test_what_is_no_text_is_no_key():
    with pytest.raises(exits.UsageError, match=r"'\\ud800': that is no text; write the bytes of the key behind hex:"):
        key_of("\ud800")


@pytest.mark.parametrize("key", ["/demo/x", "/other/x", "hex:00"])
def test_what_rules_refuse_takes_no_other_option(type_in, node, key):
    node.answers["put_value"] = p2pkad.InvalidRecord(key_of(key), "an empty value")
    ended = type_in("put", key, "", *DEMO)
    assert (ended.code, ended.err) == (exits.USAGE, f"p2pkad: {key}: an empty value\n")


def test_provide_prints_who_was_told(type_in, node):
    node.answers["provide"] = p2pkad.ProvideReceipt(key=b"\x12\x20", sent=(ALICE,), unreachable=(BOB,), confirmed=(ALICE,))
    assert type_in("provide", CONTENT, "--bootstrap", PEER).out == f"sent {ALICE}\nunreachable {BOB}\nconfirmed {ALICE}\n"
    (told,) = type_in("provide", CONTENT, "--bootstrap", PEER, "--json").objects
    empty = {"refused": [], "unknown": []}
    assert told == {"key": "hex:1220", "sent": [str(ALICE)], "unreachable": [str(BOB)], "confirmed": [str(ALICE)], **empty}
    assert node.config.listen == ("/ip4/0.0.0.0/tcp/0",)
    assert node.calls[0] == ("provide", (CONTENT,), {"confirm": True, "timeout": 60.0})


@pytest.mark.parametrize(
    ("words", "method"),
    [
        (["provide", CONTENT], "provide"),
        (["findprovs", CONTENT], "stream_providers"),
        (["get", "/démo/ü"], "get_record"),
        (["closest", "two words"], "closest_peers"),
    ],
)
def test_an_error_names_what_was_typed_and_not_its_bytes(type_in, node, words, method):
    node.answers[method] = p2pkad.LookupFailed("hex:12209d6c2be50f706c8018e58fb: nobody is there: not one")
    ended = type_in(*words, "--bootstrap", PEER)
    assert (ended.code, ended.err) == (exits.FAILED, f"p2pkad: {words[1]}: nobody is there: not one\n")


def test_provide_that_reached_nobody_has_failed(type_in, node):
    node.answers["provide"] = p2pkad.QuorumNotMet("announced to none of 1 peers")
    ended = type_in("provide", CONTENT, "--bootstrap", PEER)
    assert (ended.code, ended.out, ended.err) == (exits.FAILED, "", "p2pkad: announced to none of 1 peers\n")


def test_addresses_that_end_with_the_command_are_a_warning_unless_others_are_named(type_in, node):
    node.answers["provide"] = p2pkad.ProvideReceipt(key=b"\x12\x20", sent=(ALICE,))
    fleeting = [], ["--listen", "/ip4/192.0.2.1/tcp/0"], ["--listen", "/ip6/::/udp/0/quic-v1"]
    lasting = (
        ["--announce", "/ip4/192.0.2.1/tcp/4001"],
        ["--listen", "/ip4/0.0.0.0/tcp/4001"],
        [*fleeting[1], "--listen", "/ip4/0.0.0.0/tcp/1"],
    )
    for words in fleeting:
        said = type_in("provide", CONTENT, "--bootstrap", PEER, *words).err
        assert said.startswith("p2pkad: warning: the addresses that were announced end with this command; name lasting ones")
    for words in lasting:
        assert type_in("provide", CONTENT, "--bootstrap", PEER, *words).err == ""


@pytest.mark.parametrize("command", [["stop-publishing", "/demo/x"], ["stop-providing", CONTENT]])
def test_what_takes_a_node_that_stays_is_not_sent_to_the_network(type_in, node, command, tmp_path):
    ended = type_in(*command, "--data-dir", str(tmp_path))
    said = f"p2pkad: no node runs with {tmp_path}. Start one with `p2pkad run`, or name its --data-dir\n"
    assert (ended.code, ended.err) == (exits.USAGE, said)


ABOUT_THE_NODE = (["status"], ["peers"], ["doctor"])
ASKING = (["get", "/demo/x"], ["put", "/demo/x", "1"], ["provide", CONTENT], ["findprovs", CONTENT], ["closest", "/demo/x"])


@pytest.mark.parametrize("source", ["environment", "file"])
@pytest.mark.parametrize("command", ABOUT_THE_NODE)
def test_a_node_that_is_down_is_not_well_wherever_bootstrap_peers_are_configured(
    type_in, node, tmp_path, monkeypatch, command, source
):
    if source == "file":
        (tmp_path / "config.toml").write_text(f'[node]\nbootstrap = ["{PEER}"]\n')
        monkeypatch.setenv("P2PKAD_CONFIG", str(tmp_path / "config.toml"))
    else:
        monkeypatch.setenv("P2PKAD_BOOTSTRAP", PEER)
    for state, words in (("state", []), ("other", ["--data-dir", str(tmp_path / "other")])):
        ended = type_in(*command, *words)
        assert (ended.code, ended.out) == (exits.USAGE, "")
        assert ended.err.startswith(f"p2pkad: no node runs with {tmp_path / state}. Start one with `p2pkad run`")
    assert not node.closed, "none was opened"


@pytest.mark.parametrize("command", [*ASKING, ["ping", PEER]])
def test_where_the_directory_of_a_node_is_typed_nobody_is_asked_in_its_stead(type_in, node, tmp_path, monkeypatch, command):
    monkeypatch.setenv("P2PKAD_BOOTSTRAP", PEER)
    ended = type_in(*command, "--data-dir", str(tmp_path))
    assert (ended.code, ended.out, node.calls) == (exits.USAGE, "", [])
    assert ended.err.startswith(f"p2pkad: no node runs with {tmp_path}. Start one with `p2pkad run`")


def test_who_asks_with_peers_that_were_not_typed_hears_that_it_is_not_the_node(type_in, node, tmp_path, monkeypatch):
    node.answers |= {
        "get_record": found(),
        "put_value": receipt(),
        "provide": p2pkad.ProvideReceipt(key=b"\x12\x20", sent=(ALICE,)),
        "stream_providers": peers_found(info(BOB)),
        "closest_peers": peers_found(info(BOB)),
    }
    monkeypatch.setenv("P2PKAD_BOOTSTRAP", PEER)
    monkeypatch.setenv("P2PKAD_VALIDATOR", "demo=opaque")
    monkeypatch.setenv("P2PKAD_ANNOUNCE", "/ip4/192.0.2.1/tcp/4001")
    asks = f"p2pkad: warning: no node runs with {tmp_path / 'state'}: a client of this command asks"
    lost = {"put": ", and nobody renews what it stores", "provide": ", and nobody renews what it announces"}
    for command in ASKING:
        ended = type_in(*command)
        assert (ended.code, ended.err) == (exits.DONE, f"{asks}{lost.get(command[0], '')}\n")
        for words in (["--data-dir", ""], ["--bootstrap", PEER], ["--bootstrap", PEER, "--data-dir", str(tmp_path)]):
            assert (type_in(*command, *words).code, type_in(*command, *words).err) == (exits.DONE, "")


def test_findprovs_prints_each_provider_with_complete_addresses(type_in, node):
    node.answers["stream_providers"] = peers_found(info(ALICE, 1, 2), info(BOB))
    ended = type_in("findprovs", CONTENT, "--bootstrap", PEER)
    assert node.calls == [("stream_providers", (CONTENT,), {"count": 20, "timeout": 60.0})]
    assert ended.objects == [
        {"id": str(ALICE), "addresses": [f"/ip4/127.0.0.1/tcp/{port}/p2p/{ALICE}" for port in (1, 2)]},
        {"id": str(BOB), "addresses": []},
    ]


def test_findprovs_that_finds_nobody_says_so(type_in, node):
    node.answers["stream_providers"] = peers_found()
    ended = type_in("findprovs", CONTENT, "--bootstrap", PEER, "--count", "0")
    assert node.calls[0][2]["count"] is None
    said = f"p2pkad: {CONTENT}: a provider: not found (3 asked, 3 answered)\n"
    assert (ended.code, ended.out, ended.err) == (exits.NOT_FOUND, "", said)


@pytest.mark.parametrize(
    ("words", "call"), [(["findprovs", CONTENT], "stream_providers"), (["closest", "/v/x"], "closest_peers")]
)
@pytest.mark.parametrize(("answered", "why"), [(0, "nobody answered"), (2, "not found in time, and may be there")])
def test_a_search_that_few_answered_does_not_say_that_there_is_nobody(type_in, node, words, call, answered, why):
    node.answers[call] = peers_found(answered=answered)
    ended = type_in(*words, "--bootstrap", PEER)
    assert (ended.code, ended.out) == (exits.TIMED_OUT, "")
    assert ended.err.endswith(f": {why} (3 asked, {answered} answered)\n")


def test_findpeer_prints_where_the_peer_is(type_in, node):
    node.answers["find_peer"] = info(BOB, 7)
    ended = type_in("findpeer", str(BOB), "--bootstrap", PEER)
    assert node.calls == [("find_peer", (str(BOB),), {"timeout": 60.0})]
    assert ended.objects == [{"id": str(BOB), "addresses": [f"/ip4/127.0.0.1/tcp/7/p2p/{BOB}"]}]


def test_closest_prints_peers_in_the_order_they_came(type_in, node):
    node.answers["closest_peers"] = peers_found(info(BOB), info(ALICE))
    ended = type_in("closest", "/demo/x", "--bootstrap", PEER, "--count", "2", "--timeout", "5")
    assert node.calls == [("closest_peers", (b"/demo/x",), {"count": 2, "timeout": 5.0})]
    assert [each["id"] for each in ended.objects] == [str(BOB), str(ALICE)]


def test_ping_needs_no_network_when_it_is_told_where(type_in, node):
    node.answers["ping"] = 0.0031
    assert type_in("ping", PEER, "--count", "1").out == "3.100 ms\n"
    assert type_in("ping", PEER, "--count", "1", "--json").objects == [{"peer": PEER, "milliseconds": 3.1}]
    assert node.config.bootstrap == ()


def test_commands_that_ask_are_clients_that_listen_nowhere(type_in, node):
    node.answers["closest_peers"] = peers_found(info(BOB))
    type_in("closest", "/demo/x", "--bootstrap", PEER, "--protocol", "/x/kad/1.0.0")
    assert (node.config.mode, node.config.listen, node.config.protocol) == ("client", (), "/x/kad/1.0.0")
    assert node.config.data_dir is None


def test_provide_takes_the_key_of_a_data_directory_and_leaves_the_rest_to_the_node_on_it(type_in, node, tmp_path):
    node.answers["provide"] = SimpleNamespace(
        key=b"\x12", sent=(ALICE,), refused=(), unreachable=(), confirmed=(ALICE,), unknown=()
    )
    own = p2pkad.Identity.in_directory(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert type_in("provide", CONTENT, "--data-dir", str(tmp_path), "--bootstrap", PEER).code == exits.DONE
    assert (node.config.identity.id, node.config.data_dir) == (own.id, None)
    assert sorted(tmp_path.iterdir()) == before


def test_a_command_ends_with_its_time(type_in, node, monkeypatch):
    monkeypatch.setattr("p2pkad.cli.client.GRACE", 0.01)
    node.answers["closest_peers"] = trio.sleep_forever
    ended = type_in("closest", "/demo/x", "--bootstrap", PEER, "--timeout", "0.01")
    assert ended.code == exits.TIMED_OUT
    assert "no result within 0.01 s" in ended.err
    assert node.closed


def test_when_nobody_answers_the_first_bootstrap_peer_is_asked_why(type_in, node):
    node.answers["closest_peers"] = p2pkad.NoPeers("/demo/x")
    node.answers["connect"] = p2pkad.PeerUnreachable(ALICE, [("/ip4/127.0.0.1/tcp/4001", "connection refused")])
    ended = type_in("closest", "/demo/x", "--bootstrap", PEER)
    assert (ended.code, "connection refused" in ended.err) == (exits.FAILED, True)
    assert node.calls[1] == ("connect", (PEER,), {"timeout": 5.0})


def test_a_bootstrap_peer_of_another_network_is_told_apart(type_in, node):
    node.answers["closest_peers"] = p2pkad.NoPeers("/demo/x")
    node.answers["connect"] = ALICE
    ended = type_in("closest", "/demo/x", "--bootstrap", PEER, "--protocol", "/x/kad/1.0.0")
    assert "answers nothing on /x/kad/1.0.0" in ended.err


@pytest.mark.parametrize("seconds", ["nan", "inf", "0", "-1"])
def test_a_time_that_is_none_is_refused(type_in, seconds):
    ended = type_in("get", "/demo/x", "--bootstrap", PEER, "--timeout", seconds)
    assert (ended.code, "--timeout" in ended.err) == (exits.USAGE, True)
