"""Whatever an application has for a host, as a `Host`.

The node may not know libp2p, and its caller need not know what a `Host` is: this is where they meet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from p2pkad.net.base import Host

if TYPE_CHECKING:
    from p2pkad.net.libp2p.foreign import PlainHost

AnyHost: TypeAlias = "Host | PlainHost"
"""One of ours, or any of py-libp2p's."""


def as_host(host: AnyHost) -> Host:
    """The host itself if it is one of ours; else what carries networks on it.

    Raises ConfigError: it is nothing that could.
    """
    if isinstance(host, Host):
        return host
    from p2pkad.net.libp2p.foreign import ForeignHost  # noqa: PLC0415 - whoever has such a host has loaded libp2p

    return ForeignHost(host)
