"""What commands print: data on standard output, a line or an object at a time; everything else on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import trio

from p2pkad.cli.exits import DONE, NOT_FOUND

PATIENCE = 1.0
"""Seconds of work before a terminal is shown that there is some."""


def line(text: str) -> None:
    """A line of data. It leaves at once: whoever reads it through a pipe may be waiting."""
    print(text, flush=True)


def record(fields: Mapping[str, object]) -> None:
    """An object of data, as a line of JSON."""
    line(json.dumps(fields))


async def each(fields: Mapping[str, object]) -> None:
    """`record`, for what comes as a node finds it."""
    record(fields)


def raw(data: bytes) -> None:
    """Data as it is, with nothing added: it may be piped into a file. On a terminal the prompt gets a line of its own."""
    sys.stdout.buffer.write(data)
    if sys.stdout.isatty() and not data.endswith(b"\n"):
        sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()


def remark(text: str) -> None:
    """A line for the person at the terminal."""
    print(text, file=sys.stderr, flush=True)


def receipt(as_json: bool, told: Mapping[str, Any]) -> None:
    """What became of something that several peers were told: one object, or a line a peer."""
    if as_json:
        record(told)
        return
    for what, peers in told.items():
        for each in peers if isinstance(peers, list) else ():
            line(f"{what} {each}")


def stopped(as_json: bool, told: Mapping[str, Any], nothing: str) -> int:
    """What became of the wish to end something; returns the exit code. nothing: what to say when there was nothing to end."""
    if as_json:
        record(told)
    elif not told["stopped"]:
        remark(f"p2pkad: {nothing}")
    return DONE if told["stopped"] else NOT_FOUND


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
    from rich.live import Live  # noqa: PLC0415
    from rich.spinner import Spinner  # noqa: PLC0415

    # rich takes what is printed meanwhile above its line, to standard error: right on one terminal, and nowhere else.
    same = sys.stdout.isatty()
    spinner, console = Spinner("dots", f"{what} ..."), Console(stderr=True)
    with Live(spinner, console=console, refresh_per_second=12.5, transient=True, redirect_stdout=same):
        await trio.sleep_forever()
