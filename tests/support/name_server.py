"""A name server of one's own, on the loopback: a few records, and the questions it was asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import dns.asyncresolver
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import trio

from p2pkad.net.libp2p.names import ServerResolver


@dataclass
class NameServer:
    """records: texts by (name, type). silent: takes questions, and answers none."""

    records: Mapping[tuple[str, str], Sequence[str]]
    silent: bool = False
    port: int = 0
    asked: list[tuple[str, str]] = field(default_factory=list)

    def resolver(self, lifetime: float = 60.0) -> ServerResolver:
        """Asks this server alone."""
        asks = dns.asyncresolver.Resolver(configure=False)
        asks.nameservers, asks.port, asks.lifetime = ["127.0.0.1"], self.port, lifetime
        return ServerResolver(asks)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Answer until cancelled."""
        with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as opened:
            await opened.bind(("127.0.0.1", 0))
            self.port = opened.getsockname()[1]
            task_status.started()
            while True:
                data, sender = await opened.recvfrom(4096)
                answer = self._answer(dns.message.from_wire(data))
                if not self.silent:
                    await opened.sendto(answer.to_wire(), sender)

    def _answer(self, question: dns.message.Message) -> dns.message.Message:
        (asked,) = question.question
        name, kind = asked.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(asked.rdtype)
        self.asked.append((name, kind))
        answer = dns.message.make_response(question)
        texts = self.records.get((name, kind), ())
        if texts:
            quoted = [f'"{text}"' if kind == "TXT" else text for text in texts]
            answer.answer.append(dns.rrset.from_text(asked.name, 60, "IN", kind, *quoted))
        elif not any(known == name for known, _ in self.records):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer


@asynccontextmanager
async def name_server(records: Mapping[tuple[str, str], Sequence[str]], *, silent: bool = False) -> AsyncIterator[NameServer]:
    """One that runs inside the block."""
    server = NameServer(records, silent)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        yield server
        nursery.cancel_scope.cancel()
