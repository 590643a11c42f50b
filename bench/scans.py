"""`closest.py` run by pyperf, and what it found."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pyperf
import trio
from processes import ROOT, py_language
from report import Ratio, Section

TARGET = 5.0
TABLE = "by_table"
NAMES = {
    TABLE: "RoutingTable.closest",
    "by_heap": "a full scan, heapq.nsmallest",
    "by_sorting": "a full scan, sorted",
}


class ScanFailed(Exception):
    """pyperf ended with an error, which it has told."""


async def measure(processes: int, values: int) -> Section:
    """Run pyperf with so many processes for each function, and so many values from each."""
    with tempfile.TemporaryDirectory() as scratch:
        result = Path(scratch) / "closest.json"
        await _run([f"--processes={processes}", f"--values={values}", "--quiet", f"--output={result}"])
        suite = pyperf.BenchmarkSuite.load(str(result))
    seconds = {bench.get_name().split()[-1]: list(bench.get_values()) for bench in suite}
    section = Section(
        "closest",
        [f"The 20 nearest of 2,000 peers, to 500 keys in turn; pyperf, {processes} processes with {values} values each."],
        ("microseconds", "median", "fastest", "slowest"),
        [
            (name, *(f"{1e6 * value:.1f}" for value in (statistics.median(seconds[key]), min(seconds[key]), max(seconds[key]))))
            for key, name in NAMES.items()
        ],
        raw={"seconds": seconds},
    )
    speeds = {key: [1 / value for value in values] for key, values in seconds.items()}
    for key, target in (("by_heap", TARGET), ("by_sorting", None)):
        section.ratios.append(Ratio.between(f"closest / {NAMES[key]}", speeds[TABLE], speeds[key], target))
    return section


async def _run(options: Sequence[str]) -> None:
    # pyperf starts workers of its own: they are ended together.
    command = [sys.executable, str(ROOT / "bench" / "closest.py"), *options]
    process = await trio.lowlevel.open_process(
        command, env=py_language().environment, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        if await process.wait():
            raise ScanFailed(f"{' '.join(command)} ended with {process.returncode}")
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
