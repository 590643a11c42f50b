"""How long it takes to connect: a fresh host of ours against py-libp2p's default one, in turn."""

from __future__ import annotations

from processes import Driver, own
from report import Ratio, Section, milliseconds, percentile

TARGET = 20.0
KINDS = {"stock": "libp2p.new_host()", "p2pkad": "p2pkad.new_host()"}
MOMENTS = {"connected": "until connect() returns", "answered": "until a first ping is answered"}


Samples = dict[str, dict[str, list[dict[str, float]]]]
"""By moment and kind: `wall` and `cpu`, in seconds."""


async def measure(driver: Driver, pairs: int) -> Section:
    """Dial each kind `pairs` times, the listener being of the same kind as the dialler."""
    listeners = {kind: await driver.start(f"connect-{kind}", own("hosts.py", kind)) for kind in KINDS}
    dialler = await driver.start("connect-dialler", own("hosts.py", "p2pkad"))
    samples: Samples = {moment: {kind: [] for kind in KINDS} for moment in MOMENTS}
    for _ in range(pairs):
        for kind, listener in listeners.items():
            answer = await dialler.ask("dial", kind=kind, peer=listener.address)
            for moment in MOMENTS:
                samples[moment][kind].append(answer[moment])
    return _report(samples, pairs)


def _report(samples: Samples, pairs: int) -> Section:
    section = Section(
        "Connect on loopback",
        [
            f"{pairs} pairs, in turn; dialler and listener are two processes; both kinds end up with noise and yamux over TCP.",
            "The same call on both: host.connect(). Identify runs in the background on both ends of both, nobody waits for it;",
            "the ping shares the CPU with it. Every dial is by a fresh host, whose making is not timed.",
            "Beside the dialler's CPU there is the listener's, and waiting: for a timer of py-libp2p, or for other programs.",
        ],
        ("milliseconds", "median", "fastest", "slowest", "dialler's CPU"),
        raw={"pairs": pairs, "samples": samples},
    )
    for moment, of_kind in samples.items():
        for kind, taken in of_kind.items():
            wall, cpu = ([sample[clock] for sample in taken] for clock in ("wall", "cpu"))
            figures = (percentile(wall, 0.5), min(wall), max(wall), percentile(cpu, 0.5))
            section.rows.append((f"{KINDS[kind]} {MOMENTS[moment]}", *map(milliseconds, figures)))
    for moment, target in (("connected", TARGET), ("answered", None)):
        speeds = {kind: [1 / sample["wall"] for sample in taken] for kind, taken in samples[moment].items()}
        section.ratios.append(Ratio.between(f"connect, {MOMENTS[moment]}", speeds["p2pkad"], speeds["stock"], target))
    return section
