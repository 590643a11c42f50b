"""The network over py-libp2p: the only package, with `identity`, that imports libp2p."""

from p2pkad.net.libp2p.host import ArmouredHost, new_host
from p2pkad.net.libp2p.network import Libp2pNetwork
from p2pkad.net.libp2p.router import PeerRouter

__all__ = ["ArmouredHost", "Libp2pNetwork", "PeerRouter", "new_host"]
