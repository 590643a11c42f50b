"""Values: written by one, kept by another, read by a third."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import base58
import frames
import trials
from cells import PAIR, TRIPLE, Deviation, Role, Scenario, of_any_size
from driver import Answer, PeerError, plain, unbase64
from frames import Kind
from stages import Scene, Stage
from trials import Node, Wrong

from scenarios.sizes import OVERSIZED, is_oversized

READ = "read over the network"
LARGE = 15_000
"""Bytes. With its key and what is around it, the record still fits a message of 16 KiB."""
FULL = 16_000
"""Bytes. Nothing else fits a message beside such a record, no peer of many addresses at any rate."""
ROUNDS = 10
FAR = "2100-01-01T00:00:00Z"


async def put_get(scene: Scene) -> str:
    """What the writer puts, the reader gets."""
    read = await trials.TRIALS["values"].passes(scene.writer, scene.reader, scene.key)
    return "held already" if read.held else READ


async def written(scene: Scene, key: bytes, value: bytes) -> str:
    """The writer puts; who reads gets, p2pkad in a pair, and so does another peer of the writer's kind."""
    await scene.writer.peer.ask("put", key=key, value=value)
    for reader in (scene.reader, scene.other):
        if await read_by(reader, key) != value:
            raise Wrong(f"{reader} got something else")
    return READ


async def large_value(scene: Scene) -> str:
    """A value that nearly fills a message."""
    return await written(scene, scene.key, scene.digest.ljust(LARGE, b"\xff"))


async def binary_key(scene: Scene) -> str:
    """A key that is no text in any encoding."""
    return await written(scene, b"/violence/\x00\xff/\xc3\x28" + scene.digest, b"value")


async def public_key(scene: Scene) -> str:
    """The writer's own key, under /pk."""
    made = await scene.writer.peer.ask("public_key")
    return await written(scene, unbase64(made["key"]), unbase64(made["value"]))


async def signed_name(scene: Scene) -> str:
    """A name that the writer signs with its own key, twice: each is read, the second one of the higher sequence."""
    for _ in range(2):
        # Other cells have signed with the same key before. Microseconds are few enough for numbers in js.
        now = time.time_ns() // 1000
        made = await scene.writer.peer.ask("sign_name", value=b"/ipfs/bafkqaaa", sequence=now, expires=FAR)
        seen = await written(scene, unbase64(made["key"]), unbase64(made["value"]))
    return seen


async def identical(scene: Scene) -> str:
    """The writer sends one record twice. rust shows no record of what it is acknowledged with: `answers` looks there."""
    sent = {"key": plain(scene.key), "value": plain(b"value")}
    for _ in range(2):
        shown = (await send(scene, scene.key, b"value"))["record"]
        if shown not in (sent, None):
            return "acknowledged with another record"
    return "acknowledged twice"


async def stale(scene: Scene) -> str:
    """The writer sends a record, and then one that its validator ranks below. What do others read then?"""
    await send(scene, scene.key, b"new")
    await refused(scene, scene.key, b"late")
    seen = {b"new": "the better one is read", b"late": "the worse one is read"}
    return seen.get(await read_by(scene.other, scene.key), "something else is read")


async def forged(scene: Scene) -> str:
    """The writer sends, under somebody's /pk, what is not the key."""
    key = b"/pk/" + base58.b58decode(scene.bootstrap.peer.id)
    taken = "refused" if await refused(scene, key, scene.digest) else "taken"
    try:
        return f"{taken}, and p2pkad returns it" if await read_by(scene.reader, key) == scene.digest else taken
    except PeerError as error:
        if error.kind != "not_found":
            raise
        return taken


