"""The processes that are measured, and what their work costs.

Peers are started, told what to do and ended by interop's driver; those of `peers/` are the benchmark's own. Nothing that
is measured runs in the process that measures.
"""

from __future__ import annotations

import sys
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
# By path, as `interop` is also the name of a package that the libp2p wheel installs.
sys.path.append(str(ROOT / "interop"))

from builds import GO_MISSING, BuildFailed, go_peer  # noqa: E402 - found by the path above
from driver import (  # noqa: E402
    Answer,
    Driver,
    Language,
    Peer,
    PeerDied,
    PeerError,
    PeerSilent,
    flags,
    go_language,
    open_driver,
    py_language,
)

__all__ = [
    "GO_MISSING",
    "ROOT",
    "Answer",
    "BuildFailed",
    "Driver",
    "Language",
    "Peer",
    "PeerDied",
    "PeerError",
    "PeerSilent",
    "cpu_seconds",
    "go_language",
    "go_peer",
    "open_driver",
    "own",
    "py_language",
    "rss",
    "with_flags",
]


def own(program: str, *arguments: object) -> Language:
    """A program of `bench/peers`, run by this interpreter."""
    path = ROOT / "bench" / "peers" / program
    return Language((sys.executable, str(path), *map(str, arguments)), py_language().environment)


def with_flags(language: Language, **options: object) -> Language:
    """A program of interop's, started with these flags of CONTROL.md."""
    return Language((*language.command, *flags(options)), language.environment)


def cpu_seconds(peer: Peer) -> float:
    """What a peer has used so far of all CPUs, its own code and the system's. Steadier than time on a busy machine."""
    times = psutil.Process(peer.pid).cpu_times()
    return float(times.user + times.system)


def rss(peer: Peer) -> int:
    """Bytes of memory that a peer has in use, libraries that it shares with others included."""
    return int(psutil.Process(peer.pid).memory_info().rss)
