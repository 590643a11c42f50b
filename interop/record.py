"""Records what go, rust and js really write, for the tests of the codec: `python interop/record.py`.

A go peer keeps all frames that pass it, its own and those of the peer that it talks to, with what go itself reads in each,
so that the oracle of those tests is not ours. Each implementation asks it one thing after the other, and then is asked the
same things by it; of go alone there is one conversation. A third peer makes the answers longer. What was said ends in
tests/wire/golden/<implementation>.json. Keys and addresses are fixed: a second recording differs in times alone, and in
the order of providers.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import base58
import trio
from builds import ROOT
from driver import Answer, Driver, Language, Peer, PeerError, eventually, open_driver
from implementations import FOREIGN, IMPLEMENTATIONS

GOLDEN = ROOT / "tests" / "wire" / "golden"

KEY = b"/violence/servers/alpha"
BINARY_KEY = b"/violence/\x00\xff\xfe"
CONTENT = b"\x12\x20" + hashlib.sha256(b"golden").digest()
NOBODYS = b"\x12\x20" + bytes(32)
MANY = 20
NETWORK = "127.77"
"""The peers have their addresses in it. Two recordings at a time need two."""

SETTLE_SECONDS = 60.0

Exchange = dict[str, Answer]


@dataclass(frozen=True, slots=True)
class Conversation:
    """Who asks, and by which implementation; who answers; and the third peer, which the answerer knows."""

    asker: Peer
    asks: str
    answerer: Peer
    answers: str
    third: Peer

    @property
    def recorder(self) -> Peer:
        """The one that keeps frames: go."""
        return self.asker if self.asks == "go" else self.answerer


class Recording:
    """What was said in a conversation, under the names that the tests show."""

    def __init__(self, between: Conversation) -> None:
        self.exchanges: list[Answer] = []
        self._between = between

    async def take(self, kind: str, what: str, key: bytes | None = None) -> None:
        """Keep the first exchange between the two with a request of this kind, of those since the last call.

        key: what it has to be about, where the asker sends others of the kind on the side. An announcement may still be on
        its way. Raises NeverHappened when nothing of that kind was said.
        """
        passed: list[Exchange] = []

        async def look() -> list[Exchange]:
            passed.extend((await self._between.recorder.ask("frames"))["exchanges"])
            return [one for one in passed if self._fits(one, kind) and key in (None, key_of(one))]

        one, *_ = await eventually(look, bool, within=SETTLE_SECONDS, what=f"{what} is said")
        said = {"asks": self._between.asks, "answers": self._between.answers, "what": what}
        self.exchanges.append({**said, "request": as_hex(one["request"]), "reply": as_hex(one["reply"])})

    def _fits(self, one: Exchange, kind: str) -> bool:
        asker, recorder = self._between.asker, self._between.recorder
        other = self._between.answerer if recorder is asker else asker
        complete = one["reply"] is not None or kind == "ADD_PROVIDER"
        ours = one["peer"] == other.id and one["outbound"] is (recorder is asker)
        return ours and complete and one["request"]["message"].get("type", "PUT_VALUE") == kind


def key_of(one: Exchange) -> bytes:
    return base64.b64decode(one["request"]["message"].get("key", ""))


def as_hex(frame: Answer | None) -> Answer | None:
    return frame and {"wire": base64.b64decode(frame["wire"]).hex(), "message": frame["message"]}


async def converse(between: Conversation) -> list[Answer]:
    """One exchange of each kind, and those of FIND_NODE that differ."""
    recording = Recording(between)
    for part in (about_peers, about_values, about_providers):
        await part(between, recording.take)
    if between.answers == "go":
        await between.answerer.ask("pretend_peers", count=MANY)
        await between.asker.ask("closest_peers", key=KEY)
        await recording.take("FIND_NODE", "FIND_NODE, answered with as many peers as a bucket holds", KEY)
    return recording.exchanges


Take = Callable[..., Awaitable[None]]
"""`Recording.take`."""


async def about_peers(between: Conversation, take: Take) -> None:
    asker, answerer = between.asker, between.answerer
    await asker.ask("bootstrap", peers=[answerer.address])
    await take("FIND_NODE", "the first FIND_NODE, as who joins sends it")
    # Not find_peer: the asker has met the third peer by now, and would ask nobody.
    for key, what in ((base58.b58decode(between.third.id), "the id of a peer that it knows"), (KEY, "a record key")):
        await asker.ask("closest_peers", key=key)
        await take("FIND_NODE", f"FIND_NODE for {what}", key)
    await ping(between, take)


async def ping(between: Conversation, take: Take) -> None:
    # The protocol's own, deprecated one. rust does not send it, and closes the stream on it.
    if between.asks == "go" and between.answers != "rust":
        await between.asker.ask("kad_ping", peer=between.answerer.id)
    elif between.asks == "js":
        await between.asker.ask("request", peer=between.answerer.address, type="PING", key=b"ping")
    else:
        return
    await take("PING", "PING, echoed")


async def about_values(between: Conversation, take: Take) -> None:
    asker = between.asker
    await asker.ask("put", key=KEY, value=b"first")
    await take("PUT_VALUE", "PUT_VALUE, echoed")
    await between.third.ask("put", key=KEY + b"/third", value=b"third")
    await asker.ask("get", key=KEY + b"/third")
    await take("GET_VALUE", "GET_VALUE, and the peer has it")
    await asker.ask("put", key=BINARY_KEY, value=bytes(range(256)) * 2)
    await take("PUT_VALUE", "PUT_VALUE under a key that is not text")
    await between.third.ask("put", key=b"/violence/other", value=b"")
    with contextlib.suppress(PeerError):  # a go reader takes an empty value for none
        await asker.ask("get", key=b"/violence/other")
    await take("GET_VALUE", "GET_VALUE of an empty value")
    with contextlib.suppress(PeerError):
        await asker.ask("get", key=KEY + b"/none")
    await take("GET_VALUE", "GET_VALUE, and nobody has it")


async def about_providers(between: Conversation, take: Take) -> None:
    asker, third = between.asker, between.third
    await asker.ask("find_providers", key=NOBODYS)
    await take("GET_PROVIDERS", "GET_PROVIDERS, and there are none")
    await asker.ask("provide", key=CONTENT)
    await take("ADD_PROVIDER", "ADD_PROVIDER, which has no reply")
    await third.ask("provide", key=CONTENT)

    async def holds() -> Answer:
        return await between.answerer.ask("holds", key=CONTENT)

    await eventually(holds, lambda seen: len(seen["providers"]) == 2, within=SETTLE_SECONDS, what="both are providers")
    await asker.ask("find_providers", key=CONTENT)
    await take("GET_PROVIDERS", "GET_PROVIDERS, and there are two")


async def record(asks: str, answers: str, languages: Mapping[str, Language], logs: Path, network: str) -> Answer:
    """A conversation of two implementations, one of which is go: made_by and exchanges, as in a golden file."""
    async with open_driver(logs) as driver:
        answerer = await start(driver, "answerer", languages[answers], f"{network}.1", **options_of(answers))
        third = await start(driver, "third", languages[answers], f"{network}.2", **options_of(answers))
        await third.ask("bootstrap", peers=[answerer.address])
        await eventually(
            lambda: answerer.ask("routing_table"),
            lambda table: bool(table["peers"]),
            within=SETTLE_SECONDS,
            what="third is in the table",
        )
        asker = await start(driver, "asker", languages[asks], f"{network}.3", mode="client", **options_of(asks))
        exchanges = await converse(Conversation(asker, asks, answerer, answers, third))
        return {"made_by": {**asker.versions, **answerer.versions}, "exchanges": exchanges}


def options_of(implementation: str) -> dict[str, bool]:
    return {"record": True, "refresh": False} if implementation == "go" else {}


async def start(driver: Driver, name: str, language: Language, host: str, **options: object) -> Peer:
    # An address of its own for each peer, and a port that nothing else here listens on.
    return await driver.start(name, language, seed=name, listen=f"/ip4/{host}/tcp/4677", validator="violence=opaque", **options)


async def conversations(implementation: str, languages: Mapping[str, Language], logs: Path, network: str = NETWORK) -> Answer:
    """What a golden file holds: the implementation asks go, and go asks it.

    network: the first half of the addresses. The third number is another one each time: libp2p dials from the port that it
    listens on, and the same two addresses can be connected anew only a second after they were.
    """
    number = 2 * FOREIGN.index(implementation)
    golden = await record(implementation, "go", languages, logs / "asks", f"{network}.{number}")
    if implementation != "go":
        answering = await record("go", implementation, languages, logs / "answers", f"{network}.{number + 1}")
        golden["exchanges"] += answering["exchanges"]
    return golden


def main() -> int:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--only", choices=FOREIGN, action="append", help="one implementation; repeatable")
    wanted = made.parse_args().only or FOREIGN
    there = {name: IMPLEMENTATIONS[name].language() for name in dict.fromkeys(("go", *wanted))}
    languages = {name: language for name, language in there.items() if language is not None}
    if "go" not in languages:
        return 1
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for name in (name for name in wanted if name in languages):
        with tempfile.TemporaryDirectory() as logs:
            golden = trio.run(conversations, name, languages, Path(logs))
        path = GOLDEN / f"{name}.json"
        path.write_text(json.dumps(golden, indent=1) + "\n")
        print(f"{path.relative_to(ROOT)}: {len(golden['exchanges'])} exchanges", flush=True)
    return 0 if set(wanted) <= set(languages) else 1


if __name__ == "__main__":
    sys.exit(main())
