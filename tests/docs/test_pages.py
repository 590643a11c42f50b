"""What the pages show works: each of their blocks is run, or compared with what it is about."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pkad import __version__, errors
from p2pkad.cli.main import make_app
from tests.docs.test_files import FOR_OTHERS
from tests.support.pages import PAGES, ROOT, Command, Kind, blocks, commands
from tests.support.reader import NotAsShown, Reader
from tests.support.running import Running

pytestmark = pytest.mark.long

EMBEDDING = ROOT / "docs" / "embedding.md"
"""Is followed word by word where there is nothing but the wheel: `make wheel`, a step of `make test`."""
OTHERS = [page for page in PAGES if page != EMBEDDING]
HOSTS = ROOT / "docs" / "hosts.md"
"""Its programs are warned of the hosts that they make: `test_hosts_page.py` runs them, and reads the warnings."""
BIN = Path(sys.executable).parent

NOT_TYPED = ("sudo", "python3", "venv/bin/pip", "make", "git", "cd")
"""What a test does not do to the machine it runs on; `make` and the wheel have tests of their own."""

MAKE_RUN = "p2pkad run --data-dir .p2pkad --validator demo=opaque --allow-zero-peers"


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def with_blocks(*kinds: Kind) -> list[Path]:
    return [page for page in OTHERS if any(block.kind in kinds for block in blocks(page, "python"))]


def typed(page: Path) -> list[Command]:
    return [command for block in blocks(page, "console") for command in commands(block)]


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    """A node for those who need one: its address and id, by the stand-ins that pages have for them."""
    running = Running("--json", "--validator", "demo=opaque", "--data-dir", "")
    try:
        ready = running.ready()
        address = ready["addresses"][0]
        yield {"...": address, "12D3KooW...": ready["id"], "/ip4/": address}
    finally:
        running.kill()


def in_place(text: str, server: dict[str, str]) -> str:
    """A text of a page with that node in the place of all stand-ins."""
    text = re.sub(r"/ip4/[\d.]+/tcp/\d+/p2p/12D3KooW(\.\.\.|Peer\b)", server["/ip4/"], text)
    text = re.sub(r"12D3KooW(\.\.\.|Other\b)", server["12D3KooW..."], text)
    return re.sub(r"--bootstrap \.\.\.", f"--bootstrap {server['...']}", text)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_a_block_is_of_a_kind_that_is_tested(page: Path) -> None:
    assert {block.language for block in blocks(page)} <= {"python", "console", "mermaid", "text", *FOR_OTHERS}
    for block in blocks(page, "mermaid", "text"):
        assert not re.search(r"^\$ |^\s*(import|from|def|async) ", block.text, re.MULTILINE), f"line {block.line} is a picture"
    assert page.read_text().count("\n```") == 2 * len(blocks(page)), "each fence is read as one"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_a_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" not in target:
            file, _, anchor = target.partition("#")
            there = page.parent / file if file else page
            assert there.exists(), target
            if anchor and there.suffix == ".md":
                assert anchor in anchors(there), target


def anchors(page: Path) -> set[str]:
    """What a link to a page may have after its #: headings as GitHub writes them, and `<a id=...>`."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings} | set(
        re.findall(r'<a (?:id|name)="([^"]+)"', text)
    )


def test_the_page_on_embedding_names_the_wheel_and_the_packages() -> None:
    lines = [command.line for command in typed(EMBEDDING)]
    assert f"venv/bin/pip install p2pkad-{__version__}-py3-none-any.whl" in lines
    assert lines[0] in (ROOT / "README.md").read_text()


def test_the_page_on_embedding_explains_every_error() -> None:
    """Those that nothing is derived from: these are raised."""
    kinds = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.P2pkadError)]
    raised = {each.__name__ for each in kinds if not each.__subclasses__()}
    rows = re.findall(r"^\| (`[A-Z].*?) \|", EMBEDDING.read_text(), re.MULTILINE)
    explained = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert raised - explained == set()


