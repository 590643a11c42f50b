"""Twenty peers, five of each implementation, in one network: how much of what some have written do all of them read?

    python interop/networks.py --bootstrap go --seed again

For each implementation as the first peer, which the others begin with:

  all         random peers write values and provider records, and every peer reads every one of them
  survivors   a third of the peers is killed, and those that are left read again
  newcomers   as many fresh peers come in through a survivor, and read

Percentages of right reads are printed by the implementation that reads. Buckets and replication are smaller than the network,
so that a reader seldom holds what it reads. A percentage below 95, or a write that failed, makes the exit status 1.
"""

from __future__ import annotations

import argparse
import hashlib
import secrets
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal

import trio
from builds import ROOT, BuildFailed
from driver import Driver, Language, NeverHappened, Peer, PeerDied, PeerError, PeerSilent, open_driver, unbase64
from implementations import IMPLEMENTATIONS

LOGS = ROOT / ".cache" / "interop" / "networks"
EACH = 5
RECORDS = 100
BUCKET_SIZE = 8
"""Of all peers: small enough that most hold little, large enough that killing a third leaves a holder of everything."""
LEAST = 95.0
"""Per cent. What is lost when holders are killed in the middle of things is no fault of anybody."""
AT_ONCE = 8
READ_SECONDS = 15.0
FAILURES = (PeerError, PeerSilent, PeerDied)
FAILURES_KEPT = 5

Kind = Literal["values", "providers"]


@dataclass(frozen=True, slots=True)
class Member:
    """A peer, and what it is one of."""

    implementation: str
    peer: Peer


@dataclass(frozen=True, slots=True)
class Written:
    """What a member has written: a value, which is its own key, or that it provides something."""

    kind: Kind
    key: bytes
    writer: str


