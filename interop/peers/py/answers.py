"""What requests and answers are made of: bytes as base64, peers as ids with addresses."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

from p2pkad.core.peers import PeerInfo

Request = dict[str, Any]
Fields = dict[str, Any]


def info(peer: PeerInfo) -> Fields:
    return {"id": str(peer.id), "addresses": [address.text for address in peer.addresses]}


def infos(peers: Iterable[PeerInfo]) -> list[Fields]:
    return [info(peer) for peer in peers]


def bytes_of(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def text_of(data: bytes) -> str:
    return base64.b64encode(data).decode()
