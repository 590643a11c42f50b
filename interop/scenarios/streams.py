"""What goes over one stream, to the byte: requests that no node puts that way, and which fields are in the answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import base58
import frames
from cells import PAIR, Deviation, Role, Scenario
from driver import Answer, Peer, eventually, unbase64
from frames import Fields, Kind, Message, Record, decode, provider, record, request
from implementations import IMPLEMENTATIONS
from multiaddr import Multiaddr
from stages import Scene, Stage
from trials import SETTLE_SECONDS

WRITERS = ("go", "rust", "js")
"""p2pkad sends one request at a time, and does not half-close."""
TRUE_TO_THE_END = ("go", "rust", "p2pkad")
"""Whether js still answers is a matter of microseconds: js-half-close in DEVIATIONS.md."""
ANSWERED = "answered"
IN_ORDER = "answered in order"
AS_SPECIFIED = "as specified"


async def half_close(scene: Scene) -> str:
    """The writer closes its side behind its request."""
    await sent(scene, request(Kind.PUT_VALUE, scene.key, record(scene.key, b"value")), count=1)
    replies, end = await closing(scene, request(Kind.GET_VALUE, scene.key))
    if end != "closed":
        return f"{len(replies)} answers, and the stream is {end}"
    return ANSWERED if [value_in(reply) for reply in replies] == [b"value"] else f"{len(replies)} answers"


async def several(scene: Scene) -> str:
    """The writer sends five requests in one piece. Each works on what those before it did; the announcement has no reply."""
    put = request(Kind.PUT_VALUE, scene.key, record(scene.key, b"value"))
    wanted = [request(kind, scene.content) for kind in (Kind.GET_PROVIDERS, Kind.FIND_NODE)]
    replies = await sent(scene, put, announcement(scene), request(Kind.GET_VALUE, scene.key), *wanted, count=4)
    kinds = [kind_of(reply) for reply in replies]
    if kinds != [Kind.PUT_VALUE, Kind.GET_VALUE, Kind.GET_PROVIDERS, Kind.FIND_NODE]:
        return f"answered: {', '.join(kind.name for kind in kinds)}"
    return IN_ORDER if value_in(replies[0]) == value_in(replies[1]) == b"value" else "answered wrongly"


async def answers(scene: Scene) -> str:
    """Every request once. What of its answer is not as kad-dht r2, "RPC messages" has it?

    Compared are type, key, record and providers, and that there is no other field. Nearer peers may be named; here are none.
    """
    found = []
    for check in (put_value, get_value, no_value, add_provider, get_providers, find_node):
        wrong = await check(scene)
        found += [f"{check.__name__}: {wrong}"] if wrong else []
    return "; ".join(found) or AS_SPECIFIED


async def put_value(scene: Scene) -> str:
    asked = request(Kind.PUT_VALUE, scene.key, record(scene.key, b"value"))
    (reply,) = await sent(scene, asked, count=1)
    return out_of_place(reply, Kind.PUT_VALUE, scene.key, Message.RECORD) or not_the_record(scene, reply)


async def get_value(scene: Scene) -> str:
    (reply,) = await sent(scene, request(Kind.GET_VALUE, scene.key), count=1)
    wrong = out_of_place(reply, Kind.GET_VALUE, scene.key, Message.RECORD, Message.CLOSER)
    return wrong or not_the_record(scene, reply)


async def no_value(scene: Scene) -> str:
    key = scene.key + b"/none"
    (reply,) = await sent(scene, request(Kind.GET_VALUE, key), count=1)
    return out_of_place(reply, Kind.GET_VALUE, key, Message.CLOSER)


async def add_provider(scene: Scene) -> str:
    """What comes back is for the request behind it, and the provider is known by then."""
    (reply,) = await sent(scene, announcement(scene), request(Kind.FIND_NODE, scene.digest), count=1)
    if kind_of(reply) is not Kind.FIND_NODE:
        return "it has a reply"
    held = (await scene.bootstrap.peer.ask("holds", key=scene.content))["providers"]
    return "" if scene.writer.peer.id in {entry["id"] for entry in held} else "it has no effect"


async def get_providers(scene: Scene) -> str:
    """p2pkad provides: rust leaves the asker out."""
    await scene.reader.peer.ask("provide", key=scene.content)

    async def look() -> list[Fields]:
        return await sent(scene, request(Kind.GET_PROVIDERS, scene.content), count=1)

    def has_it(replies: list[Fields]) -> bool:
        return (id_of(scene.reader.peer), True) in peers_in(replies[0], Message.PROVIDERS)

    (reply,) = await eventually(look, has_it, within=SETTLE_SECONDS, what="p2pkad is a provider, with addresses")
    return out_of_place(reply, Kind.GET_PROVIDERS, scene.content, Message.PROVIDERS, Message.CLOSER)


async def find_node(scene: Scene) -> str:
    (reply,) = await sent(scene, request(Kind.FIND_NODE, scene.digest), count=1)
    return out_of_place(reply, Kind.FIND_NODE, scene.digest, Message.CLOSER)


async def kad_ping(scene: Scene) -> str:
    """The protocol's own, deprecated PING."""
    replies = await sent(scene, request(Kind.PING, scene.digest), count=1)
    return "echoed" if [kind_of(reply) for reply in replies] == [Kind.PING] else "no answer"


