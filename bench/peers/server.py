"""A p2pkad server with room for many connections, which is asked by others and told nothing.

server.py PROTOCOL CONNECTIONS
"""

from __future__ import annotations

import sys

import trio
from control import Fields, obey
from descriptors import raise_limit

from p2pkad import open_node


async def main(protocol: str, connections: str) -> None:
    raise_limit()
    listen = ["/ip4/127.0.0.1/tcp/0"]
    async with open_node(protocol=protocol, listen=listen, max_connections=int(connections)) as node:

        async def peers(request: Fields) -> Fields:
            """How many are connected."""
            return {"peers": node.stats().peers}

        await obey({"peer": {"id": str(node.id), "addresses": list(node.addresses)}, "versions": {}}, {"peers": peers})


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2])
