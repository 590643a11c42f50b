"""What can be wrong with a node and its surroundings: a function for each check, over the public names of the package.

    disk          the state directory can be written, and there is room
    bootstrap     each bootstrap peer is there, and speaks this network's protocol
    table         the node knows peers
    clock         peers have about the same time
    mode          what it does, and whether anybody could dial it
    addresses     where peers see it, beside where it says that it is
    reachability  a dial to each address that it tells leads to it

Each returns findings: a state, a sentence that names the thing, and for what is not well the next move. None raises for what
a peer does, and each ends within a few of the node's own time-outs.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import islice
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Literal

import trio

import p2pkad
from p2pkad.cli.text import duration, plain, size
from p2pkad.ops.health import ALONE, counted, is_first, is_itself, silence

if TYPE_CHECKING:
    from p2pkad.cli.requests import Tell

State = Literal["ok", "warn", "bad"]
Name = Literal["disk", "bootstrap", "table", "clock", "mode", "addresses", "reachability"]

MIB = 1024 * 1024
DISK_FULL, DISK_LOW = 16 * MIB, 256 * MIB
"""Bytes free below which a node cannot go on for long, and should not be left alone."""
CLOCK_WRONG, CLOCK_OFF = 60.0, 10.0
"""Seconds of difference: signed records that are dated are refused across the first; the second is worth a look."""
CLOCKS = 5
"""Peers whose clocks are compared: the one in the middle counts, so that two wrong ones do not matter."""
MOST = 20
"""Bootstrap peers, or own addresses, that are looked at."""
FEW = 3
"""Peers in the table below which they may all be gone a moment later."""
LOOKS = 3
"""Threads that look at the disk at a time. One that hangs is held by the system: it can be left alone, and not ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check found. remedy: the next move, for what is not well."""

    check: Name
    state: State
    sentence: str
    remedy: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is checked. config: what the node was opened with. directory: where it keeps its state; None: nowhere.

    looks: LOOKS of them, the same for each time that the node is looked at. A disk that hangs takes these, and no thread of
    anybody else's.
    """

    node: p2pkad.KademliaService
    config: p2pkad.Config
    directory: str | None
    looks: trio.CapacityLimiter


Findings = list[Finding]
Check = Callable[[Subject], Awaitable[Findings]]

UNWELL = (p2pkad.NetworkError, p2pkad.ProtocolError, p2pkad.LookupFailed)
"""What a question to a peer may raise."""

COMPARE_IT = "compare it yourself, with `date -u`"


async def examine(subject: Subject, tell: Tell) -> None:
    """Run all checks at the same time, and tell what they find in the order of CHECKS."""
    found: list[Findings] = [[] for _ in CHECKS]
    done = [trio.Event() for _ in CHECKS]

    async def run(place: int) -> None:
        found[place] = await CHECKS[place](subject)
        done[place].set()

    async with trio.open_nursery() as nursery:
        for place in range(len(CHECKS)):
            nursery.start_soon(run, place)
        for place, event in enumerate(done):
            await event.wait()
            for finding in found[place]:
                await tell(asdict(finding))


async def disk(subject: Subject) -> Findings:
    """Whether what is to be kept can be written. A look that takes too long is left alone, so that it keeps nobody waiting."""
    if subject.directory is None:
        return [Finding(check="disk", state="ok", sentence="no state directory: nothing is kept on disk")]
    directory, patience, found = Path(subject.directory), subject.config.request_timeout, None
    with trio.move_on_after(patience):
        found = await trio.to_thread.run_sync(
            partial(_disk, directory),
            abandon_on_cancel=True,  # type: ignore[call-arg]  # trio-typing, which libp2p brings, has the older name
            limiter=subject.looks,
        )
    trouble = subject.node.stats().store_trouble
    if trouble and (found is None or found.state != "bad"):
        remedy = f"look at the disk; the node tries again at least every {subject.config.expire_interval:g} s"
        found = Finding(check="disk", state="bad", sentence=trouble, remedy=remedy)
    return [found or _hanging(directory, patience)]