async def full_answer(scene: Scene) -> str:
    """The bootstrap peer answers with a record and as many nearer peers as fit. Can the reader read it?"""
    value = scene.digest.ljust(FULL, b"\xff")
    await send(scene, scene.key, value)
    try:
        got = await read_by(scene.other, scene.key)
    except PeerError as error:
        if error.kind == "not_found":
            return "not found"
        raise
    if got != value:
        return "something else"
    return OVERSIZED if await is_oversized(scene, frames.request(Kind.GET_VALUE, scene.key)) else READ


async def one_stream(scene: Scene) -> str:
    """The writer announces and reads by turns. Had the announcement a reply, it would pass for the one to the next request."""
    for number in range(ROUNDS):
        content, key = scene.content[:-1] + bytes([number]), scene.key + b"/%d" % number
        await scene.reader.peer.ask("put", key=key, value=key)
        await scene.writer.peer.ask("provide", key=content)
        if await read_by(scene.writer, key) != key:
            raise Wrong(f"round {number} was mixed up")
    return "all in order"


async def send(scene: Scene, key: bytes, value: bytes) -> Answer:
    """One PUT_VALUE from the writer to the bootstrap peer, and its reply. Raises PeerError when it is not acknowledged."""
    where = scene.bootstrap.peer.address
    return await scene.writer.peer.ask("request", peer=where, type="PUT_VALUE", key=key, value=value)


async def refused(scene: Scene, key: bytes, value: bytes) -> bool:
    """Whether the bootstrap peer refuses a record and takes another one after it. Raises PeerError for any other failure.

    A refusal is a stream that ends without a reply, which is `failed`; that the peer is gone would look the same.
    """
    try:
        await send(scene, key, value)
    except PeerError as error:
        if error.kind != "failed":
            raise
        await send(scene, scene.key + b"/next", b"value")
        return True
    return False


async def read_by(reader: Node, key: bytes) -> bytes:
    return unbase64((await reader.peer.ask("get", key=key))["value"])


def pair(
    name: str,
    says: str,
    ids: tuple[str, ...],
    observe: Callable[[Scene], Awaitable[str]],
    wanted: str = READ,
    deviations: tuple[Deviation, ...] = (),
) -> Scenario:
    return Scenario(name, says, ids, Stage.HUB, PAIR, observe, wanted, deviations)


def keeps(name: str) -> dict[Role, str]:
    return {"bootstrap": name}


ALL = (
    Scenario("put-get", "what one puts another gets from a third", ("V1",), Stage.HUB, TRIPLE, put_get, READ),
    pair(
        "stale-record",
        "a worse record does not replace a better one",
        ("V3",),
        stale,
        "the better one is read",
        (
            Deviation("rust-worse-replaces-better", "the worse one is read", keeps("rust")),
            Deviation("js-worse-replaces-better", "the worse one is read", keeps("js")),
        ),
    ),
    pair(
        "forged-record",
        "a record that its validator refuses is not taken",
        ("V2",),
        forged,
        "refused",
        (Deviation("rust-validates-nothing", "taken", keeps("rust")),),
    ),
    pair("identical-record", "the same record again is acknowledged", ("V3", "W6"), identical, "acknowledged twice"),
    pair("binary-key", "keys are bytes", ("V9",), binary_key),
    Scenario("public-key", "a record of /pk is read everywhere", ("V10",), Stage.HUB, TRIPLE, public_key, READ),
    Scenario(
        "name",
        "a signed record of /ipns is read everywhere, and so is the newer one after it",
        ("V10",),
        Stage.HUB,
        TRIPLE,
        signed_name,
        READ,
        only={"writer": ("go", "js", "p2pkad")},
    ),
    pair("large-value", f"a value of {LARGE} bytes fits", ("W6",), large_value),
    pair("one-stream", "announcements do not get into the way of requests", ("W1", "W2"), one_stream, "all in order"),
    Scenario(
        "full-answer",
        "an answer that names peers beside a large record stays within 16 KiB",
        ("W6",),
        Stage.CROWDED,
        PAIR,
        full_answer,
        READ,
        of_any_size("not found", OVERSIZED),
    ),
)
