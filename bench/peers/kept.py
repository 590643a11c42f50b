"""A p2pkad node with a data directory that puts, provides and stops providing, and says what it was told is done.

kept.py DIRECTORY LIFE DURABILITY

Each line on standard output is an acknowledgement: `put KEY VALUE`, `provide KEY`, `stop KEY`, in hex. It is written after the
call has returned, in one piece, and is in the pipe when this process is killed. `stopping KEY` comes before the call: from then
on nobody knows, until `stop`.
"""

from __future__ import annotations

import os
import sys
from hashlib import sha256
from itertools import count

import trio

from p2pkad import KademliaService, OpaqueValidator, content_key, open_node

TASKS = 50
"""That put and provide at the same time."""
STOPPED = 2
"""Each second content is withdrawn again."""


async def work(node: KademliaService, name: str) -> None:
    for number in count():
        seed = f"{name}/{number}".encode()
        key, value = b"/kills/" + sha256(seed).digest(), sha256(b"value" + seed).digest() * 10
        await node.put_value(key, value)
        tell("put", key, value)
        content = content_key(seed)
        await node.provide(content)
        tell("provide", content)
        if number % STOPPED == 0:
            tell("stopping", content)
            await node.stop_providing(content)
            tell("stop", content)


def tell(what: str, *of: bytes) -> None:
    os.write(1, f"{what} {' '.join(each.hex() for each in of)}\n".encode())


async def main(directory: str, life: str, durability: str) -> None:
    options = {
        "data_dir": directory,
        "durability": durability,
        "listen": ["/ip4/127.0.0.1/tcp/0"],
        "allow_zero_peers": True,
        "validators": {"kills": OpaqueValidator()},
    }
    async with open_node(**options) as node, trio.open_nursery() as nursery:
        for number in range(TASKS):
            nursery.start_soon(work, node, f"{life}/{number}")


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:4])
