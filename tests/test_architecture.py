"""The walls of the house, read off the source with `ast`: who may import whom, and what is kept out of which room.

Each rule is a function from a source tree to sentences about what breaks it. Each is run twice: on the package, where it
must find nothing, and on a small tree that breaks it, where it must.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "p2pkad"

CORE, LOWER, MIDDLE = ("core",), ("core", "wire", "identity"), ("core", "wire", "identity", "validators", "store", "net")
MAY_IMPORT = {
    "core": (),
    "wire": ("core", "identity"),  # a multiaddr in text names its peer in text
    "identity": CORE,
    "validators": LOWER,
    "store": LOWER,
    "net": LOWER,
    "node": MIDDLE,
    "testing": (*MIDDLE, "node"),
    # What these need and the public names do not offer, an embedder needs too.
    "ops": ("p2pkad",),
    "cli": ("p2pkad", "ops"),
    "__main__": ("cli",),
}
"""Room by room, whose modules it may name. Everybody may name their own room and those of `OPEN`."""

OPEN = {"config": ("errors", "identity", "validators"), "errors": (), "events": ("core",)}
"""Whom everybody may import, and whom they may: config takes an identity and validators. Naming types is free for them."""

AT_HOME = {
    "libp2p": ("net.libp2p", "identity"),
    "google": ("wire",),
    "cbor2": ("wire",),
    "cyclopts": ("cli",),
    "rich": ("cli",),
    "structlog": ("cli", "ops"),
    "prometheus_client": ("ops",),
    "hypercorn": ("ops",),
    "starlette": ("ops",),
    "sqlite3": ("store",),
}
"""Foreign packages that only the named rooms import."""

WITHOUT_TRIO = ("core", "wire", "identity", "validators", *OPEN)

IMPURE = {
    "asyncio", "io", "logging", "os", "pathlib", "random", "secrets", "select", "selectors", "shutil", "signal", "socket",
    "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "urllib", "uuid",
}  # fmt: skip
"""Modules of the standard library that core does without: clocks, randomness, input and output."""

CLOCK_OR_DICE = re.compile(
    r"(time|secrets|uuid)\.\w+ | random\.(?!Random$)\w+ | os\.urandom | (.*\.)?date(time)?\.(now|utcnow|today)", re.VERBOSE
)
THE_CLOCK = "node.clock"

LINES_IN_A_MODULE = 450
LINES_IN_A_FUNCTION = 70


class Module:
    """A parsed source file. name: dotted, without the package ("core.peers"); the package itself is ""."""

    def __init__(self, path: Path, root: Path) -> None:
        parts = path.relative_to(root).with_suffix("").parts
        self.name = ".".join(part for part in parts if part != "__init__")
        self.room = parts[0] if parts[0] != "__init__" else ""
        self.source = path.read_text()
        self.tree = ast.parse(self.source)

    def within(self, *places: str) -> bool:
        return any(self.name == place or self.name.startswith(f"{place}.") for place in places)

    def imports(self) -> Iterator[str]:
        """Every module that this one imports, for its types or for real, as an absolute dotted name."""
        return _imports(ast.walk(self.tree))

    def imports_at_run_time(self) -> Iterator[str]:
        return _imports(_outside_type_checking(self.tree))


def _imports(nodes: Iterator[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "p2pkad":
            yield from (f"p2pkad.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "."


def _outside_type_checking(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield from _outside_type_checking(child)


@cache
def modules(root: Path) -> tuple[Module, ...]:
    """The modules of the package at `root`, generated code left out. Read once, for all rules."""
    return tuple(Module(path, root) for path in sorted(root.rglob("*.py")) if "pb" not in path.relative_to(root).parts[:-1])


def imports_against_the_grain(root: Path) -> Iterator[str]:
    for module in modules(root):
        if module.room in OPEN:
            names, allowed = module.imports_at_run_time(), OPEN[module.room]
        elif module.room in MAY_IMPORT:
            names, allowed = module.imports(), (module.room, *OPEN, *MAY_IMPORT[module.room])
        else:
            continue
        for name in names:
            top, _, rest = name.partition(".")
            if name == "." or (top == "p2pkad" and _room(rest) not in allowed):
                yield f"{module.name} imports {name}"


def _room(dotted: str) -> str:
    """The room of a module; "p2pkad" for a public name of the package itself."""
    room = dotted.partition(".")[0]
    return room if room in MAY_IMPORT or room in OPEN else "p2pkad"


def rooms_nobody_planned(root: Path) -> Iterator[str]:
    for room in sorted({module.room for module in modules(root)} - {"", *OPEN, *MAY_IMPORT}):
        yield f"{room} is no room in MAY_IMPORT"


def strangers(root: Path) -> Iterator[str]:
    for module in modules(root):
        for name in module.imports():
            top = name.partition(".")[0]
            if top in AT_HOME and not module.within(*AT_HOME[top]):
                yield f"{module.name} imports {name}"
            if top in {"trio", "anyio", "asyncio"} and module.room in WITHOUT_TRIO:
                yield f"{module.name} imports {name}"


def impurities(root: Path) -> Iterator[str]:
    for module in modules(root):
        if module.room != "core":
            continue
        for name in module.imports():
            top = name.partition(".")[0]
            if top != "p2pkad" and (top in IMPURE or top not in sys.stdlib_module_names):
                yield f"{module.name} imports {name}"
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"open", "print", "input"}:
                yield f"{module.name}:{node.lineno} calls {ast.unparse(node.func)}"


def own_clocks_and_dice(root: Path) -> Iterator[str]:
    """Time and randomness come into core and node as arguments; one module knows the clock on the wall."""
    for module in modules(root):
        if module.room not in {"core", "node"} or module.name == THE_CLOCK:
            continue
        for node in ast.walk(module.tree):
            names = []
            if isinstance(node, ast.Attribute):
                names = [ast.unparse(node)]
            elif isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (f"{module.name}:{node.lineno} uses {name}" for name in names if CLOCK_OR_DICE.fullmatch(name))


def a_network_of_its_own(root: Path) -> Iterator[str]:
    """The node runs on any network: only the module that opens one on libp2p says so."""
    for module in modules(root):
        if module.room == "node" and module.name != "node.node":
            for name in module.imports():
                if name.startswith("p2pkad.net.") and not name.startswith(("p2pkad.net.base", "p2pkad.net.hosts")):
                    yield f"{module.name} imports {name}"


def unused_in_core(root: Path) -> Iterator[str]:
    """What core offers is used by the package: nothing is kept for its tests alone."""
    everything = modules(root)
    named = Counter(name for module in everything for name in _names(module.tree))
    for module in everything:
        if module.room == "core":
            for node in _public(module.tree):
                # What it says of itself, to itself, is no use.
                if named[node.name] == Counter(_names(node))[node.name]:
                    yield f"{module.name}: nobody uses {node.name}"


def _public(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """The functions and classes of a module, and the methods of those."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            methods = (
                (each for each in node.body if isinstance(each, ast.FunctionDef)) if isinstance(node, ast.ClassDef) else ()
            )
            yield from (method for method in methods if not method.name.startswith("_"))


