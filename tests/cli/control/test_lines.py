"""What a line on the control socket says, and what is said of one that is none."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from dataclasses import fields
from pathlib import Path

import pytest
import trio

import p2pkad
from p2pkad.cli import exits, requests
from p2pkad.cli.control import lines, server
from p2pkad.cli.control.lines import MAX_LINE, LineReader, read_answer, read_request, request_line, socket_path
from p2pkad.cli.words import LARGEST_VALUE
from p2pkad.errors import ConfigError
from tests.cli.conftest import ALICE

EXAMPLES = [
    requests.Put(key="hex:ff", value="aGVsbG8=", allow_large=True, timeout=5),
    requests.Get(key="/pk/\udcff", quorum=3),
    requests.StopPublishing(key="/pk/x"),
    requests.Provide(content="bafk"),
    requests.StopProviding(content="bafk"),
    requests.FindProviders(content="bafk", count=0),
    requests.FindPeer(peer=str(ALICE)),
    requests.Closest(key="/pk/x", count=None),
    requests.Ping(peer=str(ALICE), count=1),
    requests.Status(),
    requests.Peers(timeout=1.5),
    requests.Doctor(),
]


def test_every_request_arrives_as_it_left():
    assert {type(each) for each in EXAMPLES} == set(requests.VERBS)
    assert [read_request(request_line(each)) for each in EXAMPLES] == EXAMPLES


@pytest.mark.parametrize(
    ("said", "named"),
    [
        (b"nonsense", "object of JSON"),
        (b"[" * 100_000, "object of JSON"),
        (b"[]", "object of JSON"),
        ({"do": "status"}, "version 1"),
        ({"version": 2, "do": "status"}, "Start the node again"),
        ({"version": True, "do": "status"}, "Start the node again"),
        ({"version": 1}, '"do"'),
        ({"version": 1, "do": "explode"}, "'explode'"),
        ({"version": 1, "do": ["status"]}, "status"),
        ({"version": 1, "do": "get"}, "'key' is missing"),
        ({"version": 1, "do": "get", "key": 5}, "'key' is text"),
        ({"version": 1, "do": "get", "key": "/pk/x", "quorum": 1.5}, "'quorum' is a whole number"),
        ({"version": 1, "do": "get", "key": "/pk/x", "quorum": True}, "'quorum' is a whole number"),
        ({"version": 1, "do": "get", "key": "/pk/x", "quorom": 1}, "'quorom'"),
        ({"version": 1, "do": "put", "key": "/pk/x", "value": "!"}, "base64"),
        ({"version": 1, "do": "status", "timeout": float("nan")}, "--timeout"),
        ({"version": 1, "do": "status", "timeout": 1e9}, "--timeout"),
        ({"version": 1, "do": "status", "timeout": 10**400}, "'timeout' is a number"),
        ({"version": 1, "do": "ping", "peer": str(ALICE), "count": 10**400}, "pass a longer --timeout"),
    ],
)
def test_what_is_no_request_is_refused_with_what_is_wrong(said, named):
    line = said if isinstance(said, bytes) else json.dumps(said).encode()
    with pytest.raises(exits.UsageError) as raised:
        read_request(line)
    assert named in str(raised.value)


def test_an_error_keeps_its_sentence_and_its_exit_code():
    error = p2pkad.NotFound("/pk/x", asked=3, answered=3)
    with pytest.raises(exits.NodeSaid) as raised:
        read_answer(lines.error_line(error))
    assert (str(raised.value), raised.value.kind) == (str(error), "NotFound")
    assert exits.exit_code(raised.value) == exits.NOT_FOUND


def test_answers_end_when_it_is_said():
    assert read_answer(lines.answer_line({"id": "x"})) == {"id": "x"}
    assert read_answer(lines.done_line()) is None
    with pytest.raises(exits.NodeSaid):
        read_answer(b'{"answers": 3}')


def test_a_directory_that_lies_too_deep_is_named_with_the_numbers():
    deep = Path("/" + "d" * (lines.LONGEST_PATH - len("//control.sock")))
    assert len(str(socket_path(deep))) == lines.LONGEST_PATH
    with pytest.raises(ConfigError, match=r"107 bytes at most, this one has 108. Name a shorter --data-dir"):
        socket_path(f"{deep}d")


async def test_lines_come_in_any_pieces_and_have_a_bound(monkeypatch):
    ours, theirs = trio.testing.memory_stream_one_way_pair()
    reader = LineReader(theirs)
    await ours.send_all(b"one\ntw")
    assert await reader.next() == b"one"
    await ours.send_all(b"o\nthree")
    assert await reader.next() == b"two"
    monkeypatch.setattr(lines, "MAX_LINE", 100)
    await ours.send_all(b"." * 200)
    with trio.fail_after(30), pytest.raises(lines.LineTooLong):
        await reader.next()
    await ours.aclose()
    assert await reader.next() is None


def test_the_page_lists_every_request_and_what_it_takes():
    page = (Path(__file__).parents[3] / "docs" / "control.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z-]+)` \|(.*?)\|", page, re.MULTILINE))
    del rows["do"]
    assert rows.keys() == requests.REQUESTS.keys()
    for verb, kind in requests.REQUESTS.items():
        taken = {each.name for each in fields(kind)} - {"timeout"}
        assert set(re.findall(r"`(\w+)`", rows[verb])) == taken
    assert f"{lines.MAX_LINE >> 20} MiB" in page
    for seconds in (server.REQUEST_TIMEOUT, server.WRITE_TIMEOUT, server.MAX_CLIENTS, requests.MAX_TIMEOUT):
        assert f"{seconds:.0f}" in page


def test_the_largest_value_fits_into_a_line_with_any_key_that_can_be_typed():
    longest = "\udcff" * (128 * 1024 - 1)  # execve(2): MAX_ARG_STRLEN, with the zero at the end
    value = b64encode(bytes(LARGEST_VALUE)).decode()
    assert len(request_line(requests.Put(key=longest, value=value, timeout=86399.12345, allow_large=True))) <= MAX_LINE