async def sent(scene: Scene, *requests: bytes, count: int) -> list[Fields]:
    """The first messages that come back when the writer sends these in one piece to the bootstrap peer: so many."""
    where, data = scene.bootstrap.peer.address, b"".join(requests)
    answer = await scene.writer.peer.ask("stream", peer=where, value=data, count=count, half_close=False)
    return messages_in(answer)


async def closing(scene: Scene, data: bytes) -> tuple[list[Fields], str]:
    """All that comes back when the writer closes its side behind these bytes, and how the stream ends.

    That is `closed` or `reset`; rust as a writer cannot tell one from the other.
    """
    where = scene.bootstrap.peer.address
    answer = await scene.writer.peer.ask("stream", peer=where, value=data, count=0, half_close=True)
    return messages_in(answer), answer["end"]


def messages_in(answer: Answer) -> list[Fields]:
    return [decode(unbase64(frame)) for frame in answer["frames"]]


def announcement(scene: Scene) -> bytes:
    """The writer provides the content of the cell."""
    address = Multiaddr(scene.writer.peer.address.partition("/p2p/")[0]).to_bytes()
    return request(Kind.ADD_PROVIDER, scene.content, provider(id_of(scene.writer.peer), [address]))


def out_of_place(reply: Fields, kind: Kind, key: bytes, *may: Message) -> str:
    """Which field should not be there or says something else. A key may be left out, and go and rust send a field of old."""
    if kind_of(reply) is not kind:
        return f"of type {kind_of(reply).name}"
    if reply.get(Message.KEY, [key]) != [key]:
        return "another key"
    strange = set(reply) - {Message.TYPE, Message.KEY, Message.CLUSTER_LEVEL, *may}
    return f"fields {sorted(strange)}" if strange else ""


def not_the_record(scene: Scene, reply: Fields) -> str:
    held = record_in(reply)
    same = held.get(Record.KEY) == [scene.key] and held.get(Record.VALUE) == [b"value"]
    return "" if same else "another record"


def kind_of(reply: Fields) -> Kind:
    (kind,) = reply.get(Message.TYPE, [Kind.PUT_VALUE])
    return Kind(kind)


def record_in(reply: Fields) -> Fields:
    (body,) = reply.get(Message.RECORD, [b""])
    return decode(bytes(body)) if isinstance(body, bytes) else {}


def value_in(reply: Fields) -> frames.Value | None:
    (value,) = record_in(reply).get(Record.VALUE, [None])
    return value


def peers_in(reply: Fields, field: Message) -> set[tuple[bytes, bool]]:
    """The ids of peers in a field, and whether there are addresses with them."""
    entries = [decode(entry) for entry in reply.get(field, []) if isinstance(entry, bytes)]
    return {(bytes(entry[frames.Peer.ID][0]), frames.Peer.ADDRESSES in entry) for entry in entries}


def id_of(peer: Peer) -> bytes:
    return base58.b58decode(peer.id)


def of_foreigners(
    name: str,
    says: str,
    ids: tuple[str, ...],
    observe: Callable[[Scene], Awaitable[str]],
    wanted: str,
    deviations: tuple[Deviation, ...] = (),
    bootstraps: tuple[str, ...] = tuple(IMPLEMENTATIONS),
) -> Scenario:
    only: dict[Role, tuple[str, ...]] = {"bootstrap": bootstraps, "writer": WRITERS}
    return Scenario(name, says, ids, Stage.HUB, PAIR, observe, wanted, deviations, only)


RUST: dict[Role, str] = {"bootstrap": "rust"}

ALL = (
    of_foreigners(
        "answers",
        "type, key, record and providers of each answer are as specified, and it has no field besides, but for nearer peers",
        ("W5", "W6"),
        answers,
        AS_SPECIFIED,
    ),
    of_foreigners(
        "kad-ping",
        "the protocol's own, deprecated PING is echoed",
        ("W6",),
        kad_ping,
        "echoed",
        (Deviation("rust-no-ping", "no answer", RUST),),
    ),
    of_foreigners(
        "half-close",
        "who closes its side behind a request still gets the reply",
        ("W2",),
        half_close,
        ANSWERED,
        bootstraps=TRUE_TO_THE_END,
    ),
    of_foreigners("several-requests", "requests in one packet are answered in order", ("W1",), several, IN_ORDER),
)
