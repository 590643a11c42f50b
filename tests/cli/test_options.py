"""Options are the fields of the configuration, and words become keys and values."""

from __future__ import annotations

import io
import re
from dataclasses import fields
from pathlib import Path

import pytest

import p2pkad
from p2pkad.cli.exits import UsageError
from p2pkad.cli.options import (
    OBJECTS,
    AskOptions,
    Namespaces,
    NodeOptions,
    OfferOptions,
    Watching,
    documentation,
    settings,
)
from p2pkad.cli.words import LARGEST_VALUE, key_of, state_home, value_of

CONFIG = {each.name: each.default for each in fields(p2pkad.Config)}


def test_every_field_of_a_config_is_an_option_of_run(type_in, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    shown = type_in("run", "--help").out
    missing = [name for name in CONFIG if name not in OBJECTS and f"--{name.replace('_', '-')} " not in shown]
    assert missing == []


@pytest.mark.parametrize("command", ["get", "put"])
def test_what_the_running_node_does_not_take_from_a_command_stands_below_a_heading_that_says_so(type_in, command):
    shown = type_in(command, "--help").out
    heading = re.search(r"The rules \(with --bootstrap: the running node has its own\)(.*?)╰", shown, re.DOTALL)
    assert heading is not None
    assert re.findall(r"^│ (--[a-z-]+)", heading[1], re.MULTILINE) == ["--validator", "--default-validator"]
    assert "running node has its own" not in type_in("run", "--help").out


def test_what_shows_a_node_has_a_sentence_for_each_option():
    assert documentation(Watching).keys() == {each.name for each in fields(Watching)}


def test_every_field_has_a_sentence_of_its_own():
    documented = documentation(p2pkad.HostConfig) | documentation(p2pkad.KademliaConfig)
    assert documented.keys() == CONFIG.keys()
    assert documented["k"].startswith("Replication: how many closest peers")


@pytest.mark.parametrize("options", [NodeOptions(), AskOptions(), OfferOptions()])
def test_defaults_are_those_of_the_config_except_where_a_command_has_its_own(options):
    other = {name: value for name, value in settings(options).items() if value != CONFIG[name]}
    assert other in ({"data_dir": state_home()}, {}, {"listen": ("/ip4/0.0.0.0/tcp/0",)})


def test_options_make_a_config():
    assert p2pkad.Config(**settings(NodeOptions())) == p2pkad.Config(data_dir=state_home())


def test_state_lives_where_the_desktop_specification_says(monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", "/var/lib/me")
    assert state_home() == "/var/lib/me/p2pkad"
    monkeypatch.setenv("XDG_STATE_HOME", "")
    monkeypatch.setenv("HOME", "/home/me")
    assert state_home() == "/home/me/.local/state/p2pkad"


def test_a_domain_of_signed_records_can_be_named():
    own, key = p2pkad.Identity.generate(), b"/profile/ada"
    validators = Namespaces(validator=("profile=signed:profiles.example", "other=signed")).settings()["validators"]
    record = p2pkad.sign_record(own, key, b"hello", sequence=1, lifetime=60, domain="profiles.example")
    validators["profile"].validate(key, record, 0.001)
    with pytest.raises(p2pkad.InvalidRecord):
        validators["other"].validate(key, record, 0.001)


def test_validators_are_named_by_namespace_and_kind():
    chosen = Namespaces(
        validator=("demo=opaque", "agents=newest", "a=signed", "keys=pk", "ipns=ipns"),
        default_validator="opaque",
    ).settings()
    kinds = {name: type(validator) for name, validator in chosen["validators"].items()}
    assert kinds == {
        "demo": p2pkad.OpaqueValidator,
        "agents": p2pkad.NewestValidator,
        "a": p2pkad.SignedRecordValidator,
        "keys": p2pkad.PublicKeyValidator,
        "ipns": p2pkad.IpnsValidator,
    }
    assert type(chosen["default_validator"]) is p2pkad.OpaqueValidator
    assert Namespaces().settings() == {"validators": {}, "default_validator": None}


@pytest.mark.parametrize("text", ["demo", "=opaque", "demo=", "demo=magic", "demo opaque"])
def test_a_validator_that_is_none_is_refused_with_the_form_to_use(text):
    with pytest.raises(UsageError, match="NS=KIND"):
        Namespaces(validator=(text,)).settings()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("/demo/greeting", b"/demo/greeting"),
        ("/démo/ü", "/démo/ü".encode()),
        ("/pk/\udcff", b"/pk/\xff"),  # bytes that are no text arrive so in arguments
        ("hex:2f706b2fff00", b"/pk/\xff\x00"),
        ("hex:FF", b"\xff"),
    ],
)
def test_a_key_is_text_or_bytes_in_hex(text, key):
    assert key_of(text) == key


@pytest.mark.parametrize("text", ["", "hex:f", "hex:xy"])
def test_a_key_that_is_none_is_refused(text):
    with pytest.raises(UsageError):
        key_of(text)


def test_a_value_is_text_or_a_file_or_standard_input(tmp_path: Path):
    (tmp_path / "value").write_bytes(b"\x00\xff\n")
    assert value_of("hello", io.BytesIO()) == b"hello"
    assert value_of("-5", io.BytesIO()) == b"-5"
    assert value_of(f"@{tmp_path}/value", io.BytesIO()) == b"\x00\xff\n"
    assert value_of("-", io.BytesIO(b"\xfe\n")) == b"\xfe\n"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path):
    with pytest.raises(UsageError, match=r"none: No such file or directory"):
        value_of(f"@{tmp_path}/none", io.BytesIO())


def test_a_file_without_an_end_is_read_no_further_than_values_go(tmp_path: Path):
    (tmp_path / "largest").write_bytes(bytes(LARGEST_VALUE))
    assert value_of(f"@{tmp_path}/largest", None) == bytes(LARGEST_VALUE)
    for text, name in (("@/dev/zero", "/dev/zero"), ("-", "standard input")):
        with open("/dev/zero", "rb") as endless, pytest.raises(UsageError, match=f"^{name}: more than {LARGEST_VALUE} bytes"):
            value_of(text, endless)


def test_standard_input_that_is_closed_is_named():
    with pytest.raises(UsageError, match="standard input is closed"):
        value_of("-", None)
