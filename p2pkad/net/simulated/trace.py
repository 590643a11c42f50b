"""What happened in a simulated world, in order: the thing that two runs with one seed have in common.

One line for each message that arrived and each event that a host was told of. Lines hold virtual times, numbers of hosts and
names, nothing that differs between processes.
"""

from __future__ import annotations

from collections import deque
from hashlib import sha256
from zlib import crc32

from p2pkad.core.messages import AnyReply, AnyRequest, FindNodeReply, GetProvidersReply, GetValueReply

KEPT = 1000
"""Lines that can be looked at afterwards. The digest covers all."""


class Trace:
    """Lines of text, of which the last `KEPT` are in `lines`. Iterating and `len` are about those."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=KEPT)
        self.count = 0
        self._hash = sha256()

    def add(self, line: str) -> None:
        """One thing more has happened."""
        self.count += 1
        self.lines.append(line)
        self._hash.update(f"{line}\n".encode())

    def digest(self) -> str:
        """A hash of every line so far, in hex. Equal digests: the same things happened at the same times."""
        return self._hash.hexdigest()

    def __repr__(self) -> str:
        return f"<Trace lines={self.count} {self.digest()[:8]}>"


def gist(message: AnyRequest | AnyReply | Exception | None) -> str:
    """A message in a few characters, the same in every process: its key, or whom it names."""
    match message:
        case FindNodeReply(closer) | GetValueReply(_, _, closer) | GetProvidersReply(_, _, closer):
            return f"{crc32(b''.join([info.id for info in closer])):08x}"
        case None | Exception():
            return ""
        case _:
            return message.key[-8:].hex()
