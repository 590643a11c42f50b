"""What callers and configurations give, looked at before anything is done with it."""

from __future__ import annotations

from p2pkad.config import KademliaConfig
from p2pkad.core.peers import PeerInfo, merged
from p2pkad.errors import ConfigError, LocalProtocolError
from p2pkad.wire.addresses import parse_peer


def as_bytes(what: str, given: bytes) -> bytes:
    """For callers that no type checker has seen. Raises LocalProtocolError."""
    if not isinstance(given, bytes):
        raise LocalProtocolError(f"{what}: takes bytes, and not a {type(given).__name__}; write it as b'...'")
    return given


def bootstrap_peers(config: KademliaConfig) -> tuple[PeerInfo, ...]:
    """Those of a configuration, each once. Raises ConfigError."""
    try:
        return merged(map(parse_peer, config.bootstrap))
    except ConfigError as error:
        raise ConfigError(f"bootstrap: {error}", "bootstrap") from error
