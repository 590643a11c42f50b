"""What callers and configurations give, looked at before anything is done with it."""

from __future__ import annotations

from p2pkad.config import KademliaConfig
from p2pkad.core.peers import Address, PeerId, PeerInfo, merged
from p2pkad.errors import ConfigError, LocalProtocolError
from p2pkad.wire.addresses import parse_peer, with_port


def as_bytes(what: str, given: bytes) -> bytes:
    """For callers that no type checker has seen. Raises LocalProtocolError."""
    if not isinstance(given, bytes):
        raise LocalProtocolError(f"{what}: takes bytes, and not a {type(given).__name__}; write it as b'...'")
    return given


def check_count(what: str, given: int) -> None:
    """Raises LocalProtocolError for anything but a whole number, 0 or more."""
    if not isinstance(given, int) or isinstance(given, bool) or given < 0:
        raise LocalProtocolError(f"{what}={given!r}: must be a whole number, 0 or more")


def named(peer: PeerInfo | str, own: PeerId) -> PeerInfo:
    """A peer that is to be connected to. Raises ConfigError: what it should be. LocalProtocolError: the node itself."""
    info = _written(peer) if isinstance(peer, str) else peer
    if not isinstance(info, PeerInfo):
        raise ConfigError(f"{info!r} does not say who and where; give an address that ends in /p2p/<peer id>, or a PeerInfo")
    if not all(isinstance(address, Address) for address in info.addresses):
        raise ConfigError(f"{info!r}: its addresses are no Address values; give them as text, each ending in /p2p/<peer id>")
    other(info.id, own)
    return info


def other(peer: PeerId, own: PeerId) -> PeerId:
    """A peer that is not the node itself. Raises LocalProtocolError."""
    if peer == own:
        raise LocalProtocolError(f"{peer} is this node's own id")
    return peer


def bootstrap_peers(config: KademliaConfig) -> tuple[PeerInfo, ...]:
    """Those of a configuration, each once. Raises ConfigError."""
    try:
        return merged(map(_written, config.bootstrap))
    except ConfigError as error:
        raise ConfigError(f"bootstrap: {error}", "bootstrap") from error


def _written(text: str) -> PeerInfo:
    """A peer that somebody wrote down. What a peer says of others may have addresses that lead nowhere; this may not."""
    info = parse_peer(text)
    for address in info.addresses:
        with_port(address)
    return info
