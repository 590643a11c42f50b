"""The node's only sources of time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import trio


@dataclass(frozen=True, slots=True)
class Clock:
    """monotonic: seconds for deadlines, trio's own. wall: seconds since 1970, for what has to hold across restarts."""

    monotonic: Callable[[], float]
    wall: Callable[[], float]


SYSTEM = Clock(monotonic=trio.current_time, wall=time.time)
"""The clock on the wall. Other clocks come in as arguments."""
