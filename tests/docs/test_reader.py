"""Whoever follows a page notices when it is wrong."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.support.pages import Command, Kind, blocks, commands
from tests.support.reader import NotAsShown, Reader

PROGRAM = """\
# say.py
import sys, time

print(*sys.argv[1:])
print("a line", "and another", sep="\\n")
if "stay" in sys.argv:
    print("Ctrl-C ends it.", flush=True)
    try:
        while True:
            time.sleep(0.1)  # one that comes just before it sleeps is heard afterwards
    except KeyboardInterrupt:
        sys.exit("clumsy" in sys.argv)
"""
ADDRESS = f"/ip4/127.0.0.1/tcp/1234/p2p/12D3KooW{44 * 'a'}"
STAND_IN = "/ip4/127.0.0.1/tcp/4001/p2p/12D3KooW..."


def page(directory: Path, *consoles: str) -> Path:
    """A page with that program and these console blocks."""
    path = directory / "page.md"
    fences = [f"```python\n{PROGRAM}```\n", *(f"```console\n{console}```\n" for console in consoles)]
    path.write_text("\nwords\n\n".join(fences))
    return path


def follow(path: Path) -> Reader:
    with Reader(path, path.parent, Path(sys.executable).parent) as reader:
        reader.follow()
    return reader


def test_what_is_shown_has_to_come(tmp_path: Path) -> None:
    follow(page(tmp_path, "$ venv/bin/python say.py one\none\na line\nand another\n"))
    with pytest.raises(NotAsShown, match="two"):
        follow(page(tmp_path, "$ venv/bin/python say.py two\none\na line\nand another\n"))


def test_dots_stand_for_what_a_page_cannot_know(tmp_path: Path) -> None:
    follow(page(tmp_path, "$ venv/bin/python say.py one\n...\nand another\n", "$ venv/bin/python say.py 7 s\n... s\n...\n"))
    with pytest.raises(NotAsShown):
        follow(page(tmp_path, "$ venv/bin/python say.py one\n...\nand more\n"))


def test_what_was_shown_is_meant_when_it_is_typed(tmp_path: Path) -> None:
    reader = follow(
        page(tmp_path, f"$ venv/bin/python say.py {ADDRESS}\n{STAND_IN}\n...\n", f"$ venv/bin/python say.py {STAND_IN}\n")
    )
    assert reader.known == {STAND_IN: ADDRESS}


def test_what_nothing_has_shown_cannot_be_typed(tmp_path: Path) -> None:
    with pytest.raises(NotAsShown, match="nothing has shown it"):
        follow(page(tmp_path, f"$ venv/bin/python say.py {STAND_IN}\n"))


def test_a_command_that_fails_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(NotAsShown, match="ended with 2"):
        follow(page(tmp_path, "$ venv/bin/python nothing.py\n"))


def test_what_stays_has_to_end_well(tmp_path: Path) -> None:
    follow(page(tmp_path, "$ venv/bin/python say.py stay\n...\nCtrl-C ends it.\n"))
    with pytest.raises(NotAsShown, match="after Ctrl-C"):
        follow(page(tmp_path, "$ venv/bin/python say.py stay clumsy\n...\nCtrl-C ends it.\n"))


def test_ctrl_c_ends_it_in_a_run_in_the_background_too(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        follow(page(tmp_path, "$ venv/bin/python say.py stay\n...\nCtrl-C ends it.\n"))
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_block_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    texts = ["# a.py\n1\n", "# a/b.py\n1\n", "def test_it(): ...\n", "import trio\ntrio.run(main)\n", "await node.refresh()\n"]
    path.write_text("\n".join(f"```python\n{text}```\n" for text in texts))
    assert [block.kind for block in blocks(path)] == [Kind.FILE, Kind.QUOTE, Kind.TESTS, Kind.PROGRAM, Kind.PIECE]
    assert [block.line for block in blocks(path)] == [2, 7, 12, 16, 21]


def test_a_command_may_take_several_lines_and_have_a_remark(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("```console\n$ one \\\n    two   # three\nfour\n$ five\n```\n")
    (block,) = blocks(path)
    assert commands(block) == [Command("one      two", ("four",)), Command("five", ())]
