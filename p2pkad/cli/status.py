"""`p2pkad status`: a node on one screen."""

from __future__ import annotations

from collections.abc import Iterator

from p2pkad.cli import output
from p2pkad.cli.client import ask
from p2pkad.cli.exits import DONE
from p2pkad.cli.options import Asking, AskOptions
from p2pkad.cli.requests import Answer, Asked, Status, ask_once
from p2pkad.cli.text import duration, size
from p2pkad.ops.health import counted

MOST_ADDRESSES = 4
"""Addresses of either kind that a person is shown."""


def status(
    *,
    asking: Asking = Asking(),
    options: AskOptions = AskOptions(),
) -> int:
    """Print who and where the node is, whom it knows, what it keeps and what it does."""

    request = Status(timeout=asking.timeout)

    async def work(node: Asked) -> int:
        said = await ask_once(node, request)
        if asking.json:
            output.record(said)
        else:
            for text in lines(said):
                output.line(text)
        return DONE

    return ask(work, options=options, asking=asking, doing="looking at the node", looks=True)


def lines(said: Answer) -> Iterator[str]:
    """A status for a person."""
    yield f"id           {said['id']}"
    yield f"running      {duration(said['uptime'])}, p2pkad {said['version']}, process {said['pid']}"
    yield f"network      {said['protocol']}, as {said['mode']}"
    yield from _listed("address", said["addresses"])
    yield from _listed("seen at", [f"{address} by {peers}" for address, peers in said["observed"].items()])
    yield f"connections  {said['connections']} of {said['max_connections']}"
    buckets = " ".join(f"{bucket}:{peers}" for bucket, peers in said["buckets"].items())
    silent = f", {said['silent']} silent" if said["silent"] else ""
    yield f"table        {counted(said['table'], 'peer')}{silent}" + (f"; by bucket {buckets}" if buckets else "")
    yield f"lookups      {said['lookups']} running"
    yield (
        f"store        {counted(said['records'], 'record')}, {counted(said['providers'], 'provider')} of "
        f"{counted(said['provider_keys'], 'key')}; "
        f"{size(said['store_bytes'])} of {size(said['max_store_bytes'])}"
    )
    if said["store_trouble"]:
        yield f"             {said['store_trouble']}"
    yield f"publishing   {counted(said['published'], 'key')}"


def _listed(name: str, texts: list[str]) -> Iterator[str]:
    for text in texts[:MOST_ADDRESSES] or ["-"]:
        yield f"{name:<12} {text}"
    if len(texts) > MOST_ADDRESSES:
        yield f"{name:<12} and {len(texts) - MOST_ADDRESSES} more"
