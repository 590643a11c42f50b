from __future__ import annotations

import math
from typing import Any, get_type_hints

import pytest

from p2pkad.config import Config
from p2pkad.errors import ConfigError
from p2pkad.validators.opaque import OpaqueValidator


def test_the_defaults_are_valid() -> None:
    Config()


@pytest.mark.scenario("H7")
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"bootstap": ()}, "unknown option 'bootstap'. Did you mean 'bootstrap'?"),
        ({"zzzzz": 1}, r"unknown option 'zzzzz'.$"),
        ({"protocol": "kad"}, "begins with a slash"),
        ({"protocol": "/"}, "begins with a slash"),
        ({"mode": "both"}, "must be one of server, client"),
        ({"scope": "mars"}, "must be one of auto, wan, lan, all"),
        ({"k": 0}, "k=0: must be 1 or more"),
        ({"beta": 0}, "beta=0: must be 1 or more"),
        ({"disjoint_paths": 0}, "disjoint_paths=0: must be 1 or more"),
        ({"request_timeout": 0}, "request_timeout=0: must be above 0"),
        ({"lookup_timeout": float("nan")}, "must be above 0"),
        ({"lookup_timeout": float("inf")}, "must be above 0"),
        ({"republish_interval": 0}, "republish_interval=0: must be above 0"),
        ({"record_lifetime": 3600.0}, "republish_interval=79200.0: must be below record_lifetime=3600.0, or it is forgotten"),
        ({"reprovide_interval": 172800.0}, "reprovide_interval=172800.0: must be below provider_lifetime=172800.0"),
        ({"protocol": "/" + "p" * 128}, "has 128 characters at most"),
        ({"protocol": "/\udcff"}, "a protocol id is text without control characters"),
        ({"protocol": "/a\nb"}, "a protocol id is text without control characters"),
        ({"protocol": b"/a"}, "a protocol id begins with a slash"),
        ({"listen": None}, "listen=None: give a list"),
        ({"bootstrap": [b"/ip4/127.0.0.1/tcp/1"]}, "give a list of texts"),
        ({"security": [b"tls"]}, "give a list of texts"),
        ({"mdns": "no"}, "mdns='no': must be True or False"),
        ({"allow_zero_peers": 1}, "allow_zero_peers=1: must be True or False"),
        ({"data_dir": 5}, "data_dir=5: give the path of a directory"),
        ({"data_dir": "a\0b"}, "give the path of a directory"),
        ({"data_dir": ""}, "data_dir='': give the path of a directory as text, or None"),
        ({"record_lifetime": 10**400}, "must be above 0, and finite"),
        ({"record_lifetime": 2.0**32}, "record_lifetime=4294967296.0: must be 4294967295 or less"),
        ({"max_arriving_bytes": 1000}, "max_arriving_bytes=1000: must be 1048576 or more"),
        ({"max_message": 12}, "must be 1024 or more"),
        ({"max_store_bytes": 12}, "must be 1048576 or more"),
        ({"bootstrap": "/ip4/127.0.0.1/tcp/1"}, "give a list, also for one"),
        ({"listen": "/ip4/127.0.0.1/tcp/1"}, "give a list, also for one"),
        ({"validators": {"a/b": None}}, "write its name, without slashes and control characters"),
        ({"validators": {"\udcff": OpaqueValidator()}}, "is no namespace"),
        ({"validators": [1]}, "give a dictionary, of a validator for each namespace"),
        ({"validators": {1: OpaqueValidator()}}, "validators: 1 is no namespace"),
        ({"validators": {"v": 3}}, "validators: 3 is no validator; give an object with validate and select"),
        ({"validators": {"v": OpaqueValidator}}, "is no validator; give an object"),
        ({"default_validator": OpaqueValidator}, "default_validator: .* is no validator"),
        ({"k": "3"}, "k='3': must be a whole number"),
        ({"dial_timeout": None}, "dial_timeout=None: must be a number"),
        ({"max_lookups": 0}, "max_lookups=0: must be 1 or more"),
        ({"max_requests_in_flight": 0}, "max_requests_in_flight=0: must be 1 or more"),
        ({"max_requests_per_peer": 0}, "max_requests_per_peer=0: must be 1 or more"),
        ({"request_rate_per_peer": 0}, "request_rate_per_peer=0: must be above 0"),
        ({"max_stored_per_peer": 0}, "max_stored_per_peer=0: must be 1 or more"),
        ({"max_stored_bytes_per_peer": 1023}, "max_stored_bytes_per_peer=1023: must be 1024 or more"),
        ({"stored_refill": 0}, "stored_refill=0: must be above 0"),
        ({"max_updates_per_key": 0}, "max_updates_per_key=0: must be 1 or more"),
        ({"max_updates_per_publisher": 0}, "max_updates_per_publisher=0: must be 1 or more"),
        ({"update_refill": 0}, "update_refill=0: must be above 0"),
        ({"max_connections_per_prefix": 0}, "max_connections_per_prefix=0: must be 1 or more"),
        ({"max_streams_per_peer": 0}, "max_streams_per_peer=0: must be 1 or more"),
        ({"max_inbound_streams": 0}, "max_inbound_streams=0: must be 1 or more"),
        ({"max_connections": 3}, "must be 4 or more"),
        ({"max_connections": 10, "connection_reserve": 10}, "must be below max_connections=10"),
        ({"security": ("secio",)}, "name one or both of"),
        ({"security": ()}, "name one or both of"),
        ({"dial_timeout": -1}, "must be above 0"),
        ({"identity": b"secret"}, r"^identity: a bytes is none; give Identity.load\(path\) or Identity\(key_pair\)$"),
    ],
)
def test_a_value_that_cannot_work_is_refused_with_what_would(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        Config.of(options)


@pytest.mark.scenario("V9")
@pytest.mark.parametrize("name", ["validate", "select", "expires"])
def test_a_validator_that_has_to_be_awaited_is_refused(name: str) -> None:
    async def judge(*_: object) -> None:
        pass

    validator = OpaqueValidator()
    vars(validator)[name] = judge
    with pytest.raises(ConfigError, match=f"validators: {name} of .* is async"):
        Config.of({"validators": {"v": validator}})


NUMBERS = {name: hint for name, hint in get_type_hints(Config).items() if hint in (int, float)}


@pytest.mark.scenario("H7")
@pytest.mark.parametrize("name", NUMBERS)
def test_counts_are_whole_and_numbers_are_numbers(name: str) -> None:
    whole = NUMBERS[name] is int
    wrong = [math.nan, True, "1", *([float(getattr(Config(), name)), math.inf] if whole else [])]
    kind = "must be a whole number" if whole else "must be (a number|above 0, and finite)"
    for value in wrong:
        with pytest.raises(ConfigError, match=f"^{name}={value!r}: {kind}$"):
            Config.of({name: value})


def test_lists_become_tuples() -> None:
    assert Config.of({"listen": ["/ip4/127.0.0.1/tcp/1"]}).listen == ("/ip4/127.0.0.1/tcp/1",)
