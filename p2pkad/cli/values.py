"""`p2pkad put`, `p2pkad get` and `p2pkad stop-publishing`: values under keys."""

from __future__ import annotations

import sys
from base64 import b64decode, b64encode
from typing import Annotated

from cyclopts import Parameter

from p2pkad.cli import output
from p2pkad.cli.client import ask
from p2pkad.cli.exits import DONE, FAILED
from p2pkad.cli.options import Asking, AskNamespaces, AskOptions, Namespaces, Whole
from p2pkad.cli.requests import Asked, Get, Put, StopPublishing, ask_once
from p2pkad.cli.words import value_of


def put(
    key: str,
    value: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    min_stored: Whole = 1,
    allow_large: bool = False,
    asking: Asking = Asking(),
    namespaces: AskNamespaces = Namespaces(),
    options: AskOptions = AskOptions(),
) -> int:
    """Store a value under a key.

    Parameters
    ----------
    key
        /ns/name, or hex: and its bytes.
    value
        The value itself, @file, or - for standard input.
    min_stored
        How many have to hold it in the end, the running node included.
    allow_large
        Also store what not every implementation accepts: a record of more than 16 KiB.
    """
    content = b64encode(value_of(value, None if sys.stdin is None else sys.stdin.buffer)).decode()
    request = Put(key=key, value=content, allow_large=allow_large, timeout=asking.timeout)

    async def work(node: Asked) -> int:
        receipt = await ask_once(node, request)
        output.receipt(asking.json, receipt)
        stored = len(receipt["stored"])
        if stored >= min_stored:
            return DONE
        output.remark(f"p2pkad: {key}: held by {stored}, {min_stored} were asked for")
        return FAILED

    return ask(work, options=options, asking=asking, namespaces=namespaces, doing=f"storing {key}", leaves="stores")


def get(
    key: str,
    /,
    *,
    quorum: Whole = 0,
    asking: Asking = Asking(),
    namespaces: AskNamespaces = Namespaces(),
    options: AskOptions = AskOptions(),
) -> int:
    """Print the best value under a key, byte by byte as it was stored.

    Parameters
    ----------
    key
        /ns/name, or hex: and its bytes.
    quorum
        How many have to give the same value; then the search ends. 0 asks all that are nearest to the key.
    """
    request = Get(key=key, quorum=quorum, timeout=asking.timeout)

    async def work(node: Asked) -> int:
        found = await ask_once(node, request)
        if asking.json:
            output.record(found)
        else:
            output.raw(b64decode(found["value"]))
        return DONE

    return ask(work, options=options, asking=asking, namespaces=namespaces, doing=f"looking for {key}")


def stop_publishing(key: str, /, *, asking: Asking = Asking()) -> int:
    """Let the running node publish nothing under a key any more.

    Parameters
    ----------
    key
        /ns/name, or hex: and its bytes.
    """
    request = StopPublishing(key=key, timeout=asking.timeout)

    async def work(node: Asked) -> int:
        return output.stopped(asking.json, await ask_once(node, request), f"{key}: the node publishes nothing there")

    return ask(work, options=AskOptions(), asking=asking, stays=True, doing=f"giving up {key}")
