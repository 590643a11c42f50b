"""A protocol of one's own beside Kademlia, on one host: greeters, and whoever finds them.

python examples/own_host.py --name Ada                         greets who asks, and tells the network that it does
python examples/own_host.py --bootstrap ADDRESS                looks for greeters, and lets each of them greet it
"""

from __future__ import annotations

import argparse
import sys

import trio
from libp2p.abc import IHost, INetStream
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError
from libp2p.peer.id import ID

import p2pkad

GREETING = TProtocol("/greeting/1.0.0")
GREETERS = p2pkad.content_key(b"those who speak /greeting/1.0.0")
LONGEST = 200
"""Bytes of a line."""


async def main(name: str | None, listen: str, bootstrap: list[str]) -> None:
    """Greet, or be greeted."""
    config = p2pkad.Config(listen=(listen,), bootstrap=tuple(bootstrap), allow_zero_peers=True)
    host = p2pkad.new_host(config)
    async with host.run(), p2pkad.KademliaService(host, config) as dht:
        if name is not None:
            await serve(host, dht, name)
        else:
            await look_for_greeters(host, dht)


async def serve(host: IHost, dht: p2pkad.KademliaService, name: str) -> None:
    """Answer on the protocol, and be found under its key."""

    async def greet(stream: INetStream) -> None:
        with trio.fail_after(10):
            await write_line(stream, f"Hello {await read_line(stream)}, I am {name}.")
            await stream.close()

    host.set_stream_handler(GREETING, greet)
    await dht.provide(GREETERS)
    print(dht.addresses[0], "Ctrl-C ends it.", sep="\n", flush=True)
    await trio.sleep_forever()


async def look_for_greeters(host: IHost, dht: p2pkad.KademliaService) -> None:
    """Let everybody greet us whom the network tells of, as they are found."""
    await dht.wait_ready(timeout=30)
    async with dht.stream_providers(GREETERS) as greeters:
        async for peer in greeters:
            try:
                await dht.connect(peer)
                with trio.fail_after(10):
                    stream = await host.new_stream(ID(peer.id), [GREETING])
                    await write_line(stream, "stranger")
                    print(await read_line(stream))
                    await stream.close()
            except (p2pkad.P2pkadError, BaseLibp2pError, trio.TooSlowError, ValueError) as error:
                print(f"{peer.id} does not greet: {error}", file=sys.stderr)


async def write_line(stream: INetStream, text: str) -> None:
    await stream.write(f"{text}\n".encode())


async def read_line(stream: INetStream) -> str:
    """A line, which may come in pieces. Raises ValueError: it is too long, or no UTF-8."""
    line = b""
    while not line.endswith(b"\n"):
        line += await stream.read(LONGEST)
        if len(line) > LONGEST:
            raise ValueError(f"a line has {LONGEST} bytes at most")
    return line.decode().rstrip("\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", help="to greet under; without one, greeters are looked for")
    parser.add_argument("--listen", default="/ip4/127.0.0.1/tcp/0", metavar="ADDRESS", help="default: %(default)s")
    parser.add_argument("--bootstrap", default=[], action="append", metavar="ADDRESS", help="of a node that is there")
    given = vars(parser.parse_args())
    try:
        trio.run(lambda: main(**given), restrict_keyboard_interrupt_to_checkpoints=True)
    except KeyboardInterrupt:
        pass
    except p2pkad.P2pkadError as error:
        sys.exit(f"{type(error).__name__}: {error}")
