"""One request to one peer, from a host that has nothing to do with the node: nodes send neither bad records nor forged news."""

from __future__ import annotations

import base58
import trio
from answers import infos
from control import Fields, Request, bytes_of, text_of

import p2pkad
from p2pkad.core.messages import AddProvider, AnyReply, AnyRequest, FindNode, GetProviders, GetValue, Ping, PutValue
from p2pkad.core.peers import PeerId, PeerInfo
from p2pkad.core.records import Record
from p2pkad.net.base import Network
from p2pkad.wire.addresses import parse_peer

MAX_MESSAGE = 1 << 22


async def request(node: p2pkad.KademliaService, request: Request) -> Fields:
    """Send it and show what came back. Announcements are followed by a request, so that the peer has dealt with them."""
    peer, deadline = parse_peer(request["peer"]), trio.current_time() + request["timeout"]
    host = p2pkad.new_host(p2pkad.HostConfig(listen=("/ip4/127.0.0.1/tcp/0",)))
    async with host.run(), host.open_network(protocol=node.protocol, max_message=MAX_MESSAGE) as network:
        if request["type"] == "ADD_PROVIDER":
            await network.send_and_ask(peer, announcement(request, network), FindNode(bytes(peer.id)), deadline)
            return {"type": None}
        response = await network.request(peer, message_of(request), deadline)
    return {"type": request["type"], **shown(response.message)}


def announcement(request: Request, network: Network) -> AddProvider:
    """That this host, or whoever is named as `provider`, provides something."""
    named = request.get("provider")
    provider = network.id if named is None else PeerId(base58.b58decode(named))
    return AddProvider(bytes_of(request["key"]), (PeerInfo(provider, network.local_addresses()),))


def message_of(request: Request) -> AnyRequest:
    """Raises NotImplementedError: there is no such type."""
    key = bytes_of(request.get("key", ""))
    match request["type"]:
        case "PUT_VALUE":
            return PutValue(key, Record(key, bytes_of(request["value"])))
        case "GET_VALUE":
            return GetValue(key)
        case "GET_PROVIDERS":
            return GetProviders(key)
        case "FIND_NODE":
            return FindNode(key)
        case "PING":
            return Ping(key)
        case other:
            raise NotImplementedError(f"type {other!r}")


def shown(reply: AnyReply) -> Fields:
    """The parts of a reply; those that its type does not have are empty."""
    record: Record | None = getattr(reply, "record", None)
    return {
        "record": None if record is None else {"key": text_of(record.key), "value": text_of(record.value)},
        "closer": infos(getattr(reply, "closer", ())),
        "providers": infos(getattr(reply, "providers", ())),
    }