def _hanging(directory: Path, seconds: float) -> Finding:
    return Finding(
        check="disk",
        state="bad",
        sentence=f"{directory}: its disk does not answer within {seconds:.3g} s",
        remedy="look at the disk and at the system's log (dmesg); where it is a network's, whether that server is there",
    )


def _disk(directory: Path) -> Finding:
    finding = partial(Finding, check="disk")
    if not directory.exists():
        return finding(state="ok", sentence=f"{directory} is not there yet; a node makes it")
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(bytes(64 * 1024))
            file.flush()
            os.fsync(file.fileno())
        disk = shutil.disk_usage(directory)
    except OSError as error:
        return finding(
            state="bad",
            sentence=f"{directory} cannot be written: {error.strerror}",
            remedy="make room there, let the node's user write to it, or name another --data-dir",
        )
    if not disk.total:
        return finding(state="ok", sentence=f"{directory} can be written; its disk does not say how much is free")
    sentence = f"{directory} has {size(disk.free)} free"
    if disk.free < DISK_FULL:
        return finding(state="bad", sentence=f"{sentence}: too little", remedy="make room, or name another --data-dir")
    if disk.free < DISK_LOW:
        return finding(state="warn", sentence=sentence, remedy="make room before it is full")
    return finding(state="ok", sentence=sentence)


async def bootstrap(subject: Subject) -> Findings:
    """Each bootstrap peer, one by one."""
    peers = subject.config.bootstrap[:MOST]
    if not peers:
        alone = not subject.node.stats().table
        return [
            Finding(
                check="bootstrap",
                state="warn" if alone else "ok",
                sentence="there are no bootstrap peers",
                remedy="name some with --bootstrap, or wait until others dial this node" if alone else None,
            )
        ]
    found = await _of_each(partial(_bootstrap_peer, subject), peers)
    # One that answers is enough to begin with.
    if any(each.state == "ok" for each in found):
        found = [each if each.state == "ok" else _warned(each) for each in found]
    return found


async def _bootstrap_peer(subject: Subject, address: str) -> Finding:
    finding = partial(Finding, check="bootstrap")
    node, protocol = subject.node, subject.node.protocol
    if is_itself(node, address):
        return finding(state="ok", sentence=f"{address} is this node itself")
    try:
        said = await node.identify(address, timeout=subject.config.request_timeout)
        if protocol not in said.protocols:
            return _of_another_network(address, said, protocol)
        seconds = await node.ping(address, timeout=subject.config.request_timeout)
    except UNWELL as error:
        return finding(
            state="bad",
            sentence=f"{address} cannot be reached: {_reason(error, address)}",
            remedy="check its address and whether it runs, or name other bootstrap peers",
        )
    return finding(state="ok", sentence=f"{address} answers in {1000 * seconds:.0f} ms ({_agent(said)})")


def _of_another_network(address: str, said: p2pkad.PeerDescription, protocol: str) -> Finding:
    others = sorted(plain(each) for each in said.protocols if "/kad/" in each)
    if not others:
        return Finding(
            check="bootstrap",
            state="bad",
            sentence=f"{address} is there ({_agent(said)}), but answers no Kademlia protocol: a client, or something else",
            remedy="name a bootstrap peer that is a server",
        )
    return Finding(
        check="bootstrap",
        state="bad",
        sentence=f"{address} is there ({_agent(said)}), but speaks {', '.join(others)} and not {protocol}",
        remedy=f"pass --protocol {others[0]}, or name bootstrap peers of {protocol}",
    )


def _agent(said: p2pkad.PeerDescription) -> str:
    return plain(said.agent) or "it does not say what it is"


