"""A node that lives as long as one command: it asks the network that its bootstrap peers are part of, and leaves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from math import inf
from typing import TYPE_CHECKING

import trio

import p2pkad
from p2pkad.cli.exits import UsageError
from p2pkad.cli.logs import configure
from p2pkad.cli.options import Asking, AskOptions, Namespaces, settings
from p2pkad.cli.output import progress
from p2pkad.cli.process import execute

if TYPE_CHECKING:
    from p2pkad import KademliaService as Node

GRACE = 2.0
"""Seconds beyond the time-out: a search ends by its own deadline first, and says more than "timed out"."""


def ask(
    work: Callable[[Node], Awaitable[int]],
    *,
    options: AskOptions,
    asking: Asking,
    doing: str,
    namespaces: Namespaces | None = None,
    alone: bool = False,
) -> int:
    """Open a client, let it `work`, close it; returns the exit code.

    options: `AskOptions` or `OfferOptions`. alone: it may be that nobody but the peer that was named is asked.
    """
    chosen = {"listen": (), **settings(options), "mode": "client"}
    directory = chosen.pop("data_dir", None)
    if directory is not None:
        # The key and nothing else: what else is there belongs to the node that stays, which may be running.
        chosen["identity"] = p2pkad.Identity.in_directory(directory)
    if namespaces is not None:
        chosen |= namespaces.settings()
    config = p2pkad.Config(**chosen)
    if not config.bootstrap and not alone:
        raise UsageError("nobody to ask: pass --bootstrap with the address of a peer, as `p2pkad run` prints it")
    if not 0 < asking.timeout < inf:
        raise UsageError(f"--timeout {asking.timeout}: must be above 0")
    configure("warning", "text")
    return execute(partial(_ask, work, config, asking.timeout, doing))


async def _ask(work: Callable[[Node], Awaitable[int]], config: p2pkad.Config, timeout: float, doing: str) -> int:
    with trio.move_on_after(timeout + GRACE):
        async with progress(doing), p2pkad.open_node(config) as node:
            try:
                return await work(node)
            except p2pkad.NoPeers as nobody:
                raise await _why(nobody, node, config) from nobody
    raise TimeoutError(f"{doing}: no result within {timeout:g} s")


async def _why(nobody: p2pkad.NoPeers, node: Node, config: p2pkad.Config) -> p2pkad.P2pkadError:
    """Why nobody answered, as far as dialling the first bootstrap peer tells."""
    if not config.bootstrap:
        return nobody
    try:
        peer = await node.connect(config.bootstrap[0], timeout=config.dial_timeout)
    except p2pkad.NetworkError as error:
        return error
    return p2pkad.RequestFailed(peer, f"is there, but answers nothing on {config.protocol}. Is --protocol right?")
