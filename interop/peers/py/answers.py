"""Peers of p2pkad as answers have them: ids with addresses."""

from __future__ import annotations

from collections.abc import Iterable

from control import Fields

from p2pkad.core.peers import PeerInfo


def info(peer: PeerInfo) -> Fields:
    return {"id": str(peer.id), "addresses": [address.text for address in peer.addresses]}


def infos(peers: Iterable[PeerInfo]) -> list[Fields]:
    return [info(peer) for peer in peers]
