"""`p2pkad provide`, `p2pkad findprovs` and `p2pkad stop-providing`: who has which content."""

from __future__ import annotations

from p2pkad.cli import output
from p2pkad.cli.client import ask
from p2pkad.cli.exits import DONE
from p2pkad.cli.options import Asking, AskOptions, OfferOptions, Whole
from p2pkad.cli.requests import Asked, FindProviders, Provide, StopProviding, ask_once


def provide(
    content: str,
    /,
    *,
    asking: Asking = Asking(),
    options: OfferOptions = OfferOptions(),
) -> int:
    """Announce that content is provided: by the running node or, in a client of the command, by the identity in --data-dir.

    Parameters
    ----------
    content
        A CID, or a multihash in hex.
    """
    request = Provide(content=content, timeout=asking.timeout)

    async def work(node: Asked) -> int:
        receipt = await ask_once(node, request)
        output.receipt(asking.json, receipt)
        if not receipt["sent"]:  # of a node that may be alone
            output.remark(f"p2pkad: {content}: nobody was told. The node keeps it, and tells others when somebody is there")
        return DONE

    return ask(work, options=options, asking=asking, doing=f"announcing {content}", leaves="announces")


def findprovs(
    content: str,
    /,
    *,
    count: Whole = 20,
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
    request = FindProviders(content=content, count=count, timeout=asking.timeout)

    async def work(node: Asked) -> int:
        await node.ask(request, output.each)
        return DONE

    return ask(work, options=options, asking=asking, doing=f"looking for providers of {content}")


def stop_providing(content: str, /, *, asking: Asking = Asking()) -> int:
    """Let the running node announce content no more.

    Parameters
    ----------
    content
        A CID, or a multihash in hex.
    """
    request = StopProviding(content=content, timeout=asking.timeout)

    async def work(node: Asked) -> int:
        return output.stopped(asking.json, await ask_once(node, request), f"{content}: the node does not provide it")

    return ask(work, options=AskOptions(), asking=asking, stays=True, doing=f"giving up {content}")
