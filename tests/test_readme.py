"""What the front page shows works."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys

import pytest

from p2pkad.cli.main import make_app
from p2pkad.node.service import KademliaService
from tests.support.running import ROOT, Running

README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_program_puts_a_value_and_gets_it_back() -> None:
    server = Running("--json", "--validator", "demo=opaque", "--data-dir", "")
    try:
        ready = server.ready()
        (program,) = blocks("python")
        program = re.sub(r"/ip4/127.0.0.1/tcp/4001/p2p/12D3KooW\.\.\.", ready["addresses"][0], program)
        ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    finally:
        server.kill()
    assert ran.stderr == ""
    held, value = ran.stdout.splitlines()
    assert held.startswith("held by ")
    assert ready["id"] in held
    assert value == "b'hello'"


def test_everything_that_a_node_can_do_is_listed() -> None:
    offered = {name for name, _ in inspect.getmembers(KademliaService, inspect.isfunction) if not name.startswith("_")}
    listed = re.search(r"is on \[`KademliaService`\](.*?)\. ", README, re.DOTALL)
    assert listed is not None
    assert offered - {"aclose"} == set(re.findall(r"`(\w+)`", listed[1])), "an `async with` closes it"


@pytest.mark.parametrize("line", [line for block in blocks("console") for line in block.splitlines() if "p2pkad " in line])
def test_the_commands_are_such(line: str) -> None:
    words = line.replace("$ ", "").split()[1:]
    command, _, ignored = make_app().parse_args(words)
    assert (callable(command), ignored) == (True, {})