@dataclass(slots=True)
class Score:
    """Counts by phase, kind and the implementation that reads. wrong: the first few sentences on what was not right."""

    reads: Counter[tuple[str, Kind, str]] = field(default_factory=Counter)
    right: Counter[tuple[str, Kind, str]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    failed_writes: int = 0

    def note(self, phase: str, kind: Kind, implementation: str, complaint: str | None) -> None:
        """One read. complaint: None if it was right."""
        place = (phase, kind, implementation)
        self.reads[place] += 1
        self.right[place] += complaint is None
        if complaint is not None and len(self.wrong) < FAILURES_KEPT:
            self.wrong.append(f"{phase}: {complaint}")

    def percentage(self, phase: str, kind: Kind, implementation: str) -> float | None:
        """Of right reads. None: there was nothing to read."""
        place = (phase, kind, implementation)
        return 100 * self.right[place] / self.reads[place] if self.reads[place] else None

    @property
    def passes(self) -> bool:
        """Whether all was written, and everybody read enough of it."""
        return not self.failed_writes and all(100 * self.right[place] >= LEAST * self.reads[place] for place in self.reads)

    def table(self, names: Sequence[str]) -> str:
        """A row for each phase and kind, a column for each implementation that reads."""
        lines = [f"{'':24}" + "".join(f"{f'{name} reads':>14}" for name in names)]
        for phase, kind in dict.fromkeys((phase, kind) for phase, kind, _ in self.reads):
            shares = (self.percentage(phase, kind, name) for name in names)
            lines.append(
                f"{phase:12}{kind:12}" + "".join(f"{'-' if share is None else f'{share:.1f} %':>14}" for share in shares)
            )
        return "\n".join([*lines, *(f"  WRONG {sentence}" for sentence in self.wrong)])


class Crowd:
    """The members of one network. Made anew for each first peer."""

    def __init__(self, driver: Driver, languages: Mapping[str, Language], seed: str, bucket_size: int) -> None:
        self._driver = driver
        self._languages = languages
        self._seed = seed
        self._bucket_size = bucket_size
        self._random = Random(seed)
        self.members: list[Member] = []
        self.written: list[Written] = []
        self.score = Score()

    async def gather(self, first: str) -> None:
        """Start all members, the first one before the others. Returns when each has looked round."""
        kinds = [first, *(name for name in self._languages for _ in range(EACH - (name == first)))]
        for number, implementation in enumerate(kinds):
            await self.start(f"{number:02}-{implementation}", implementation)
        for member in self.members[1:]:
            await member.peer.ask("bootstrap", peers=self.members[0].peer.addresses)

    async def start(self, name: str, implementation: str) -> Member:
        """A new member, which begins with the first one that lives."""
        door = self.members[0].peer.addresses if self.members else []
        peer = await self._driver.start(
            name,
            self._languages[implementation],
            seed=f"{self._seed} {name}",
            validator="violence=opaque",
            bucket_size=self._bucket_size,
            bootstrap=door,
        )
        member = Member(implementation, peer)
        if door:
            await peer.ask("bootstrap", peers=door)
        self.members.append(member)
        return member

    async def write(self, records: int) -> None:
        """So many values and provider records, each by a random member."""
        turn = trio.CapacityLimiter(AT_ONCE)

        async def one(kind: Kind, digest: bytes, writer: Peer) -> None:
            key = b"/violence/" + digest.hex().encode() if kind == "values" else b"\x12\x20" + digest
            async with turn:
                try:
                    await (writer.ask("put", key=key, value=key) if kind == "values" else writer.ask("provide", key=key))
                except FAILURES as error:
                    self.score.failed_writes += 1
                    self.score.wrong.append(f"not written: {error}")
                else:
                    self.written.append(Written(kind, key, writer.id))

        async with trio.open_nursery() as nursery:
            for number in range(records):
                for kind in ("values", "providers"):
                    digest = hashlib.sha256(f"{self._seed} {kind} {number}".encode()).digest()
                    nursery.start_soon(one, kind, digest, self._random.choice(self.members).peer)

    async def read(self, phase: str, readers: Sequence[Member]) -> None:
        """Each of these reads all that was written, one after the other; a few of them at once."""
        turn = trio.CapacityLimiter(AT_ONCE)

        async def one(reader: Member) -> None:
            async with turn:
                for written in self.written:
                    self.score.note(phase, written.kind, reader.implementation, await complaint(reader.peer, written))

        async with trio.open_nursery() as nursery:
            for reader in readers:
                nursery.start_soon(one, reader)

    async def lose(self, number: int) -> list[Member]:
        """Kill random members, as a power cut would, and return them."""
        lost = self._random.sample(self.members, number)
        for member in lost:
            await member.peer.kill()
        self.members = [member for member in self.members if member not in lost]
        return lost


async def complaint(reader: Peer, written: Written) -> str | None:
    """What is wrong with a read; None if nothing is. That a provider is named is enough: it may have been killed."""
    try:
        if written.kind == "values":
            answer = await reader.ask("get", key=written.key, timeout=READ_SECONDS)
            return None if unbase64(answer["value"]) == written.key else f"{reader.name} got another value"
        answer = await reader.ask("find_providers", key=written.key, timeout=READ_SECONDS)
    except FAILURES as error:
        return str(error)
    named = {entry["id"] for entry in answer["providers"]}
    return None if written.writer in named else f"{reader.name} did not find the provider"


async def live(crowd: Crowd, first: str, records: int) -> None:
    """All three phases."""
    await crowd.gather(first)
    await crowd.write(records)
    await crowd.read("all", crowd.members)
    lost = await crowd.lose(len(crowd.members) // 3)
    await crowd.read("survivors", crowd.members)
    newcomers = [
        await crowd.start(f"new-{number}-{each.implementation}", each.implementation) for number, each in enumerate(lost)
    ]
    await crowd.read("newcomers", newcomers)


async def run(first: str, languages: Mapping[str, Language], options: argparse.Namespace) -> bool:
    """One network, and what is printed of it. False: not all is well."""
    logs = LOGS / first
    shutil.rmtree(logs, ignore_errors=True)
    began = trio.current_time()
    try:
        async with open_driver(logs) as driver:
            crowd = Crowd(driver, languages, f"{options.seed} {first}", options.bucket_size)
            await live(crowd, first, options.records)
    except (*FAILURES, NeverHappened) as error:
        print(f"\n{first} first: BROKEN OFF: {error}\n  logs: {logs}", flush=True)
        return False
    print(f"\n{first} first, {trio.current_time() - began:.0f} s\n{crowd.score.table(list(languages))}", flush=True)
    return crowd.score.passes


async def run_all(firsts: Sequence[str], languages: Mapping[str, Language], options: argparse.Namespace) -> bool:
    return all([await run(first, languages, options) for first in firsts])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bootstrap", choices=list(IMPLEMENTATIONS), help="one network alone: who is its first peer")
    parser.add_argument("--records", type=int, default=RECORDS, help="values, and provider records")
    parser.add_argument("--bucket-size", type=int, default=BUCKET_SIZE)
    parser.add_argument("--seed", default=secrets.token_hex(3), help="makes all keys, and who writes and who is killed")
    options = parser.parse_args()
    try:
        built = {name: each.language() for name, each in IMPLEMENTATIONS.items()}
    except BuildFailed as error:
        print(f"networks: {error}")
        return 1
    languages = {name: language for name, language in built.items() if language is not None}
    for name in built.keys() - languages.keys():
        print(f"networks: {IMPLEMENTATIONS[name].missing}: there are no {name} peers in these networks")
    print(f"networks: {EACH} each of {', '.join(languages)}, seed {options.seed}", flush=True)
    firsts = [name for name in languages if options.bootstrap in (None, name)]
    right = trio.run(run_all, firsts, languages, options)
    print("\nnetworks: all is read" if right else "\nnetworks: FAILED")
    return 0 if right else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
