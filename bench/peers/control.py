"""What the benchmark's own peers have in common: they obey lines as interop/CONTROL.md has it, and measure a load alike.

    await obey(ready, {"load": load})      the ready line, then a verb at a time, until the input ends

A load is what the go peer calls so: FIND_NODE for random keys, a number of them in flight, each answer read and decoded.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import trio

KEY_BYTES = 32

Fields = dict[str, Any]
Verb = Callable[[Fields], Awaitable[Fields]]
Ask = Callable[[bytes], Awaitable[int]]
"""Sends one FIND_NODE for a key, and returns how many peers the answer names. Raises RequestFailed."""


class RequestFailed(Exception):
    """A request was not answered."""


async def obey(ready: Fields, verbs: Mapping[str, Verb]) -> None:
    """Say who is here, and do what lines on standard input ask for, one after the other, until they end."""
    async with trio.lowlevel.FdStream(os.dup(0)) as given, trio.lowlevel.FdStream(os.dup(1)) as output:

        async def say(line: Fields) -> None:
            await output.send_all(json.dumps(line).encode() + b"\n")

        await say({"event": "ready", **ready})
        async for line in _lines(given):
            request = json.loads(line)
            try:
                answer = {"ok": True, **await verbs[request["verb"]](request)}
            except Exception as error:  # the orchestrator prints it
                answer = {"ok": False, "error": {"kind": "failed", "text": f"{type(error).__name__}: {error}"}}
            await say({"id": request["id"], **answer})


def here(identity: str, address: str) -> Fields:
    """A ready line's fields for one who listens at `address`."""
    return {"peer": {"id": identity, "addresses": [f"{address}/p2p/{identity}"]}, "versions": {}}


async def measure(ask: Ask, request: Fields, keys: random.Random) -> Fields:
    """Have `requests` requests answered, `in_flight` at a time. rate: those answered, a second. p50, p99: seconds.

    As in the go peer, as many are sent first that do not count, so that streams which are used again are open.
    """
    in_flight, requests = request["in_flight"], request["requests"]
    await _run(ask, keys, in_flight, in_flight)
    started = time.perf_counter()
    latencies, peers = await _run(ask, keys, in_flight, requests)
    elapsed = time.perf_counter() - started
    latencies.sort()
    return {
        "requests": requests,
        "failed": requests - len(latencies),
        "elapsed": elapsed,
        "rate": len(latencies) / elapsed,
        "p50": latencies[len(latencies) // 2] if latencies else None,
        "p99": latencies[len(latencies) * 99 // 100] if latencies else None,
        "peers_per_reply": peers / len(latencies) if latencies else 0.0,
    }


async def _run(ask: Ask, keys: random.Random, in_flight: int, requests: int) -> tuple[list[float], int]:
    latencies: list[float] = []
    left, peers = requests, 0

    async def one_after_the_other() -> None:
        nonlocal left, peers
        while left:
            left -= 1
            key = keys.randbytes(KEY_BYTES)
            began = time.perf_counter()
            try:
                named = await ask(key)
            except RequestFailed:
                continue
            latencies.append(time.perf_counter() - began)
            peers += named

    async with trio.open_nursery() as nursery:
        for _ in range(in_flight):
            nursery.start_soon(one_after_the_other)
    return latencies, peers


async def _lines(stream: trio.abc.ReceiveStream) -> AsyncIterator[bytes]:
    pending = b""
    async for chunk in stream:
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            yield line
