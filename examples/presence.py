"""Who is online: everybody says so every few seconds, and whoever stops saying so is gone soon.

    python examples/presence.py ada                                          the first one; prints its address
    python examples/presence.py bob --watch ada --bootstrap ADDRESS          says when Ada comes and goes

A word of presence is JSON with the time it was said and for how long it holds, which is what `NewestValidator` judges: a
newer one replaces it, and an old one is served by nobody. Nothing is signed, so anybody can speak for anybody; where that
matters, take signed records as in signed_records.py, under keys that name the peer.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import trio

import p2pkad

MISSED = 3
"""Words that may be lost before somebody counts as gone."""


def presence_key(name: str) -> bytes:
    return f"/presence/{name}".encode()


async def say_here(node: p2pkad.KademliaService, name: str, every: float) -> None:
    """One word of presence. A failure is no catastrophe: the next one comes soon."""
    word = {"timestamp": time.time(), "ttl": MISSED * every, "id": str(node.id)}
    try:
        await node.put_value(presence_key(name), json.dumps(word).encode(), timeout=every)
    except (p2pkad.LookupFailed, p2pkad.StaleRecord) as error:
        print(f"nobody was told: {error}", file=sys.stderr)


async def is_here(node: p2pkad.KademliaService, name: str, every: float) -> bool:
    """Whether a word of `name` is to be had that still holds. What is too old, no node serves."""
    try:
        await node.get_value(presence_key(name), timeout=every)
    except p2pkad.LookupFailed:
        return False
    return True


async def main(name: str, watch: list[str], every: float, listen: str, bootstrap: list[str]) -> None:
    """Say so and look around, again and again."""
    here: dict[str, bool] = {}
    async with p2pkad.open_node(
        listen=[listen], bootstrap=bootstrap, validators={"presence": p2pkad.NewestValidator()}, allow_zero_peers=True
    ) as node:
        print(node.addresses[0], "Ctrl-C ends it.", sep="\n", flush=True)
        while True:
            await say_here(node, name, every)
            for other in watch:
                before, here[other] = here.get(other), await is_here(node, other, every)
                if here[other] != before:
                    print(other, "is online" if here[other] else "is offline", flush=True)
            await trio.sleep(every)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="under which to be seen")
    parser.add_argument("--watch", default=[], action="append", metavar="NAME", help="somebody else")
    parser.add_argument("--every", default=5.0, type=float, metavar="SECONDS", help="default: %(default)g")
    parser.add_argument("--listen", default="/ip4/127.0.0.1/tcp/0", metavar="ADDRESS", help="default: %(default)s")
    parser.add_argument("--bootstrap", default=[], action="append", metavar="ADDRESS", help="of a node that is there")
    given = vars(parser.parse_args())
    try:
        trio.run(lambda: main(**given), restrict_keyboard_interrupt_to_checkpoints=True)
    except KeyboardInterrupt:
        pass
    except p2pkad.P2pkadError as error:
        sys.exit(f"{type(error).__name__}: {error}")
