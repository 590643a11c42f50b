"""A peer without a node: it speaks the protocol of interop/CONTROL.md and does nothing else."""

from __future__ import annotations

import json
import os
import sys
import threading
import time


def say(**line: object) -> None:
    print(json.dumps(line), flush=True)


held: list[dict[str, object]] = []


def answer(request: dict[str, object]) -> None:
    match request["verb"]:
        case "echo":
            say(id=request["id"], ok=True, seconds=0.0, said=request)
            for late in held:
                say(id=late["id"], ok=True, seconds=0.0, said=late)
        case "answer_after_echo":
            held.append(request)
        case "babble":
            print("hello", flush=True)
        case "bootstrap":
            say(id=request["id"], ok=True, seconds=0.0, table=1)
        case "fail":
            say(id=request["id"], ok=False, seconds=0.0, error={"kind": "not_found", "text": "there is none"})
        case "wait":
            time.sleep(float(str(request["wait"])))
            say(id=request["id"], ok=True, seconds=0.0)
        case "die":
            print("something broke", file=sys.stderr)
            sys.stderr.flush()
            os._exit(7)
        case "stop":
            say(id=request["id"], ok=True, seconds=0.0)
            sys.exit(0)


if "--mute" not in sys.argv:
    say(event="ready", peer={"id": "12D3Fake", "addresses": ["/ip4/127.0.0.1/tcp/1/p2p/12D3Fake"]}, versions={"fake": "1"})
for text in sys.stdin:
    asked = json.loads(text)
    if asked["verb"] == "wait":
        threading.Thread(target=answer, args=(asked,), daemon=True).start()
    else:
        answer(asked)
while "--stubborn" in sys.argv:
    time.sleep(1)
if "--failing-end" in sys.argv:
    print("it broke at the end", file=sys.stderr)
    sys.exit(3)