def _names(tree: ast.AST) -> Iterator[str]:
    """Each name that is used in this tree, as often as it is."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name):
                yield name
            case _:
                pass


def oversized(root: Path) -> Iterator[str]:
    for module in modules(root):
        lines = module.source.count("\n")
        if lines > LINES_IN_A_MODULE:
            yield f"{module.name} has {lines} lines"
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > LINES_IN_A_FUNCTION:
                    yield f"{module.name}:{node.lineno} {node.name} has {lines} lines"


def clutter_at_the_door(root: Path) -> Iterator[str]:
    """`p2pkad/__init__.py` has the public names, sorted, and how they are found; nothing else."""
    tree = ast.parse((root / "__init__.py").read_text())
    assigned = {ast.unparse(node.targets[0]): node.value for node in tree.body if isinstance(node, ast.Assign)}
    public: list[str] = ast.literal_eval(assigned["__all__"])
    blocks = [node for node in tree.body if isinstance(node, ast.If)]
    imports = [node for block in blocks for node in ast.walk(block) if isinstance(node, ast.ImportFrom)]
    imported = [alias.name for node in imports for alias in node.names]
    if public != sorted(public):
        yield "__all__ is not sorted"
    known = {*imported, *assigned}
    yield from (f"{name} is public and not imported" for name in public if name not in known)
    yield from (f"{name} is imported and not public" for name in imported if name not in public)
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield f"{node.name} is defined in __init__"


Tree = dict[str, list[str]]
RULES: dict[Callable[[Path], Iterator[str]], tuple[Tree, set[str]]] = {
    imports_against_the_grain: (
        {
            "core/a.py": ["from p2pkad.wire.codec import encode"],
            "wire/codec.py": ["import p2pkad.core.a", "from p2pkad.errors import x", "def f(): import p2pkad.node.x"],
            "cli/main.py": ["from p2pkad import Config, errors, node", "from p2pkad.cli import other"],
            "node/__init__.py": ["from . import here"],
            "config.py": [
                "if TYPE_CHECKING: import p2pkad.node",
                "from p2pkad.identity import Identity",
                "from p2pkad.cli import main",
            ],
        },
        {
            "core.a imports p2pkad.wire.codec",
            "wire.codec imports p2pkad.node.x",
            "cli.main imports p2pkad.node",
            "node imports .",
            "config imports p2pkad.cli",
        },
    ),
    rooms_nobody_planned: (
        {"core/a.py": [], "utils.py": [], "config.py": []},
        {"utils is no room in MAY_IMPORT"},
    ),
    strangers: (
        {
            "net/base.py": ["if TYPE_CHECKING: from libp2p.abc import IHost"],
            "net/libp2p/host.py": ["import libp2p, trio"],
            "identity.py": ["from libp2p.crypto.ed25519 import create_new_key_pair", "import trio"],
            "store/memory.py": ["import trio, structlog"],
        },
        {"net.base imports libp2p.abc", "identity imports trio", "store.memory imports structlog"},
    ),
    impurities: (
        {"core/a.py": ["import time, hashlib, base58", "from p2pkad.errors import x", "def f(): print(open('x'))"]},
        {"core.a imports time", "core.a imports base58", "core.a:3 calls print", "core.a:3 calls open"},
    ),
    own_clocks_and_dice: (
        {
            "node/clock.py": ["import time", "now = time.time"],
            "node/a.py": [
                "from random import Random, choice",
                "now = datetime.datetime.now()",
                "random.shuffle(x)",
                "mine = random.Random(1)",
                "self._random.shuffle(x)",
                "clock.time()",
            ],
            "net/libp2p/host.py": ["os.urandom(8)"],
        },
        {"node.a:1 uses random.choice", "node.a:2 uses datetime.datetime.now", "node.a:3 uses random.shuffle"},
    ),
    a_network_of_its_own: (
        {
            "node/node.py": ["from p2pkad.net.libp2p import new_host"],
            "node/service.py": ["from p2pkad.net.base import Network", "from p2pkad.net.libp2p.host import Host"],
        },
        {"node.service imports p2pkad.net.libp2p.host"},
    ),
    unused_in_core: (
        {
            "core/a.py": [
                "def used(): ...",
                "def unused(): unused(), used()",
                "def _private(): ...",
                "class Used:",
                "    def taken(self): ...",
                "    def left(self): ...",
                "class Lonely: ...",
            ],
            "node/b.py": ["from p2pkad.core.a import Used", "Used().taken()"],
        },
        {"core.a: nobody uses unused", "core.a: nobody uses left", "core.a: nobody uses Lonely"},
    ),
    oversized: (
        {"core/a.py": ["x = 1"] * 451, "core/b.py": ["def long():", *["    x = 1"] * 70]},
        {"core.a has 451 lines", "core.b:1 long has 71 lines"},
    ),
    clutter_at_the_door: (
        {"__init__.py": ["if TYPE_CHECKING: from p2pkad.errors import A, B", "__all__ = ['C', 'B']", "def helper(): ..."]},
        {
            "__all__ is not sorted",
            "C is public and not imported",
            "A is imported and not public",
            "helper is defined in __init__",
        },
    ),
}
"""Each rule, a tree that breaks it, and what it must say of that."""


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_package_keeps(rule: Callable[[Path], Iterator[str]]) -> None:
    assert list(rule(PACKAGE)) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_broken_tree_is_noticed_by(rule: Callable[[Path], Iterator[str]], tmp_path: Path) -> None:
    tree, expected = RULES[rule]
    for name, lines in tree.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines))
    assert set(rule(tmp_path)) == expected


def test_importing_the_package_loads_neither_libp2p_nor_trio() -> None:
    program = "import sys, p2pkad; print([name for name in ('libp2p', 'trio') if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_every_public_name_is_there() -> None:
    import p2pkad

    assert [name for name in p2pkad.__all__ if getattr(p2pkad, name, None) is None] == []