async def table(subject: Subject) -> Findings:
    """Whether the node knows enough peers to find the others."""
    stats = subject.node.stats()
    finding = partial(Finding, check="table")
    if not stats.table and is_first(subject.node):
        return [finding(state="warn", sentence=ALONE, remedy="wait until others dial this node, or name some with --bootstrap")]
    if not stats.table:
        return [
            finding(
                state="bad",
                sentence="the routing table is empty: this node can ask nobody, and nobody finds it",
                remedy="name bootstrap peers that answer on its protocol; what is said of bootstrap tells why there are none",
            )
        ]
    if stats.silent == stats.table:
        return [
            finding(
                state="warn" if is_first(subject.node) else "bad",
                sentence=silence(stats),
                remedy="look at this machine's network, and whether those peers run",
            )
        ]
    sentence = f"{counted(stats.table, 'peer')} in {counted(len(stats.buckets), 'bucket')}, {stats.peers} connected"
    if stats.silent:
        sentence += f", {stats.silent} silent"
    if stats.table < FEW:
        return [finding(state="warn", sentence=f"only {sentence}", remedy="name more bootstrap peers, if there are more")]
    return [finding(state="ok", sentence=sentence)]


async def clock(subject: Subject) -> Findings:
    """How far peers' clocks are from this one."""
    asked = [each.id for each in islice(subject.node.routing_table(), CLOCKS)]
    offsets: list[float] = []
    unable: list[str] = []

    async def compare(peer: p2pkad.PeerId) -> None:
        try:
            offsets.append(await subject.node.compare_clocks(peer, timeout=subject.config.request_timeout))
        except p2pkad.LocalProtocolError as error:  # of this node's own key: nobody was asked
            unable.append(str(error))
        except UNWELL:
            pass

    async with trio.open_nursery() as nursery:
        for peer in asked:
            nursery.start_soon(compare, peer)
    if unable:
        return [Finding(check="clock", state="warn", sentence=f"not compared: {unable[0]}", remedy=COMPARE_IT)]
    return [_clock(offsets, len(asked))]


def _clock(offsets: Sequence[float], asked: int) -> Finding:
    finding = partial(Finding, check="clock")
    if not offsets:
        return finding(
            state="warn",
            sentence=f"nobody to compare the clock with: {asked} peers were asked, none said its time",
            remedy=COMPARE_IT,
        )
    ahead = median(offsets)
    if abs(ahead) < CLOCK_OFF:
        return finding(
            state="ok", sentence=f"the clock agrees with that of {counted(len(offsets), 'peer')}, within {CLOCK_OFF:.0f} s"
        )
    off = f"the clock of this machine is {duration(abs(ahead))} {'behind' if ahead > 0 else 'ahead of'} that of "
    whose = "the one peer that could be compared" if len(offsets) == 1 else f"the middle one of {len(offsets)} peers"
    return finding(
        state="bad" if abs(ahead) >= CLOCK_WRONG else "warn",
        sentence=off + whose,
        remedy="set it, and keep it set: `timedatectl set-ntp true`",
    )


async def mode(subject: Subject) -> Findings:
    """What the node does for others, and whether it can."""
    finding, node = partial(Finding, check="mode"), subject.node
    if not _is_told(node):
        return [finding(state="ok", sentence=f"a client on {node.protocol}: it asks, and is asked nothing")]
    what, instead = (
        (f"a server on {node.protocol}", ", or --mode client")
        if node.mode == "server"
        else (f"a client on {node.protocol} that provides content", "")
    )
    if not node.addresses:
        return [
            finding(
                state="bad",
                sentence=f"{what}, without an address: nobody can reach it",
                remedy=f"pass --listen or --announce{instead}",
            )
        ]
    if all(ip is not None and ip.is_loopback for ip in map(_ip, node.addresses)):
        return [
            finding(
                state="warn",
                sentence=f"{what} for this machine alone: its addresses are all loopback ones",
                remedy="pass --listen /ip4/0.0.0.0/tcp/4001, if others are to reach it",
            )
        ]
    return [finding(state="ok", sentence=what)]


