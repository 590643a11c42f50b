"""A p2pkad node that does what it is told, by the lines of CONTROL.md.

It uses p2pkad's public names, `request` apart (single.py).
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import trio
from answers import info, infos
from control import Fields, Kinds, Request, bytes_of, obey, text_of, versions_of
from libp2p.crypto.ed25519 import create_new_key_pair
from single import request

import p2pkad
from p2pkad.core.records import parse_time
from p2pkad.events import LimitReached
from p2pkad.identity import Identity
from p2pkad.validators.opaque import OpaqueValidator
from p2pkad.validators.public_key import PublicKeyValidator

log = logging.getLogger("peer")

VALIDATORS = {"opaque": OpaqueValidator, "pk": PublicKeyValidator, "ipns": p2pkad.IpnsValidator}
# What fits none is a defect of p2pkad and says so.
KINDS: Kinds = (
    (p2pkad.NotFound, "not_found"),
    (p2pkad.NoPeers, "no_peers"),
    (p2pkad.RequestTimeout, "timeout"),
    (p2pkad.NotReady, "timeout"),
    (p2pkad.PeerUnreachable, "unreachable"),
    (p2pkad.PeerBusy, "unreachable"),
    (p2pkad.RecordError, "refused"),
    (p2pkad.LocalProtocolError, "usage"),
    (p2pkad.ConfigError, "usage"),
    (p2pkad.P2pkadError, "failed"),
)

Verb = Callable[[p2pkad.KademliaService, Request], Awaitable[Fields]]


async def identity(node: p2pkad.KademliaService, request: Request) -> Fields:
    own = {"id": str(node.id), "addresses": list(node.addresses)}
    return {"peer": own, "mode": node.mode, "protocol": node.protocol}


async def connect(node: p2pkad.KademliaService, request: Request) -> Fields:
    await node.connect(request["peer"], timeout=request["timeout"])
    return {}


async def bootstrap(node: p2pkad.KademliaService, request: Request) -> Fields:
    for peer in request["peers"]:
        await node.connect(peer, timeout=request["timeout"])
    await node.wait_ready(timeout=request["timeout"])
    await node.refresh()
    return {"table": len(node.routing_table())}


async def put(node: p2pkad.KademliaService, request: Request) -> Fields:
    receipt = await node.put_value(bytes_of(request["key"]), bytes_of(request["value"]), timeout=request["timeout"])
    return {
        "stored": [str(peer) for peer in receipt.stored],
        "refused": [str(peer) for peer in receipt.refused],
        "unreachable": [str(peer) for peer in receipt.unreachable],
    }


async def get(node: p2pkad.KademliaService, request: Request) -> Fields:
    found = await node.get_record(bytes_of(request["key"]), quorum=request.get("quorum", 0), timeout=request["timeout"])
    return {
        "value": text_of(found.value),
        "holders": [str(peer) for peer in found.holders],
        "asked": found.asked,
        "answered": found.answered,
    }


async def holds(node: p2pkad.KademliaService, request: Request) -> Fields:
    key = bytes_of(request["key"])
    try:
        providers = await node.local_providers(key)
    except p2pkad.LocalProtocolError:  # a record key is no multihash
        providers = ()
    return {"value": await node.local_value(key) is not None, "providers": infos(providers)}


async def provide(node: p2pkad.KademliaService, request: Request) -> Fields:
    receipt = await node.provide(bytes_of(request["key"]), timeout=request["timeout"])
    return {"sent": [str(peer) for peer in receipt.sent], "unreachable": [str(peer) for peer in receipt.unreachable]}


async def find_providers(node: p2pkad.KademliaService, request: Request) -> Fields:
    # In the protocol 0 means all of them.
    count = request.get("count", 0) or None
    found = await node.find_providers(bytes_of(request["key"]), count=count, timeout=request["timeout"])
    return {"providers": infos(found), "asked": found.asked, "answered": found.answered}


async def find_peer(node: p2pkad.KademliaService, request: Request) -> Fields:
    found = await node.find_peer(request["peer"], timeout=request["timeout"])
    return {"peer": info(found)}


async def closest_peers(node: p2pkad.KademliaService, request: Request) -> Fields:
    found = await node.closest_peers(bytes_of(request["key"]), timeout=request["timeout"])
    return {"peers": infos(found), "asked": found.asked, "answered": found.answered}


async def ping(node: p2pkad.KademliaService, request: Request) -> Fields:
    return {"round_trip": await node.ping(request["peer"], timeout=request["timeout"])}


async def routing_table(node: p2pkad.KademliaService, request: Request) -> Fields:
    return {"peers": infos(node.routing_table())}


async def connections(node: p2pkad.KademliaService, request: Request) -> Fields:
    return {"count": node.stats().peers}


async def set_mode(node: p2pkad.KademliaService, request: Request) -> Fields:
    await node.set_mode(request["mode"])
    return {"mode": node.mode}


VERBS: dict[str, Verb] = {
    verb.__name__: verb
    for verb in (
        identity,
        connect,
        bootstrap,
        put,
        get,
        holds,
        provide,
        find_providers,
        find_peer,
        closest_peers,
        ping,
        routing_table,
        connections,
        set_mode,
        request,
    )
}


def of_own_key(identity: Identity) -> dict[str, Verb]:
    """The verbs that make records of the node's own key: `public_key` for /pk, `sign_name` for /ipns."""

    async def public_key(node: p2pkad.KademliaService, request: Request) -> Fields:
        return {"key": text_of(b"/pk/" + identity.id), "value": text_of(identity.public_key.to_protobuf())}

    async def sign_name(node: p2pkad.KademliaService, request: Request) -> Fields:
        expires = parse_time(request["expires"])
        if expires is None:
            raise p2pkad.LocalProtocolError(f"{request['expires']!r} is no time")
        value = bytes_of(request["value"])
        record = p2pkad.sign_ipns_record(identity, value, sequence=request.get("sequence", 0), expires=expires)
        return {"key": text_of(b"/ipns/" + identity.id), "value": text_of(record)}

    return {"public_key": public_key, "sign_name": sign_name}


