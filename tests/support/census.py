"""What this process holds: trio tasks, file descriptors, memory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import trio


@dataclass(frozen=True)
class Census:
    """A count, now."""

    tasks: int
    descriptors: int


def census() -> Census:
    """Count this run's tasks, system tasks included, and this process's open file descriptors."""
    return Census(count_tasks(), len(os.listdir("/proc/self/fd")))


def count_tasks() -> int:
    """All tasks of this run but trio's own three."""
    waiting = [trio.lowlevel.current_root_task()]
    count = 0
    while waiting:
        task = waiting.pop()
        assert task is not None
        count += 1
        waiting += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return count


def resident_bytes() -> int:
    """Resident memory of this process (`VmRSS`, proc(5))."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise OSError("no VmRSS in /proc/self/status")
