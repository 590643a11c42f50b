"""The implementations that can be talked to, by the names that they have on command lines and in tables.

One that cannot be built here has no language: its toolchain is missing, and a loud line has said so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from builds import GO_MISSING, JS_MISSING, ROOT, RUST_MISSING, go_peer, js_peer, rust_peer
from driver import Language, go_language, js_language, py_language, rust_language


@dataclass(frozen=True, slots=True)
class Implementation:
    """build: makes the peer, or returns None where its toolchain is missing. start: how what was built is started.

    missing: the loud line.
    """

    build: Callable[[], Path | None]
    start: Callable[[Path], Language]
    missing: str = ""

    def language(self) -> Language | None:
        """How to start peers, built by now. None: the toolchain is missing. Raises BuildFailed."""
        product = self.build()
        return None if product is None else self.start(product)


IMPLEMENTATIONS = {
    "go": Implementation(go_peer, go_language, GO_MISSING),
    "rust": Implementation(rust_peer, rust_language, RUST_MISSING),
    "js": Implementation(js_peer, js_language, JS_MISSING),
    "p2pkad": Implementation(lambda: ROOT, lambda _: py_language()),
}
FOREIGN = tuple(name for name in IMPLEMENTATIONS if name != "p2pkad")
