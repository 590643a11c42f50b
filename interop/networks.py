"""Twenty peers, five of each implementation, in one network: how much of what some write do the others read?

    python interop/networks.py --bootstrap go --seed again

For each implementation as the first peer, which the others begin with (crowd.py has what happens to it):

  at first       random members have written values and provider records
  after losses   a third was killed: those that are left read
  after renewal  fresh peers of the same implementations have come in: those that were left read again
  newcomers      the fresh ones read

Each record is read by everybody that neither wrote nor holds it, or by so many random ones of each implementation:
--readers 1. Percentages are printed by the
implementation that reads. Tables end up in .cache/interop/networks: networks.md and networks.json, and beside them the logs
of each network. Too low a percentage (shares.py has how low) or of failed writes makes the exit status 1.
"""

from __future__ import annotations

import argparse
import contextlib
import secrets
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import trio
from builds import ROOT, BuildFailed
from crowd import Crowd, Setting
from driver import Language, flags, open_driver
from failures import ANY, leaves
from implementations import FOREIGN, IMPLEMENTATIONS
from shares import Report, Summary, json_text, markdown, text

LOGS = ROOT / ".cache" / "interop" / "networks"


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = Setting("")
    made.add_argument("--bootstrap", choices=list(IMPLEMENTATIONS), help="one network alone: who is its first peer")
    made.add_argument("--each", type=int, default=usual.each, help="peers of an implementation")
    made.add_argument("--records", type=int, default=usual.records, help="values, and as many provider records")
    made.add_argument(
        "--readers", type=int, default=usual.readers, help="of a record, in each implementation, besides those that hold it"
    )
    made.add_argument("--bucket-size", type=int, default=usual.bucket_size)
    made.add_argument("--seed", default=secrets.token_hex(3), help="makes all ids and keys, and chooses who does what")
    made.add_argument("--require", choices=FOREIGN, action="append", default=[], help="fail where this toolchain is missing")
    return made


async def play(crowd: Crowd, report: Report) -> None:
    """All that happens to a network. Raises what the driver raises, and NeverHappened."""
    with timed(report, "start"):
        await crowd.gather()
    report.versions = {member.implementation: member.peer.versions for member in crowd.members}
    with timed(report, "write"):
        report.count_writes(await crowd.write())
        await crowd.settle()
    with timed(report, "at first"):
        report.count("at first", await crowd.read(crowd.members))
    lost = await crowd.lose()
    report.killed = [member.peer.name for member in lost]
    survivors = list(crowd.members)
    with timed(report, "after losses"):
        report.count("after losses", await crowd.read(survivors))
    with timed(report, "renew"):
        newcomers = await crowd.renew(lost)
    for phase, members in {"after renewal": survivors, "newcomers": newcomers}.items():
        with timed(report, phase):
            report.count(phase, await crowd.read(members))


@contextlib.contextmanager
def timed(report: Report, step: str) -> Iterator[None]:
    """Note how long a step takes. A terminal is told that it has begun."""
    began = trio.current_time()
    if sys.stdout.isatty():
        print(f"\r{report.first} first: {step}\033[K", end="", flush=True)
    yield
    report.seconds[step] = trio.current_time() - began
    if sys.stdout.isatty():
        print("\r\033[K", end="")


async def run(first: str, languages: Mapping[str, Language], setting: Setting, logs: Path) -> Report:
    """One network, whatever becomes of it. logs: a directory for it alone."""
    report = Report(first, command(first, setting))
    try:
        async with open_driver(logs) as driver:
            await play(Crowd(driver, languages, setting, first), report)
    except* ANY as group:
        report.broken = "; ".join(map(str, leaves(group)))
    return report


def command(first: str, setting: Setting) -> str:
    """What repeats one network, with the same ids, keys, writers and casualties."""
    return shlex.join(["python", "interop/networks.py", *flags({"bootstrap": first, **asdict(setting)})])


async def run_all(firsts: Sequence[str], languages: Mapping[str, Language], setting: Setting) -> list[Report]:
    """A network for each of these as the first peer, one after the other. Each is printed when it is done."""
    reports = []
    for first in firsts:
        report = await run(first, languages, setting, LOGS / first)
        print(f"\n{text(report, list(languages))}", flush=True)
        if not report.passes:
            print(f"  {report.repeat}\n  logs: {(LOGS / first).relative_to(ROOT)}", flush=True)
        reports.append(report)
    return reports


def main() -> int:
    options = parser().parse_args()
    setting = Setting(options.seed, options.each, options.records, options.readers, options.bucket_size)
    try:
        built = {name: each.language() for name, each in IMPLEMENTATIONS.items()}
    except BuildFailed as error:
        print(f"networks: {error}")
        return 1
    languages = {name: language for name, language in built.items() if language is not None}
    missing = {name: each.missing for name, each in IMPLEMENTATIONS.items() if name not in languages}
    print(f"networks: {setting.each} each of {', '.join(languages)}, seed {setting.seed}", flush=True)
    shutil.rmtree(LOGS, ignore_errors=True)
    firsts = [name for name in languages if options.bootstrap in (None, name)]
    summary = Summary(trio.run(run_all, firsts, languages, setting), list(languages), asdict(setting), list(missing.values()))
    LOGS.mkdir(parents=True, exist_ok=True)
    (LOGS / "networks.md").write_text(markdown(summary))
    (LOGS / "networks.json").write_text(json_text(summary))
    print(f"\nnetworks: {summary.verdict}; {summary.seconds:.0f} s; {LOGS.relative_to(ROOT)}/networks.md")
    return 0 if summary.passes and not set(options.require) & set(missing) else 1


if __name__ == "__main__":
    status = 130
    try:
        status = main()
    except* KeyboardInterrupt:  # on its own, or in the group of a nursery
        print("\nnetworks: interrupted")
    sys.exit(status)
