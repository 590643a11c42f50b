"""Figures and pictures on the pages are those of the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from p2pkad.cli import exits
from p2pkad.config import HOUR, Config
from p2pkad.events import Limit
from p2pkad.net.base import MAX_STREAMS
from p2pkad.ops import logs
from tests.support.pages import ROOT, blocks
from tests.test_architecture import MAY_IMPORT

CONFIG = Config()
OPERATING = ROOT / "docs" / "operating.md"
MINUTE = 60.0

HERE = {
    "docs/protocol.md": {
        "k, replication": [CONFIG.k],
        "alpha, requests in flight": [CONFIG.alpha],
        "nearest answers that end a lookup": [CONFIG.beta],
        "disjoint paths of a lookup": [CONFIG.disjoint_paths],
        "seconds for a request": [CONFIG.request_timeout],
        "hours that a record lives": [CONFIG.record_lifetime / HOUR],
        "hours that a provider record lives, its addresses": [
            CONFIG.provider_lifetime / HOUR,
            CONFIG.provider_address_lifetime / HOUR,
        ],
        "hours between announcements of what is provided": [CONFIG.reprovide_interval / HOUR],
        "minutes between refreshes": [CONFIG.refresh_interval / MINUTE],
    },
    "docs/kademlia.md": {
        "k": [CONFIG.k],
        "alpha": [CONFIG.alpha],
        "buckets are refreshed every": [CONFIG.refresh_interval / MINUTE],
        "the publisher republishes every": [CONFIG.republish_interval / HOUR],
        "a value lives for": [CONFIG.record_lifetime / HOUR],
        "a provider record lives for, is announced every": [
            CONFIG.provider_lifetime / HOUR,
            CONFIG.reprovide_interval / HOUR,
        ],
    },
}
"""By page and row of the table that has a column `here`: the numbers that this column begins with."""


def column(page: Path, name: str) -> dict[str, str]:
    """One column of the table with this heading, by the first cells of its rows."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in page.read_text().splitlines() if line.startswith("|")
    ]
    start = next(number for number, cells in enumerate(rows) if name in cells)
    place, width = rows[start].index(name), len(rows[start])
    return {cells[0]: cells[place] for cells in rows[start + 2 :] if len(cells) == width}


@pytest.mark.parametrize("page", HERE)
def test_what_is_said_of_this_node_are_its_defaults(page: str) -> None:
    here = column(ROOT / page, "here")
    for row, expected in HERE[page].items():
        told = [float(number) for number in re.findall(r"\d+", here[row])]
        assert told[: len(expected)] == expected, row


def test_the_limits_for_operators_are_all_there_are_with_their_defaults() -> None:
    defaults, labels = column(OPERATING, "default"), column(OPERATING, "`limit`")
    for options, said in defaults.items():
        numbers = [getattr(CONFIG, name) for name in re.findall(r"`(\w+)`", options)] or [MAX_STREAMS]
        assert numbers == [int(number) for number in said.split(",")], options
    assert sorted(label.strip("`") for label in labels.values()) == sorted(get_args(Limit))


def test_the_exit_codes_for_operators_are_those_of_commands() -> None:
    said = {int(code) for row in column(OPERATING, "code") for code in row.split(",")}
    assert said == {value for name, value in vars(exits).items() if name.isupper() and type(value) is int}


def test_each_line_of_the_event_log_is_explained_to_operators() -> None:
    explained = {name for row in column(OPERATING, "line") for name in re.findall("`([^`]+)`", row)}
    written = set(re.findall(r"^(?:info|warning|error) +([a-z][a-z ]+?)(?:  |$)", logs.__doc__ or "", re.MULTILINE))
    assert len(written) > 8
    assert {line for line in written if not any(line.startswith(name) for name in explained)} == set()


def test_the_sizes_of_routing_tables_are_as_reckoned() -> None:
    """Of n others, 1 in 2 is in bucket 0, 1 in 4 in bucket 1, and so on; the rest is what is left behind the full ones."""
    text = " ".join((ROOT / "docs/kademlia.md").read_text().split())

    def full_and_rest(n: int) -> tuple[int, int]:
        full = next(prefix for prefix in range(64) if n / 2 ** (prefix + 1) < CONFIG.bucket_size)
        return full, round(n / 2**full)

    (few, rest_of_few), (many, rest_of_many) = full_and_rest(1_000), full_and_rest(1_000_000)
    assert f"{few} full buckets and about {rest_of_few} peers in the others" in text
    assert f"{few * CONFIG.bucket_size + rest_of_few} in all" in text
    assert f"{many} full ones" in text
    assert f"{round((many * CONFIG.bucket_size + rest_of_many) / 10) * 10}." in text


def test_the_picture_of_the_rooms_shows_who_may_import_whom() -> None:
    (picture,) = blocks(ROOT / "docs" / "architecture.md", "mermaid")
    arrows = {room: set(below.split(" & ")) for room, below in re.findall(r"^\s*(\w+) --> (.*)$", picture.text, re.MULTILINE)}

    def below(room: str) -> set[str]:
        return {each for next_one in arrows.get(room, ()) for each in {next_one, *below(next_one)}}

    # Others see the public names alone, which come from all rooms.
    rooms = {room for room, allowed in MAY_IMPORT.items() if allowed and "p2pkad" not in allowed} - {"__main__"}
    assert {room: below(room) for room in rooms} == {room: set(MAY_IMPORT[room]) for room in rooms}
