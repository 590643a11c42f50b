"""What this process holds: trio tasks, file descriptors, memory."""

from __future__ import annotations

import gc
import os
from dataclasses import dataclass
from pathlib import Path

import trio


@dataclass(frozen=True)
class Census:
    """A count, now."""

    tasks: int
    descriptors: int

    def __sub__(self, before: Census) -> Census:
        return Census(self.tasks - before.tasks, self.descriptors - before.descriptors)


def census() -> Census:
    """Count this run's tasks, system tasks included, and this process's open file descriptors."""
    return Census(count_tasks(), len(os.listdir("/proc/self/fd")))


def count_tasks(*, apart_from: str = "") -> int:
    """All tasks of this run, system tasks included. apart_from: a part of the names of those that do not count."""
    waiting = [trio.lowlevel.current_root_task()]
    count = 0
    while waiting:
        task = waiting.pop()
        assert task is not None
        count += not apart_from or apart_from not in task.name
        waiting += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return count


@dataclass(frozen=True)
class Memory:
    """Bytes. resident: in use; data: asked for, touched or not."""

    resident: int
    data: int

    def __sub__(self, before: Memory) -> Memory:
        return Memory(self.resident - before.resident, self.data - before.data)


def memory() -> Memory:
    """What this process holds (`VmRSS` and `VmData`, proc(5)), after what can be collected is."""
    gc.collect()
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    sizes = {words[0]: int(words[1]) * 1024 for words in lines if words[0] in {"VmRSS:", "VmData:"}}
    return Memory(sizes["VmRSS:"], sizes["VmData:"])
