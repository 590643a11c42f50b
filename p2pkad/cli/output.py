"""What commands print: data on standard output, a line or an object at a time; everything else on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import trio

import p2pkad

PATIENCE = 1.0
"""Seconds of work before a terminal is shown that there is some."""


def line(text: str) -> None:
    """A line of data. It leaves at once: whoever reads it through a pipe may be waiting."""
    print(text, flush=True)


def record(**fields: object) -> None:
    """An object of data, as a line of JSON."""
    line(json.dumps(fields))


def raw(data: bytes) -> None:
    """Data as it is, with nothing added: it may be piped into a file. On a terminal the prompt gets a line of its own."""
    sys.stdout.buffer.write(data)
    if sys.stdout.isatty() and not data.endswith(b"\n"):
        sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()


def remark(text: str) -> None:
    """A line for the person at the terminal."""
    print(text, file=sys.stderr, flush=True)


def peer(info: p2pkad.PeerInfo) -> None:
    """A peer, as a line of JSON. Its addresses are complete: each can be dialled as it stands."""
    record(id=str(info.id), addresses=[f"{address}/p2p/{info.id}" for address in info.addresses])


def receipt(as_json: bool, *, key: str, **groups: Iterable[p2pkad.PeerId]) -> None:
    """What became of something that was told to several peers: a line a peer, or one object."""
    texts = {what: [str(each) for each in peers] for what, peers in groups.items()}
    if as_json:
        record(key=key, **texts)
        return
    for what, peers in texts.items():
        for each in peers:
            line(f"{what} {each}")


@asynccontextmanager
async def progress(what: str) -> AsyncIterator[None]:
    """Say on a terminal what is going on, once it has taken a second; nowhere else."""
    if not sys.stderr.isatty():
        yield
        return
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_spin, what)
        yield
        nursery.cancel_scope.cancel()


async def _spin(what: str) -> None:
    await trio.sleep(PATIENCE)
    from rich.console import Console  # noqa: PLC0415 - most commands are done by now

    with Console(stderr=True).status(f"{what} ..."):
        await trio.sleep_forever()
