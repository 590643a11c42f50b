"""`p2pkad findpeer`, `p2pkad closest` and `p2pkad ping`: peers and where they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from p2pkad.cli import output
from p2pkad.cli.client import ask
from p2pkad.cli.exits import DONE, NOT_FOUND, UsageError
from p2pkad.cli.options import Asking, AskOptions, key_of

if TYPE_CHECKING:
    from p2pkad import KademliaService as Node

BETWEEN_PINGS = 1.0
"""Seconds from one answer to the next question, as ping(8) leaves them."""


def findpeer(
    peer: str,
    /,
    *,
    asking: Asking = Asking(),
    options: AskOptions = AskOptions(),
) -> int:
    """Print where a peer can be reached.

    Parameters
    ----------
    peer
        A peer id: 12D3KooW..., Qm..., or its CID.
    """

    async def work(node: Node) -> int:
        output.peer(await node.find_peer(peer, timeout=asking.timeout))
        return DONE

    return ask(work, options=options, asking=asking, doing=f"looking for {peer}")


def closest(
    key: str,
    /,
    *,
    count: int | None = None,
    asking: Asking = Asking(),
    options: AskOptions = AskOptions(),
) -> int:
    """Print the live peers nearest to a key, nearest first.

    Parameters
    ----------
    key
        /ns/name, or hex: and its bytes.
    count
        Print so many at most; without it, and at most, k.
    """
    name = key_of(key)
    if count is not None and count < 1:
        raise UsageError(f"--count {count}: must be 1 or more")

    async def work(node: Node) -> int:
        found = await node.closest_peers(name, count=count, timeout=asking.timeout)
        for peer in found:
            output.peer(peer)
        return DONE if found else NOT_FOUND

    return ask(work, options=options, asking=asking, doing=f"looking for the peers nearest to {key}")


def ping(
    peer: str,
    /,
    *,
    count: int = 3,
    asking: Asking = Asking(),
    options: AskOptions = AskOptions(),
) -> int:
    """Print the round trips to a peer.

    Parameters
    ----------
    peer
        An address that ends in /p2p/<peer id>, or a peer id, which takes --bootstrap to be found.
    count
        How many times.
    """
    if count < 1:
        raise UsageError(f"--count {count}: must be 1 or more")

    async def work(node: Node) -> int:
        for number in range(count):
            if number:
                await trio.sleep(BETWEEN_PINGS)
            milliseconds = round(1000 * await node.ping(peer, timeout=asking.timeout), 3)
            if asking.json:
                output.record(peer=peer, milliseconds=milliseconds)
            else:
                output.line(f"{milliseconds:.3f} ms")
        return DONE

    return ask(work, options=options, asking=asking, doing=f"pinging {peer}", alone=peer.startswith("/"))
