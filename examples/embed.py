"""A trio program with a node in it: notes that a network remembers.

python examples/embed.py                                            the first node of a network; prints its address
python examples/embed.py shopping bread --bootstrap ADDRESS         writes a note, and says who holds it
python examples/embed.py shopping --bootstrap ADDRESS               reads it
"""

from __future__ import annotations

import argparse
import sys

import trio

import p2pkad


async def main(name: str | None, text: str | None, listen: str, bootstrap: list[str]) -> None:
    """Join the network, and do with the note what was asked for."""
    async with p2pkad.open_node(listen=[listen], bootstrap=bootstrap, validators={"notes": p2pkad.OpaqueValidator()}) as node:
        if name is None:
            print(node.addresses[0], "Ctrl-C ends it.", sep="\n", flush=True)
            await trio.sleep_forever()
        key = f"/notes/{name}".encode()
        await node.wait_ready(timeout=30)
        if text is not None:
            receipt = await node.put_value(key, text.encode())
            print("held by", *receipt.stored)
        print((await node.get_value(key)).decode())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", help="of the note; without one, the node serves until Ctrl-C")
    parser.add_argument("text", nargs="?", help="to write; without one, the note is read")
    parser.add_argument("--listen", default="/ip4/127.0.0.1/tcp/0", metavar="ADDRESS", help="default: %(default)s")
    parser.add_argument("--bootstrap", default=[], action="append", metavar="ADDRESS", help="of a node that is there")
    given = vars(parser.parse_args())
    try:
        trio.run(lambda: main(**given), restrict_keyboard_interrupt_to_checkpoints=True)
    except KeyboardInterrupt:
        pass
    except p2pkad.P2pkadError as error:
        sys.exit(f"{type(error).__name__}: {error}")
