"""py-libp2p's PeerStore, bounded, and never without this host's own key.

The original evicts peers without addresses first, this host included: the next handshake then finds no private key.
And it counts only when addresses are added, so that protocols, keys and latencies of any number of peers pile up.
"""

from __future__ import annotations

from collections.abc import Sequence

from libp2p.crypto.keys import KeyPair, PublicKey
from libp2p.custom_types import MetadataValue
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStore


class BoundedPeerStore(PeerStore):
    """own, key_pair: this host, which always stays. max_peers: other peers kept; who was first heard of goes first."""

    def __init__(self, own: ID, key_pair: KeyPair, max_peers: int) -> None:
        super().__init__(max_records=max_peers, max_peers=max_peers)
        self._own = own
        self.add_key_pair(own, key_pair)

    # Overridden because the original sorts all peers for each one added, and does not spare this host.
    def _enforce_peer_limit(self) -> None:
        while len(self.peer_data_map) > self.max_peers + 1:
            oldest = next(peer for peer in self.peer_data_map if peer != self._own)
            del self.peer_data_map[oldest]
            self.peer_record_map.pop(oldest, None)

    def add_protocols(self, peer_id: ID, protocols: Sequence[str]) -> None:
        super().add_protocols(peer_id, protocols)
        self._enforce_peer_limit()

    def set_protocols(self, peer_id: ID, protocols: Sequence[str]) -> None:
        super().set_protocols(peer_id, protocols)
        self._enforce_peer_limit()

    def put(self, peer_id: ID, key: str, val: MetadataValue) -> None:
        super().put(peer_id, key, val)
        self._enforce_peer_limit()

    def add_pubkey(self, peer_id: ID, pubkey: PublicKey) -> None:
        super().add_pubkey(peer_id, pubkey)
        self._enforce_peer_limit()

    def record_latency(self, peer_id: ID, RTT: float) -> None:  # noqa: N803 # the name of the method it overrides
        super().record_latency(peer_id, RTT)
        self._enforce_peer_limit()
