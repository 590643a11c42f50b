"""`p2pkad provide` and `p2pkad findprovs`: who has which content."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from p2pkad.cli import output
from p2pkad.cli.client import ask
from p2pkad.cli.exits import DONE, FAILED, NOT_FOUND, TIMED_OUT, UsageError
from p2pkad.cli.options import Asking, AskOptions, OfferOptions

if TYPE_CHECKING:
    from p2pkad import KademliaService as Node


def provide(
    content: str,
    /,
    *,
    asking: Asking = Asking(),
    options: OfferOptions = OfferOptions(),
) -> int:
    """Announce that content is provided.

    The announcement names the identity in --data-dir (a new one without it) and the addresses of --announce or --listen, and
    outlives this command. Nobody makes it again: peers keep it for their `provider_lifetime`, its addresses for half of that.
    Of --data-dir only the key is used: a node may be running on it.

    Parameters
    ----------
    content
        A CID, or a multihash in hex.
    """

    async def work(node: Node) -> int:
        # Confirmed, because this process ends next, and its connections with it: what is merely sent could be lost.
        result = await node.provide(content, confirm=True, timeout=asking.timeout)
        output.receipt(
            asking.json,
            key=f"hex:{result.key.hex()}",
            sent=result.sent,
            refused=result.refused,
            unreachable=result.unreachable,
            confirmed=result.confirmed,
            unknown=result.unknown,
        )
        return DONE if result.sent else FAILED

    return ask(work, options=options, asking=asking, doing=f"announcing {content}")


def findprovs(
    content: str,
    /,
    *,
    count: int = 20,
    asking: Asking = Asking(),
    options: AskOptions = AskOptions(),
) -> int:
    """Print who provides content, as they are found.

    Parameters
    ----------
    content
        A CID, or a multihash in hex.
    count
        End the search after so many; 0 looks for all.
    """
    if count < 0:
        raise UsageError(f"--count {count}: must be 0 or more")

    async def work(node: Node) -> int:
        found, deadline = 0, trio.current_time() + asking.timeout
        async with node.stream_providers(content, count=count or None, timeout=asking.timeout) as providers:
            async for provider in providers:
                output.peer(provider)
                found += 1
        if found:
            return DONE
        output.remark(f"p2pkad: {content}: no provider found")
        return NOT_FOUND if trio.current_time() < deadline else TIMED_OUT

    return ask(work, options=options, asking=asking, doing=f"looking for providers of {content}")
