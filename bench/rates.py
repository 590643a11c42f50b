"""How many FIND_NODE a second a server answers: ours, go's and py-libp2p's, each client and server a process of its own.

Every server has real neighbours in its routing table and names twenty of them, with addresses, in an answer. All servers
and clients live throughout and take turns: a round measures every case once, for a fraction of a second.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from processes import Answer, Driver, Language, Peer, PeerError, cpu_seconds, go_language, own, py_language, with_flags
from report import Ratio, Section, milliseconds

PROTOCOL = "/ipfs/kad/1.0.0"  # py-libp2p's is fixed
NAMES = {"stock": "libp2p.kad_dht", "p2pkad": "p2pkad", "go": "go-libp2p-kad-dht"}

TARGET_AT_1 = 3.0
TARGET_AT_50 = 5.0

# kad_dht resets what goes beyond twelve inbound streams: its best rate lies somewhere up to there.
STOCK_IN_FLIGHT = (1, 2, 4, 8, 10, 12)
IN_FLIGHT = (1, 10, 50)
GO_ASKS_STOCK = (1, 10)
"""What kad_dht's server can do for a quick client that uses its streams again."""
OVERLOAD = 50
"""What kad_dht is asked at once a single time, at the end, to show what becomes of it."""

UNLIMITED = {"max_requests_per_peer": 10**9, "request_rate_per_peer": 1e9}
"""Flags for a p2pkad server of which one client is to learn how much it can do. kad_dht and go have no such limit."""

NAMED = 19.0
"""Peers that an answer names on average, at least: 20, less the asker where he is one of them and nobody takes his place."""

FIRST_REQUESTS = 30
"""That each case begins with, to warm up and to learn how many fill its turn."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server that names twenty of its neighbours in an answer, and a client that knows the verb `load`."""

    server: Peer
    client: Peer


Pairs = Mapping[str, Running]


@dataclass(frozen=True, slots=True)
class Kind:
    """How the server and the client of an implementation are started."""

    server: Language
    client: Language

    async def start(self, driver: Driver, name: str) -> Running:
        """Both, and the neighbours. They live as long as the driver."""
        server = await driver.start(f"{name}-server", self.server)
        await driver.start(f"{name}-neighbours", own("neighbours.py", PROTOCOL, server.address))
        return Running(server, await driver.start(f"{name}-client", self.client))


def kinds(go: Path | None, seed: int) -> dict[str, Kind]:
    """By name. go: the go peer; None leaves its kind out."""
    known = {
        "stock": Kind(own("stock.py", "server", seed), own("stock.py", "client", seed)),
        "p2pkad": Kind(with_flags(py_language(), protocol=PROTOCOL, **UNLIMITED), own("ours.py", PROTOCOL, seed)),
    }
    if go is not None:
        server = with_flags(go_language(go), protocol=PROTOCOL)
        known["go"] = Kind(server, with_flags(server, mode="client"))
    return known


@dataclass(frozen=True, slots=True)
class Case:
    """Who asks whom, how many requests at a time."""

    client: str
    server: str
    in_flight: int


@dataclass(slots=True)
class Figures:
    """What came out. rates, p50, p99, peers: of each round. client_cpu, server_cpu: seconds, of all rounds together."""

    rates: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    peers: list[float] = field(default_factory=list)
    requests: int = 0
    failed: int = 0
    client_cpu: float = 0.0
    server_cpu: float = 0.0

    @property
    def rate(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.rates)

    def add(self, answer: Answer, client_cpu: float, server_cpu: float) -> None:
        """Book a round."""
        self.rates.append(answer["rate"])
        self.requests += answer["requests"]
        self.failed += answer.get("failed", 0)
        self.client_cpu += client_cpu
        self.server_cpu += server_cpu
        if answer["rate"]:
            self.p50.append(answer["p50"])
            self.p99.append(answer["p99"])
            self.peers.append(answer["peers_per_reply"])


def cases(with_go: bool) -> list[Case]:
    """What a round measures."""
    chosen = [Case("stock", "stock", number) for number in STOCK_IN_FLIGHT]
    chosen += [Case("p2pkad", "p2pkad", number) for number in IN_FLIGHT]
    if with_go:
        chosen += [Case("go", server, number) for server in ("p2pkad", "go") for number in IN_FLIGHT]
        chosen += [Case("go", "stock", number) for number in GO_ASKS_STOCK]
    return chosen


async def measure(
    driver: Driver, go: Path | None, *, rounds: int, seconds: float, seed: int, say: Callable[[str], None]
) -> Section:
    """Each case once a round, for about `seconds`. go: the go peer, None when there is none."""
    say("starting servers, clients, and 30 neighbours for each server")
    pairs = {name: await kind.start(driver, name) for name, kind in kinds(go, seed).items()}
    results = {case: Figures() for case in cases(go is not None)}
    say(f"warming {len(results)} cases up")
    turn = {case: await _requests_for(case, pairs, seconds) for case in results}
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}, about {seconds * len(results):.0f} s")
        for case, figures in results.items():
            await _measure(case, pairs, turn[case], figures)
    overload = Case("stock", "stock", OVERLOAD)
    results[overload] = Figures()
    await _measure(overload, pairs, 4 * OVERLOAD, results[overload])
    return _report(results, go is not None, rounds, seconds)


