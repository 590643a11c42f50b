"""What a figure depends on beside the code: the machine, how busy it was, and the versions."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from processes import ROOT

LIBRARIES = ("libp2p", "trio", "multiaddr", "protobuf", "cryptography", "pyperf")
BUSY = 0.5
"""Load average per CPU from which figures are doubtful. The measurements themselves have not begun by then."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where and what. commit: with a + when the checkout has changes that are not committed."""

    processor: str
    cpus: int
    system: str
    python: str
    commit: str
    libraries: dict[str, str]
    load: float

    @classmethod
    def this_one(cls) -> Machine:
        return cls(
            processor=_processor(),
            cpus=os.cpu_count() or 1,
            system=platform.platform(),
            python=f"{platform.python_implementation()} {platform.python_version()}",
            commit=_commit(),
            libraries={name: version(name) for name in LIBRARIES},
            load=os.getloadavg()[0],
        )

    @property
    def busy(self) -> bool:
        """Whether others were at work when this was asked."""
        return self.load > BUSY * self.cpus

    def as_fields(self) -> dict[str, object]:
        return asdict(self)

    def __str__(self) -> str:
        libraries = ", ".join(f"{name} {number}" for name, number in self.libraries.items())
        lines = [f"{self.processor}, {self.cpus} CPUs, {self.system}", f"{self.python}; p2pkad {self.commit}; {libraries}"]
        if self.busy:
            lines.append(
                f"THE MACHINE WAS BUSY: a load of {self.load:.1f} before anything was measured. Trust ratios more than figures."
            )
        return "\n".join(lines)


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):  # an unpacked archive
        return "without git"
