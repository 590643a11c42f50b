"""Has go make records of /pk and /ipns, for the tests of their validators: `python interop/sign.py`.

The keys are those of tests/validators/golden/go_keys.json, the records end in go_records.json beside it: who signed, under
which key, the bytes, and what go's own validator says of them ("" or its error). Ends of life are fixed and far away, or
past. A second run differs in the signatures of ECDSA alone, which go makes with random numbers.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import trio
from builds import ROOT, go_peer
from driver import Answer, Peer, PeerError, go_language, open_driver, unbase64

GOLDEN = ROOT / "tests" / "validators" / "golden"
KEYS = GOLDEN / "go_keys.json"
RECORDS = GOLDEN / "go_records.json"

# An end of life whose fraction has nine digits and is exact as a float.
EOL = "2100-01-01T00:00:00.001953125Z"
LATER = "2100-01-01T00:00:00.001953126Z"
PAST = "2001-02-03T04:05:06Z"

VALUE = b"/ipfs/bafkqaddwgevxmmraojswg33smq"

EACH: dict[str, Answer] = {
    "v1 and v2": {},
    "v2 alone": {"v2_only": True},
    "past its end of life": {"expires": PAST},
    "the public key in it": {"embed": True},
    "no public key in it": {"embed": False},
}
"""What is made with each key; what is not said is as in `sign_name`."""

ONCE: dict[str, Answer] = {
    "the first": {"sequence": 0},
    "a newer one": {"sequence": 8},
    "a later end of life": {"expires": LATER},
    "the last sequence that go can read": {"sequence": 2**63 - 1},
    "a sequence that go writes as a negative number": {"sequence": 2**63},
    "no ttl": {"ttl": 0},
    "further data": {"metadata": True},
    "another value": {"value": b"/ipns/example.com"},
    "an end of life in the last year there is": {"expires": "9999-12-31T23:59:59.999999999Z"},
    "an end of life in whole seconds": {"expires": "2100-01-01T00:00:00Z"},
    "an end of life that is told with an offset": {"expires": "2100-01-01T01:00:00.5+01:00"},
    "10 KiB": {"v2_only": True, "value": VALUE + b"/" + 10049 * b"a"},
    "a byte more": {"v2_only": True, "value": VALUE + b"/" + 10050 * b"a"},
}
"""What is made with the first key alone, beside that."""


async def sign_name(go: Peer, private: bytes, **how: Any) -> Answer:
    how = {"value": VALUE, "sequence": 7, "expires": EOL, "ttl": 300 * 10**9, **how}
    return await go.ask("sign_name", private=private, **how)


async def verdict(go: Peer, record: Answer) -> str:
    """What go's validator says against a record; nothing, if it is valid."""
    try:
        await go.ask("judge", key=unbase64(record["key"]), value=unbase64(record["value"]))
    except PeerError as error:
        return error.text
    return ""


async def make(binary: Path, logs: Path) -> Answer:
    records = []
    async with open_driver(logs) as driver:
        go = await driver.start("go", go_language(binary), validator="ipns=ipns")
        for index, each in enumerate(json.loads(KEYS.read_text())["keys"]):
            private = bytes.fromhex(each["private"])
            made = {"public key": await go.ask("public_key", private=private)}
            for what, how in (EACH | ONCE if index == 0 else EACH).items():
                made[what] = await sign_name(go, private, **how)
            for what, record in made.items():
                key, value = (unbase64(record[part]).hex() for part in ("key", "value"))
                go_says = await verdict(go, record)
                records.append({"kind": each["kind"], "what": what, "key": key, "value": value, "go_says": go_says})
        return {"made_by": go.versions, "made_with": "python interop/sign.py", "records": records}


def main() -> int:
    binary = go_peer()
    if binary is None:
        return 1
    with tempfile.TemporaryDirectory() as logs:
        golden = trio.run(make, binary, Path(logs))
    RECORDS.write_text(json.dumps(golden, indent=1) + "\n")
    print(f"{RECORDS.relative_to(ROOT)}: {len(golden['records'])} records")
    return 0


if __name__ == "__main__":
    sys.exit(main())