async def addresses(subject: Subject) -> Findings:
    """Where peers see the node, beside where it says that it is."""
    finding, node = partial(Finding, check="addresses"), subject.node
    observed = node.observed_addresses()
    if not observed:
        return [finding(state="ok", sentence="no peer has said where it sees this node")]
    # Without the port: where this node dialled, its peers see one that nobody can dial.
    machines = Counter[IPv4Address | IPv6Address | None]()
    for address, peers in observed.items():
        machines[_ip(address)] += peers
    (seen, by), *_ = machines.most_common(1)
    sentence = f"{by} of {machines.total()} peers see this node at {seen or 'a name'}"
    told = {_ip(each) for each in node.addresses}
    if _is_told(node) and seen is not None and seen.is_global and seen not in told:
        return [
            finding(
                state="warn",
                sentence=f"{sentence}, which is none of the addresses that it tells",
                remedy=f"it is behind a router: forward a port to it, and pass --announce /ip{seen.version}/{seen}/tcp/PORT",
            )
        ]
    return [finding(state="ok", sentence=sentence)]


async def reachability(subject: Subject) -> Findings:
    """Whether a stranger who dials the addresses that the node tells gets to it. The stranger sits on the same machine."""
    if not _is_told(subject.node):
        sentence = "nobody is told the addresses of a client that provides nothing"
        return [Finding(check="reachability", state="ok", sentence=sentence)]
    return await _of_each(partial(_dialled, subject), subject.node.addresses[:MOST])


async def _dialled(subject: Subject, address: str) -> Finding:
    finding = partial(Finding, check="reachability")
    config = p2pkad.Config(
        mode="client",
        listen=(),
        protocol=subject.config.protocol,
        security=subject.config.security,
        dial_timeout=subject.config.dial_timeout,
    )
    try:
        # A new one for each address: whoever is connected already dials no more.
        async with p2pkad.open_node(config) as stranger:
            await stranger.connect(address, timeout=subject.config.request_timeout)
    except UNWELL as error:
        return finding(
            state="bad",
            sentence=f"{address} is told to peers, and a dial to it fails: {_reason(error, address)}",
            remedy="open or forward its port, or --announce the address that leads here. "
            "Some routers do not lead a dial from inside to their own outer address: then try it from elsewhere",
        )
    return finding(state="ok", sentence=f"{address} can be dialled")


CHECKS: tuple[Check, ...] = (disk, bootstrap, table, clock, mode, addresses, reachability)


async def _of_each(check: Callable[[str], Awaitable[Finding]], texts: Sequence[str]) -> Findings:
    """A finding for each text, in their order; all are looked at at the same time."""
    found: dict[int, Finding] = {}

    async def look(place: int) -> None:
        found[place] = await check(texts[place])

    async with trio.open_nursery() as nursery:
        for place in range(len(texts)):
            nursery.start_soon(look, place)
    return [found[place] for place in sorted(found)]


def _reason(error: Exception, address: str) -> str:
    """Why, without the id and the address that stand before it already, and without what happened at its other addresses."""
    match error:
        case p2pkad.PeerUnreachable(causes=causes) | p2pkad.PeerBusy(causes=causes) if causes:
            here = [reason for at, reason in causes if f"{address}/".startswith(f"{at}/")]
            return plain("; ".join(here or [reason for _, reason in causes]))
        case p2pkad.RequestTimeout(doing=doing, seconds=seconds):
            return f"no answer to {doing} within {seconds:.3g} s"
        case p2pkad.RequestFailed(reason=reason):
            return plain(reason)
        case _:
            return plain(str(error))


def _is_told(node: p2pkad.KademliaService) -> bool:
    """Whether peers are told where the node is: a server is known to them, and whoever provides something is to be found."""
    return node.mode == "server" or node.stats().provided > 0


def _warned(finding: Finding) -> Finding:
    return Finding(check=finding.check, state="warn", sentence=finding.sentence, remedy=finding.remedy)


def _ip(address: str) -> IPv4Address | IPv6Address | None:
    kind, _, rest = address.removeprefix("/").partition("/")
    return ip_address(rest.partition("/")[0]) if kind in ("ip4", "ip6") else None
