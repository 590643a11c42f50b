"""A libp2p-compatible Kademlia node on py-libp2p and trio.

Each name is imported when it is first asked for: what needs no peer (`p2pkad --help`, say) does not wait for libp2p.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p2pkad.config import Config, HostConfig, KademliaConfig, StoreBounds
    from p2pkad.core.peers import Address, PeerDescription, PeerId, PeerInfo
    from p2pkad.errors import (
        ConfigError,
        InvalidRecord,
        LocalLimit,
        LocalProtocolError,
        LookupFailed,
        NetworkError,
        NodeClosed,
        NoPeers,
        NotFound,
        NotReady,
        NoValidator,
        P2pkadError,
        PeerBusy,
        PeerUnreachable,
        ProtocolError,
        QuorumNotMet,
        RecordError,
        RecordTooLarge,
        RemoteProtocolError,
        RequestFailed,
        RequestTimeout,
        StaleRecord,
        StoreError,
        StoreFailed,
        StoreFull,
    )
    from p2pkad.identity import Identity, PublicKey, peer_id
    from p2pkad.net.libp2p import PeerRouter, new_host
    from p2pkad.node.finding import ProviderStream
    from p2pkad.node.node import open_node
    from p2pkad.node.results import NodeStats, PeersFound, PeerState, ProvideReceipt, PutReceipt, ValueFound
    from p2pkad.node.service import KademliaService
    from p2pkad.store.sqlite import open_store
    from p2pkad.validators.base import Validator
    from p2pkad.validators.ipns import IpnsRecord, IpnsValidator, open_ipns_record, sign_ipns_record
    from p2pkad.validators.newest import NewestValidator
    from p2pkad.validators.opaque import OpaqueValidator
    from p2pkad.validators.public_key import PublicKeyValidator
    from p2pkad.validators.signed import SignedRecord, SignedRecordValidator, open_record, sign_record
    from p2pkad.wire.content import content_key

__version__ = "0.1.0"

__all__ = [
    "Address",
    "Config",
    "ConfigError",
    "HostConfig",
    "Identity",
    "InvalidRecord",
    "IpnsRecord",
    "IpnsValidator",
    "KademliaConfig",
    "KademliaService",
    "LocalLimit",
    "LocalProtocolError",
    "LookupFailed",
    "NetworkError",
    "NewestValidator",
    "NoPeers",
    "NoValidator",
    "NodeClosed",
    "NodeStats",
    "NotFound",
    "NotReady",
    "OpaqueValidator",
    "P2pkadError",
    "PeerBusy",
    "PeerDescription",
    "PeerId",
    "PeerInfo",
    "PeerRouter",
    "PeerState",
    "PeerUnreachable",
    "PeersFound",
    "ProtocolError",
    "ProvideReceipt",
    "ProviderStream",
    "PublicKey",
    "PublicKeyValidator",
    "PutReceipt",
    "QuorumNotMet",
    "RecordError",
    "RecordTooLarge",
    "RemoteProtocolError",
    "RequestFailed",
    "RequestTimeout",
    "SignedRecord",
    "SignedRecordValidator",
    "StaleRecord",
    "StoreBounds",
    "StoreError",
    "StoreFailed",
    "StoreFull",
    "Validator",
    "ValueFound",
    "__version__",
    "content_key",
    "new_host",
    "open_ipns_record",
    "open_node",
    "open_record",
    "open_store",
    "peer_id",
    "sign_ipns_record",
    "sign_record",
]

if not TYPE_CHECKING:
    # The homes of the names, the quick ones to import first.
    _HOMES = (
        "errors",
        "core.peers",
        "config",
        "validators.base",
        "validators.newest",
        "validators.opaque",
        "validators.public_key",
        "validators.signed",
        "validators.ipns",
        "identity",
        "node.results",
        "node.finding",
        "wire.content",
        "node.service",
        "store.sqlite",
        "net.libp2p",
        "node.node",
    )

    def __getattr__(name):
        if name in __all__:
            for home in _HOMES:
                module = import_module(f"p2pkad.{home}")
                if hasattr(module, name):
                    return getattr(module, name)
        raise AttributeError(f"module 'p2pkad' has no attribute {name!r}")
