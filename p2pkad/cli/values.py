"""`p2pkad put` and `p2pkad get`: values under keys."""

from __future__ import annotations

import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

import p2pkad
from p2pkad.cli.client import ask
from p2pkad.cli.exits import DONE, FAILED, UsageError
from p2pkad.cli.options import Asking, AskOptions, Namespaces, key_of, value_of
from p2pkad.cli.output import raw, receipt, record, remark

if TYPE_CHECKING:
    from p2pkad import KademliaService as Node


def put(
    key: str,
    value: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    min_stored: int = 1,
    allow_large: bool = False,
    asking: Asking = Asking(),
    namespaces: Namespaces = Namespaces(),
    options: AskOptions = AskOptions(),
) -> int:
    """Store a value under a key.

    Nobody puts it again when this command has left: peers drop it after their `record_lifetime`.

    Parameters
    ----------
    key
        /ns/name, or hex: and its bytes.
    value
        The value itself, @file, or - for standard input.
    min_stored
        How many peers have to hold it in the end.
    allow_large
        Also store what not every implementation accepts: a record of more than 16 KiB.
    """
    name, content = key_of(key), value_of(value, sys.stdin.buffer)

    async def work(node: Node) -> int:
        with _rules_named(namespaces):
            result = await node.put_value(name, content, allow_large=allow_large, timeout=asking.timeout)
        # The copy in this process ends with it.
        stored = [peer for peer in result.stored if peer != node.id]
        receipt(asking.json, key=key, stored=stored, refused=result.refused, unreachable=result.unreachable)
        if len(stored) >= min_stored:
            return DONE
        remark(f"p2pkad: {key}: held by {len(stored)}, {min_stored} were asked for")
        return FAILED

    return ask(work, options=options, asking=asking, namespaces=namespaces, doing=f"storing {key}")


def get(
    key: str,
    /,
    *,
    quorum: int = 0,
    asking: Asking = Asking(),
    namespaces: Namespaces = Namespaces(),
    options: AskOptions = AskOptions(),
) -> int:
    """Print the best value under a key, byte by byte as it was stored.

    Parameters
    ----------
    key
        /ns/name, or hex: and its bytes.
    quorum
        How many peers have to give the same value; then the search ends. 0 asks all that are nearest to the key.
    """
    name = key_of(key)

    async def work(node: Node) -> int:
        with _rules_named(namespaces):
            found = await node.get_record(name, quorum=quorum, timeout=asking.timeout)
        if asking.json:
            holders = [str(peer) for peer in found.holders]
            told = {"asked": found.asked, "answered": found.answered, "complete": found.complete}
            record(key=key, value=b64encode(found.value).decode(), **{"from": holders}, **told)
        else:
            raw(found.value)
        return DONE

    return ask(work, options=options, asking=asking, namespaces=namespaces, doing=f"looking for {key}")


@contextmanager
def _rules_named(namespaces: Namespaces) -> Iterator[None]:
    """Add to an error about a record what this command was told of its namespace."""
    try:
        yield
    except p2pkad.InvalidRecord as error:
        known = ", ".join(["pk=pk", *namespaces.validator])
        raise UsageError(f"{error}. Known namespaces: {known}; --validator NS=KIND adds one.") from error
