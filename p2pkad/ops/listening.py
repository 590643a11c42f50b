"""The socket of the HTTP interface: which address it may have, and what is said when it cannot have it."""

from __future__ import annotations

import os
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address

import trio

from p2pkad.errors import ConfigError

BACKLOG = 64
"""Connections that the system holds until they are accepted."""


def open_listener(bind: str, *, remote: bool) -> trio.SocketListener:
    """A listener on `ADDRESS:PORT`. remote: also on an address that other machines reach.

    Raises ConfigError: not an address and a port, an address that is not allowed or not this machine's, a port that is taken.
    """
    address, port = _parse(bind)
    if not remote and not is_loopback(address):
        raise _unfit(
            bind,
            "other machines reach this address, and would read everything there without a password. "
            "Take 127.0.0.1, or say --http-remote (serve_http: remote=True)",
        )
    family = socket.AF_INET6 if isinstance(address, IPv6Address) else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A restarted node has its port at once, though connections of its last life linger.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((str(address), port))
        listening.listen(BACKLOG)
        return trio.SocketListener(trio.socket.from_stdlib_socket(listening))
    except OSError as error:
        listening.close()
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise _unfit(bind, f"cannot listen there: {reason}. Stop the other program, or take port 0 for a free one") from error


def bound(listener: trio.SocketListener) -> str:
    """Where it listens, as it stands in a URL."""
    host, port = listener.socket.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(address: IPv4Address | IPv6Address) -> bool:
    """Whether only this machine reaches it."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def _parse(bind: str) -> tuple[IPv4Address | IPv6Address, int]:
    host, colon, port = bind.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    # A name may have several addresses, and other ones tomorrow: "localhost" alone is known to mean this machine.
    host = "127.0.0.1" if host == "localhost" else host
    try:
        address = ip_address(host)
        if not colon or not port.isascii() or not port.isdigit() or int(port) > 0xFFFF:
            raise ValueError(port)
    except ValueError:
        raise _unfit(bind, "write an IP address and a port, as 127.0.0.1:8080 or [::1]:8080") from None
    return address, int(port)


def _unfit(bind: str, why: str) -> ConfigError:
    return ConfigError(f"http={bind!r}: {why}", "http")
