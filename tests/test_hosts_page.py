"""What docs/hosts.md shows works, and the list of what cannot be armoured is whole."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from p2pkad.events import HostFault
from tests.support.running import ROOT, Running

PAGE = (ROOT / "docs" / "hosts.md").read_text()
BESIDE, BY_ID = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.long
@pytest.mark.parametrize(
    ("program", "prints"),
    [(BESIDE, r"b'hello'\nthe host lives on /ip4/127\.0\.0\.1/tcp/\d+\n"), (BY_ID, "heard 32 bytes\n")],
    ids=["beside", "by id"],
)
def test_the_programs_on_the_page_run(program: str, prints: str) -> None:
    server = Running("--json", "--validator", "demo=opaque", "--data-dir", "")
    try:
        ready = server.ready()
        program = program.replace("/ip4/127.0.0.1/tcp/4001/p2p/12D3KooW...", ready["addresses"][0])
        program = program.replace("12D3KooW...", ready["id"])
        ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    finally:
        server.kill()
    assert re.fullmatch(prints, ran.stdout), ran.stderr
    assert "Traceback" not in ran.stderr
    assert "p2pkad.new_host" in ran.stderr, "the warning"


def test_every_fault_of_a_host_is_on_the_page() -> None:
    assert re.findall(r"^\| `([A-Z_]+)` \|", PAGE, re.MULTILINE) == [fault.name for fault in HostFault]
