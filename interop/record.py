"""Records what go-libp2p-kad-dht really writes, for the tests of the codec: `python interop/record.py`.

Three go peers: `asker` does one thing after the other, `answerer` is the only peer that it knows, `third` makes the answers
longer. What passed on the asker's streams ends in tests/wire/golden/go.json, with what go itself reads in each frame, so
that the oracle of those tests is not ours. Keys and addresses are fixed: a second recording differs in times alone.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import base58
import trio
from builds import ROOT, go_peer
from driver import Answer, Peer, PeerError, eventually, go_language, open_driver

GOLDEN = ROOT / "tests" / "wire" / "golden" / "go.json"

KEY = b"/violence/servers/alpha"
BINARY_KEY = b"/violence/\x00\xff\xfe"
CONTENT = b"\x12\x20" + hashlib.sha256(b"golden").digest()
FEW, MANY = 1, 20

Exchange = dict[str, Answer]


def listen(host: int) -> str:
    # An address of its own for each peer, and a port that nothing else here listens on.
    return f"/ip4/127.0.77.{host}/tcp/4677"


class Recording:
    """What was said, under the names that the tests show."""

    def __init__(self, asker: Peer, answerer: Peer) -> None:
        self.exchanges: list[Answer] = []
        self._asker = asker
        self._answerer = answerer

    async def take(self, what: str, is_it: Callable[[Exchange], bool]) -> None:
        """Keep the first exchange with the answerer that fits, of those since the last call."""
        passed = (await self._asker.ask("frames"))["exchanges"]
        fitting = [one for one in passed if one["peer"] == self._answerer.id and is_it(one)]
        if not fitting:
            raise LookupError(f"{what}: nothing of that kind was sent")
        one = fitting[0]
        self.exchanges.append({"what": what, "request": as_hex(one["request"]), "reply": as_hex(one["reply"])})


def of_type(kind: str) -> Callable[[Exchange], bool]:
    return lambda one: one["request"]["message"].get("type", "PUT_VALUE") == kind


def as_hex(frame: Answer | None) -> Answer | None:
    return frame and {"wire": base64.b64decode(frame["wire"]).hex(), "message": frame["message"]}


async def converse(asker: Peer, answerer: Peer, third: Peer) -> list[Answer]:
    """One exchange of each kind, and those of FIND_NODE that differ."""
    recording = Recording(asker, answerer)
    find_node = of_type("FIND_NODE")

    await asker.ask("bootstrap", peers=[answerer.address])
    await recording.take("FIND_NODE for the id of the peer itself, as go checks whom it admits", find_node)
    # Not find_peer: the asker has met the third peer by now, and would ask nobody.
    await asker.ask("closest_peers", key=base58.b58decode(third.id))
    await recording.take("FIND_NODE for the id of a peer that it knows", find_node)
    await asker.ask("closest_peers", key=KEY)
    await recording.take("FIND_NODE for a record key", find_node)

    await asker.ask("put", key=KEY, value=b"first")
    await recording.take("PUT_VALUE, echoed", of_type("PUT_VALUE"))
    await asker.ask("get", key=KEY)
    await recording.take("GET_VALUE, and the peer has it", of_type("GET_VALUE"))
    await asker.ask("put", key=BINARY_KEY, value=bytes(range(256)) * 2)
    await recording.take("PUT_VALUE under a key that is not text", of_type("PUT_VALUE"))
    await third.ask("put", key=b"/violence/other", value=b"")
    with contextlib.suppress(PeerError):  # a go reader takes an empty value for none
        await asker.ask("get", key=b"/violence/other")
    await recording.take("GET_VALUE of an empty value", of_type("GET_VALUE"))

    await asker.ask("provide", key=CONTENT)
    await recording.take("ADD_PROVIDER, which has no reply", of_type("ADD_PROVIDER"))
    await asker.ask("find_providers", key=b"\x12\x20" + bytes(32))
    await recording.take("GET_PROVIDERS, and there are none", of_type("GET_PROVIDERS"))
    await third.ask("provide", key=CONTENT)
    await asker.ask("find_providers", key=CONTENT)
    await recording.take("GET_PROVIDERS, and there are two", of_type("GET_PROVIDERS"))
    await asker.ask("kad_ping", peer=answerer.id)
    await recording.take("PING, echoed", of_type("PING"))

    await answerer.ask("pretend_peers", count=MANY)
    await asker.ask("closest_peers", key=b"/violence/many")
    await recording.take("FIND_NODE, answered with as many peers as a bucket holds", find_node)
    return recording.exchanges


async def record(binary: Path, logs: Path) -> Answer:
    async with open_driver(logs) as driver:
        common = {"validator": "violence=opaque", "refresh": False}
        answerer, third = [
            await driver.start(name, go_language(binary), seed=name, listen=listen(host), **common)
            for host, name in enumerate(("answerer", "third"), start=1)
        ]
        await third.ask("bootstrap", peers=[answerer.address])
        await eventually(
            lambda: answerer.ask("routing_table"), lambda table: bool(table["peers"]), within=10, what="third is in the table"
        )
        asker = await driver.start(
            "asker", go_language(binary), seed="asker", listen=listen(3), mode="client", record=True, **common
        )
        exchanges = await converse(asker, answerer, third)
        return {"made_by": asker.versions, "exchanges": exchanges}


def main() -> int:
    binary = go_peer()
    if binary is None:
        return 1
    with tempfile.TemporaryDirectory() as logs:
        golden = trio.run(record, binary, Path(logs))
    GOLDEN.parent.mkdir(parents=True, exist_ok=True)
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")
    print(f"{GOLDEN.relative_to(ROOT)}: {len(golden['exchanges'])} exchanges")
    return 0


if __name__ == "__main__":
    sys.exit(main())
