"""Runs the pieces of a page, in order, in one program in which `node` is a running node.

    python pieces.py BOOTSTRAP PAGE < pieces.json        [[line, text], ...]

Nothing but p2pkad is needed: it runs in an environment that has the wheel alone as well.
"""

from __future__ import annotations

import ast
import json
import sys

import trio

import p2pkad


async def main(bootstrap: str, page: str) -> None:
    """What one piece defines, the next ones know."""
    names: dict[str, object] = {"p2pkad": p2pkad, "trio": trio}
    async with p2pkad.open_node(
        listen=["/ip4/127.0.0.1/tcp/0"], bootstrap=[bootstrap], validators={"demo": p2pkad.OpaqueValidator()}
    ) as node:
        await node.wait_ready(timeout=60)
        names["node"] = node
        for line, text in json.load(sys.stdin):
            # Empty lines in front of it, so that a traceback names the line of the page.
            code = compile("\n" * (line - 1) + text, page, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
            done = eval(code, names)
            if done is not None:
                await done


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