def options_of(arguments: list[str]) -> dict[str, Any]:
    """The command line as options of `open_node`. Those that were not given are left to p2pkad."""
    parser = argparse.ArgumentParser(description=__doc__, argument_default=argparse.SUPPRESS)
    parser.add_argument("--listen", action="append", default=[])
    parser.add_argument("--protocol", default="/violence/kad/1.0.0")
    parser.add_argument("--mode", choices=("server", "client"))
    parser.add_argument("--bootstrap", action="append")
    parser.add_argument("--validator", action="append", default=[], help="NAMESPACE=KIND, kind pk, opaque or ipns")
    parser.add_argument("--bucket-size", type=int, help="peers in a bucket, and the replication factor k")
    parser.add_argument("--alpha", type=int)
    parser.add_argument("--beta", type=int)
    parser.add_argument("--max-requests-per-peer", type=int)
    parser.add_argument("--request-rate-per-peer", type=float)
    parser.add_argument("--data-dir", help="what the node keeps is kept there, and found there again")
    parser.add_argument("--seed", help="makes the identity from this text instead of from randomness")
    options = vars(parser.parse_args(arguments))
    options["listen"] = options["listen"] or ["/ip4/127.0.0.1/tcp/0"]
    kinds = dict(text.partition("=")[::2] for text in options.pop("validator"))
    if unknown := [kind for kind in kinds.values() if kind not in VALIDATORS]:
        parser.error(f"no validator is of the kind {unknown[0]!r}")
    options["validators"] = {namespace: VALIDATORS[kind]() for namespace, kind in kinds.items()}
    if "bucket_size" in options:
        options["k"] = options["bucket_size"]
    seed = options.pop("seed", None)
    options["identity"] = Identity.generate() if seed is None else identity_of(seed)
    return options


def identity_of(seed: str) -> Identity:
    return Identity(create_new_key_pair(hashlib.sha256(seed.encode()).digest()))


async def main() -> None:
    options = options_of(sys.argv[1:])
    async with p2pkad.open_node(**options) as node:
        node.subscribe(lambda event: log.warning("%r", event), LimitReached)
        verbs = {name: partial(verb, node) for name, verb in {**VERBS, **of_own_key(options["identity"])}.items()}
        versions = {"p2pkad": p2pkad.__version__, **versions_of("libp2p", "trio")}
        await obey(await identity(node, Request()), versions, verbs, KINDS)


if __name__ == "__main__":
    try:
        trio.run(main)
    except p2pkad.ConfigError as error:
        print(f"peer: {error}", file=sys.stderr)
        sys.exit(2)
