"""How long it takes to connect: a fresh host of ours against py-libp2p's default one, in turn."""

from __future__ import annotations

from processes import Driver, own
from report import Ratio, Section, milliseconds, percentile

TARGET = 20.0
KINDS = {"stock": "libp2p.new_host()", "p2pkad": "p2pkad.new_host()"}
MOMENTS = {"connected": "until connect() returns", "answered": "until a first ping is answered"}


async def measure(driver: Driver, pairs: int) -> Section:
    """Dial each kind `pairs` times, the listener being of the same kind as the dialler."""
    listeners = {kind: await driver.start(f"connect-{kind}", own("hosts.py", kind)) for kind in KINDS}
    dialler = await driver.start("connect-dialler", own("hosts.py", "p2pkad"))
    seconds: dict[str, dict[str, list[float]]] = {moment: {kind: [] for kind in KINDS} for moment in MOMENTS}
    for _ in range(pairs):
        for kind, listener in listeners.items():
            answer = await dialler.ask("dial", kind=kind, peer=listener.address)
            for moment in MOMENTS:
                seconds[moment][kind].append(answer[moment])
    return _report(seconds, pairs)


def _report(seconds: dict[str, dict[str, list[float]]], pairs: int) -> Section:
    section = Section(
        "Connect on loopback",
        [
            f"{pairs} pairs, in turn; dialler and listener are two processes; both kinds end up with noise and yamux over TCP.",
            "The same call on both: host.connect(). Identify runs in the background on both ends of both, nobody waits for it;",
            "the ping shares the CPU with it. Every dial is by a fresh host, whose making is not timed.",
        ],
        ("milliseconds", "median", "fastest", "slowest"),
        raw={"pairs": pairs, "seconds": seconds},
    )
    for moment, of_kind in seconds.items():
        for kind, values in of_kind.items():
            figures = (percentile(values, 0.5), min(values), max(values))
            section.rows.append((f"{KINDS[kind]} {MOMENTS[moment]}", *map(milliseconds, figures)))
    for moment, target in (("connected", TARGET), ("answered", None)):
        speeds = {kind: [1 / value for value in values] for kind, values in seconds[moment].items()}
        section.ratios.append(Ratio.between(f"connect, {MOMENTS[moment]}", speeds["p2pkad"], speeds["stock"], target))
    return section
