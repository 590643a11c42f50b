"""`p2pkad findpeer`, `closest`, `ping` and `peers`: peers and where they are."""

from __future__ import annotations

import sys

from p2pkad.cli import output
from p2pkad.cli.client import ask
from p2pkad.cli.exits import DONE
from p2pkad.cli.options import Asking, AskOptions, Whole
from p2pkad.cli.requests import Answer, Asked, Closest, FindPeer, Peers, Ping, ask_once
from p2pkad.cli.text import plain


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
    request = FindPeer(peer=peer, timeout=asking.timeout)

    async def work(node: Asked) -> int:
        output.record(await ask_once(node, request))
        return DONE

    return ask(work, options=options, asking=asking, doing=f"looking for {peer}")


def closest(
    key: str,
    /,
    *,
    count: Whole | None = None,
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
    request = Closest(key=key, count=count, timeout=asking.timeout)

    async def work(node: Asked) -> int:
        await node.ask(request, output.each)
        return DONE

    return ask(work, options=options, asking=asking, doing=f"looking for the peers nearest to {key}")


def ping(
    peer: str,
    /,
    *,
    count: Whole = 3,
    asking: Asking = Asking(),
    options: AskOptions = AskOptions(),
) -> int:
    """Print the round trips to a peer.

    Parameters
    ----------
    peer
        An address that ends in /p2p/<peer id>, or a peer id, which takes a running node or --bootstrap to be found. A running
        node that is connected to the peer asks it there; with --data-dir '' the address is dialled.
    count
        How many times, a second apart: --timeout is for all of them.
    """
    request = Ping(peer=peer, count=count, timeout=asking.timeout)

    async def work(node: Asked) -> int:
        async def show(answer: Answer) -> None:
            if asking.json:
                output.record(answer)
            else:
                output.line(f"{answer['milliseconds']:.3f} ms")

        await node.ask(request, show)
        return DONE

    return ask(work, options=options, asking=asking, doing=f"pinging {peer}", alone=peer.startswith("/"))


def peers(
    *,
    asking: Asking = Asking(),
    options: AskOptions = AskOptions(),
) -> int:
    """Print the peers that the node is connected to or has in its routing table.

    A line of JSON each; on a terminal, without --json, a table: bucket, in the routing table (T), who dialled
    (> this node, < the peer), id, program, first address.
    """
    request = Peers(timeout=asking.timeout)
    as_table = sys.stdout.isatty() and not asking.json

    async def work(node: Asked) -> int:
        async def show(peer: Answer) -> None:
            if as_table:
                output.line(row(peer))
            else:
                output.record(peer)

        await node.ask(request, show)
        return DONE

    return ask(work, options=options, asking=asking, doing="looking at the peers", looks=True)


def row(peer: Answer) -> str:
    """A peer for a person, in columns."""
    table = "T" if peer["in_table"] else "-"
    dialled = {"outbound": ">", "inbound": "<"}.get(peer["connected"], "-")
    first = peer["addresses"][0].removesuffix(f"/p2p/{peer['id']}") if peer["addresses"] else "-"
    return f"{peer['bucket']:>3} {table} {dialled} {peer['id']:<52} {plain(peer['agent'] or '-'):<20.20} {first}"
