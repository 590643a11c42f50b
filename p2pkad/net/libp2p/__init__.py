"""The network over py-libp2p: the only package, with `identity`, that imports libp2p."""

from p2pkad.net.libp2p.host import ArmouredHost, new_host
from p2pkad.net.libp2p.network import Libp2pNetwork

__all__ = ["ArmouredHost", "Libp2pNetwork", "new_host"]