@pytest.mark.parametrize("page", [page for page in with_blocks(Kind.PROGRAM) if page != HOSTS], ids=named)
def test_a_program_ends_well(page: Path, server: dict[str, str], tmp_path: Path) -> None:
    for block in blocks(page, "python"):
        if block.kind is Kind.PROGRAM:
            command = [sys.executable, "-c", in_place(block.text, server)]
            ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
            assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("page", with_blocks(Kind.PIECE), ids=named)
def test_pieces_work_in_a_program_with_a_node(page: Path, server: dict[str, str], tmp_path: Path) -> None:
    with Reader(page, tmp_path, BIN, known=dict(server)) as reader:
        reader.run([block for block in blocks(page, "python") if block.kind is Kind.PIECE])


def test_a_piece_that_is_wrong_is_noticed_with_its_line(server: dict[str, str], tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text('words\n\n```python\nfine = await node.closest_peers(b"key")\nassert node.mode == "client"\n```\n')
    with Reader(page, tmp_path, BIN, known=dict(server)) as reader, pytest.raises(NotAsShown, match=r"page\.md\", line 5"):
        reader.run(blocks(page, "python"))


@pytest.mark.parametrize("page", with_blocks(Kind.TESTS), ids=named)
def test_tests_pass(page: Path) -> None:
    for block in blocks(page, "python"):
        if block.kind is Kind.TESTS:
            names: dict[str, object] = {}
            exec(compile("\n" * (block.line - 1) + block.text, page, "exec"), names)
            tests = [each for name, each in names.items() if name.startswith("test_") and callable(each)]
            assert tests
            for test in tests:
                test()


@pytest.mark.parametrize("page", with_blocks(Kind.QUOTE), ids=named)
def test_a_quote_is_what_the_file_says(page: Path) -> None:
    for block in blocks(page, "python"):
        if block.kind is Kind.QUOTE:
            assert block.file is not None
            assert block.text.partition("\n")[2] in (ROOT / block.file).read_text()


def test_only_a_page_that_is_followed_has_files_to_save() -> None:
    assert with_blocks(Kind.FILE) == []


@pytest.mark.parametrize("page", [page for page in PAGES if typed(page)], ids=named)
def test_a_command_is_one(page: Path) -> None:
    """Of the program with such arguments, of the Makefile, or a file that is there."""
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in (command.line for command in typed(page)):
        first, *rest = shlex.split(line)
        match Path(first).name, rest:
            case "make", [target, *_]:
                assert target in targets, line
            case "p2pkad", words:
                # --help and --version are commands of their own, which parse to a function as well.
                command, _, ignored = make_app().parse_args(words)
                assert (callable(command), ignored) == (True, {}), line
            case "python", [program, *_]:
                files = {block.file for block in blocks(page, "python")}
                assert program in files or program == "-m" or (ROOT / program).exists(), line
            case name, _:
                assert name in {"sudo", "python3", "pip", "git", "cd", "curl", "tar", "mkdir"}, line


@pytest.mark.parametrize("page", [page for page in OTHERS if any("p2pkad " in each.line for each in typed(page))], ids=named)
def test_the_commands_of_a_page_work(page: Path, server: dict[str, str], tmp_path: Path) -> None:
    """In the order of the page, with one node in the place of all that it names and has not started itself."""
    away = {"P2PKAD_LISTEN": "/ip4/127.0.0.1/tcp/0", "XDG_STATE_HOME": str(tmp_path)}
    with Reader(page, tmp_path, BIN, skipped=NOT_TYPED, environment=away) as reader:
        for command in typed(page):
            # `make` has tests of its own; what it starts is needed by what comes after.
            line = MAKE_RUN if command.line == "make run" else command.line
            if not any(word in reader.known for word in shlex.split(line)):
                line = in_place(line, server)
            reader.type(Command(line, command.shown))
        reader.leave()