async def _requests_for(case: Case, pairs: Pairs, seconds: float) -> int:
    """How many requests take about `seconds`, all streams used at least twice."""
    first = Figures()
    await _measure(case, pairs, max(FIRST_REQUESTS, 2 * case.in_flight), first)
    return max(2 * case.in_flight, int(first.rate * seconds), 1)


async def _measure(case: Case, pairs: Pairs, requests: int, figures: Figures) -> None:
    client, server = pairs[case.client].client, pairs[case.server].server
    before = cpu_seconds(client), cpu_seconds(server)
    try:
        answer = await client.ask("load", peer=server.address, in_flight=case.in_flight, requests=requests)
    except PeerError:
        if case.client != "go":
            raise
        # go's measurement ends with the first request that fails.
        answer = {"requests": requests, "failed": requests, "rate": 0.0}
    figures.add(answer, cpu_seconds(client) - before[0], cpu_seconds(server) - before[1])


def _report(results: dict[Case, Figures], with_go: bool, rounds: int, seconds: float) -> Section:
    section = Section(
        "FIND_NODE between two processes",
        [
            f"Median of {rounds} rounds of about {seconds:g} s a case, in turn; random keys; each server has 30 neighbours.",
            "kad_dht opens a stream for each request, as its lookups do; p2pkad and go use theirs again, as their lookups do.",
            "A p2pkad request goes the way of one in a lookup: network, address book, table. CPU: microseconds a request.",
        ],
        ("client -> server", "in flight", "requests/s", "p50 ms", "p99 ms", "failed", "peers", "CPU client", "CPU server"),
        rows=[_row(case, figures) for case, figures in results.items()],
        warnings=[warning for case, figures in results.items() for warning in _warnings(case, figures)],
        raw={"cases": [{**asdict(case), **asdict(figures)} for case, figures in results.items()]},
    )
    if not with_go:
        section.warnings.append("not run: go -> p2pkad and go -> go, there is no go peer")
    section.ratios = _ratios(results, with_go)
    return section


def _row(case: Case, figures: Figures) -> Sequence[str]:
    def median(values: Sequence[float], write: Callable[[float], str]) -> str:
        return write(statistics.median(values)) if values else "-"

    return (
        _pair(case),
        str(case.in_flight),
        f"{figures.rate:.0f}",
        median(figures.p50, milliseconds),
        median(figures.p99, milliseconds),
        f"{100 * figures.failed / figures.requests:.0f} %",
        median(figures.peers, "{:.1f}".format),
        f"{1e6 * figures.client_cpu / figures.requests:.0f}",
        f"{1e6 * figures.server_cpu / figures.requests:.0f}",
    )


def _pair(case: Case) -> str:
    return f"{NAMES[case.client]} -> {NAMES[case.server]}"


def _warnings(case: Case, figures: Figures) -> Iterator[str]:
    if figures.failed and case.server != "stock":
        yield f"{_pair(case)} at {case.in_flight}: {figures.failed} of {figures.requests} requests failed"
    if figures.peers and min(figures.peers) < NAMED:
        yield f"{_pair(case)} at {case.in_flight}: answers with {min(figures.peers):.1f} peers cannot be compared"


def _ratios(results: dict[Case, Figures], with_go: bool) -> list[Ratio]:
    def rates(client: str, server: str, in_flight: int) -> Sequence[float]:
        return results[Case(client, server, in_flight)].rates

    best = best_without_errors(results)
    ratios = [
        Ratio.between(
            "p2pkad at 1 in flight / kad_dht at 1", rates("p2pkad", "p2pkad", 1), rates("stock", "stock", 1), TARGET_AT_1
        ),
        Ratio.between(
            f"p2pkad at 50 in flight / kad_dht's best without errors, at {best}",
            rates("p2pkad", "p2pkad", 50),
            rates("stock", "stock", best),
            TARGET_AT_50,
        ),
    ]
    if with_go:
        for number in IN_FLIGHT:
            what = f"go asks, {number} in flight: p2pkad's server / go's"
            ratios.append(Ratio.between(what, rates("go", "p2pkad", number), rates("go", "go", number)))
        for number in GO_ASKS_STOCK:
            if not results[Case("go", "stock", number)].failed:
                what = f"go asks, {number} in flight: p2pkad's server / kad_dht's"
                ratios.append(Ratio.between(what, rates("go", "p2pkad", number), rates("go", "stock", number)))
    return ratios


def best_without_errors(results: Mapping[Case, Figures]) -> int:
    """How many requests in flight make kad_dht's client and server quickest together, of those that never fail."""
    of_both = {case.in_flight: results[case] for case in results if (case.client, case.server) == ("stock", "stock")}
    return max((number for number, figures in of_both.items() if not figures.failed), key=lambda number: of_both[number].rate)
