"""A process that holds a thousand connections needs as many file descriptors, and systems give fewer unless they are asked."""

from __future__ import annotations

import resource


def raise_limit() -> int:
    """Take as many descriptors as the system lets this process have; returns how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
