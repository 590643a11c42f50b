"""Peers on the local network: announced to each other, and heard of, by multicast DNS.

    _p2p._udp.local.         PTR  <name>._p2p._udp.local.        name: random, new each time
    <name>._p2p._udp.local.  TXT  dnsaddr=<multiaddr>/p2p/<id>   one string an address; the only thing that is read

Whoever is heard of may be anybody, or nobody: that is for a dial and the node's admission check to find out. Anything on
the local network can announce whatever it likes, as often as it likes. So what is heard waits in a queue with a bound, is
looked at LOOKS a second, told BURST at once and then PER_SECOND, and who was told of is not told of again for a while.

    Mdns    announces, and listens        Finds   what was heard, until it is told

zeroconf speaks DNS, in an asyncio loop of its own, in a thread that lives as long as one `_converse`. When the addresses of
this host change, that is ended and another one begins, on the networks that there are now; the same after one that failed, and
a pause.

libp2p specification, discovery/mdns.md; RFC 6762; RFC 6763. As go: A, AAAA and SRV are sent, and not read.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import trio
from zeroconf import InterfaceChoice, IPVersion, RecordUpdate, RecordUpdateListener, ServiceInfo, Zeroconf
from zeroconf._dns import DNSQuestion, DNSText
from zeroconf._protocol.outgoing import DNSOutgoing
from zeroconf.asyncio import AsyncZeroconf

from p2pkad.core.allowance import Allowance
from p2pkad.core.peers import Address, PeerId, PeerInfo, Scope
from p2pkad.errors import ConfigError
from p2pkad.wire.addresses import address_text, parse_peer

log = logging.getLogger(__name__)

SERVICE = "_p2p._udp.local."
PREFIX = b"dnsaddr="
MAX_STRING = 255
"""Bytes of one string in a TXT record (RFC 1035, 3.3)."""
MAX_ADDRESSES = 16
"""Addresses in one announcement, ours and others': with more of them it would not fit into 1,500 bytes."""

MAX_HEARD = 128
"""Announcements that wait to be looked at; further ones are dropped. They come again."""
LOOKS = 50
"""Announcements looked at in a second."""
BURST = 16
"""Peers told of at once: as many as a node checks at a time."""
PER_SECOND = 1.0
"""Peers told of in the long run. In a large network the others are found through the first ones."""
MAX_KNOWN = 1024
"""Peers remembered as told of; of more, the first ones are forgotten."""
TELL_AGAIN = 600.0
"""Seconds for which a peer that was told of is not told of again, unless it has moved."""

ASK_EVERY = 300.0
"""Seconds between questions in the long run; after the first one they come after 1, 2, 4 ... (RFC 6762, 5.2). As rust."""
LOOK_AT_OWN_EVERY = 30.0
"""Seconds between looks at whether the host has moved."""
FIRST_PAUSE = 5.0
"""Seconds after which it is tried again where it did not work: a network that comes up takes about as long."""
LONGEST_PAUSE = 300.0
"""Seconds that this pause, doubled by each further failure, grows to."""
LASTING = 60.0
"""Seconds after which a conversation has worked: the next failure is the first one again."""
CLOSE_TIMEOUT = 2.0
"""Seconds for saying goodbye, which takes a third of one."""
_PORT = 4001  # the SRV record needs one; nobody reads it
_PTR, _IN, _QUERY = 12, 1, 0


class Mdns:
    """Announces one host and hears of others.

    own: who not to tell of. addresses: where the host listens, asked again and again. tell: called with who is found.
    """

    def __init__(self, own: PeerId, addresses: Callable[[], Iterable[Address]], tell: Callable[[PeerInfo], None]) -> None:
        self.finds = Finds(own, tell)
        self._own = own
        self._addresses = addresses
        self._warned = False

    async def run(self) -> None:
        """Until it is cancelled; then it says goodbye, within CLOSE_TIMEOUT, and leaves no thread and no socket."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.finds.run)
            pause = FIRST_PAUSE
            while True:
                addresses, began = near(self._addresses()), trio.current_time()
                async with trio.open_nursery() as both:
                    moved: Future[None] = Future()
                    both.start_soon(self._tell_when_moved, addresses, moved)
                    works = await self._in_thread(addresses, moved)
                    both.cancel_scope.cancel()
                if works or trio.current_time() - began >= LASTING:
                    pause = FIRST_PAUSE
                if not works:
                    with trio.move_on_after(pause):
                        await self._until_moved(addresses)
                    pause = min(2 * pause, LONGEST_PAUSE)

    async def _until_moved(self, addresses: tuple[Address, ...]) -> None:
        while near(self._addresses()) == addresses:  # noqa: ASYNC110 # no system that this runs on tells
            await trio.sleep(LOOK_AT_OWN_EVERY)

    async def _tell_when_moved(self, addresses: tuple[Address, ...], moved: Future[None]) -> None:
        try:
            await self._until_moved(addresses)
        finally:
            moved.set_result(None)  # when cancelled as well: the thread cannot be

    async def _in_thread(self, addresses: tuple[Address, ...], moved: Future[None]) -> bool:
        """A conversation, until the host has moved; False: it failed before that."""

        def converse() -> None:
            asyncio.run(self._converse(addresses, moved))

        try:
            await trio.to_thread.run_sync(converse, limiter=trio.CapacityLimiter(1))
        except Exception as error:  # the system's, asyncio's, zeroconf's: whatever it is, the host can do without
            if not self._warned:
                what = str(error) or repr(error)
                log.warning("mDNS does not work here now, peers on the local network are not found: %s", what)
                self._warned = True
            return False
        return True

    async def _converse(self, addresses: tuple[Address, ...], moved: Future[None]) -> None:
        zeroconf = AsyncZeroconf(interfaces=interfaces(addresses), ip_version=IPVersion.V4Only)
        try:
            zeroconf.zeroconf.async_add_listener(_Ear(self.finds.hear), None)
            talking = asyncio.create_task(_talk(zeroconf, announcement(self._own, addresses)))
            await asyncio.wait({talking, asyncio.wrap_future(moved)}, return_when=asyncio.FIRST_COMPLETED)
            if talking.done():
                talking.result()
            talking.cancel()
        finally:
            await asyncio.wait_for(zeroconf.async_close(), CLOSE_TIMEOUT)


class Finds:
    """What was heard, until it is told; no more of it than there is room for, no quicker than a node can follow.

    own: who not to tell of. tell: called with who is found.
    """

    def __init__(self, own: PeerId, tell: Callable[[PeerInfo], None]) -> None:
        self._own = own
        self._tell = tell
        self._known: dict[PeerId, tuple[PeerInfo, float]] = {}  # and until when; who was told of first comes first
        self._allowance = Allowance(BURST, PER_SECOND, most=1)
        self._heard: deque[bytes] = deque()
        self._something = trio.Event()
        self._token: trio.lowlevel.TrioToken | None = None

    def __repr__(self) -> str:
        return f"<Finds known={len(self._known)} heard={len(self._heard)}>"

    def hear(self, text: bytes) -> None:
        """A TXT record came. Any thread may call this; nothing happens unless `run` runs, or when too many wait."""
        if self._token is not None and len(self._heard) < MAX_HEARD:
            self._heard.append(text)
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._wake, idempotent=True)

    def nearby(self) -> list[PeerInfo]:
        """Who was told of lately, for whoever was not there to hear it."""
        return [info for info, until in self._known.values() if until > trio.current_time()]

    async def run(self, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        """Tell of what is heard, until it is cancelled."""
        self._token = trio.lowlevel.current_trio_token()
        task_status.started()
        while True:
            await self._something.wait()
            self._something = trio.Event()
            while self._heard:
                info = read(self._heard.popleft())
                if info is not None:
                    await self._consider(info)
                await trio.sleep(1 / LOOKS)

    def _wake(self) -> None:
        self._something.set()

    async def _consider(self, info: PeerInfo) -> None:
        now = trio.current_time()
        known, until = self._known.get(info.id, (None, now))
        if info.id == self._own or (known == info and until > now):
            return
        await trio.sleep(self._allowance.wait(b"", 1, now))
        now = trio.current_time()
        self._allowance.take(b"", 1, now)
        self._known.pop(info.id, None)
        self._known[info.id] = info, now + TELL_AGAIN
        if len(self._known) > MAX_KNOWN:
            del self._known[next(iter(self._known))]
        self._tell(info)


class _Ear(RecordUpdateListener):
    """Is told of every record that arrives; on zeroconf's thread, so it only picks."""

    def __init__(self, hear: Callable[[bytes], None]) -> None:
        self._hear = hear

    def async_update_records(self, zc: Zeroconf, now: float, records: list[RecordUpdate]) -> None:
        for record in (update.new for update in records):
            # Without a time to live it is a goodbye.
            if isinstance(record, DNSText) and record.ttl and record.name.lower().endswith(f".{SERVICE}"):
                self._hear(record.text)


async def _talk(zeroconf: AsyncZeroconf, own: ServiceInfo | None) -> None:
    """Announce `own`, and ask who is there, for ever."""
    await zeroconf.zeroconf.async_wait_for_start()
    if own is not None:
        # Its name is random: nobody has to be asked whether it is free.
        await zeroconf.async_register_service(own, cooperating_responders=True)
    pause = 1.0
    while True:
        # All who ask at the same moment, after a power cut, would be answered at the same moment (RFC 6762, 5.2).
        await asyncio.sleep(0.02 + secrets.randbelow(100) / 1000)
        # Without the answers that are known: they are to be heard again.
        question = DNSOutgoing(_QUERY)
        question.add_question(DNSQuestion(SERVICE, _PTR, _IN))
        zeroconf.zeroconf.async_send(question)
        await asyncio.sleep(pause)
        pause = min(2 * pause, ASK_EVERY)


def near(addresses: Iterable[Address]) -> tuple[Address, ...]:
    """Those that belong to a local network. Those of the machine itself only where there are no others: whoever announces
    them, they lead to this one. Names and ways through relays are left out."""
    here = [each for each in addresses if each.ip_group and each.scope < Scope.PUBLIC and "/p2p-circuit" not in each.text]
    network = [each for each in here if each.scope is Scope.PRIVATE]
    return tuple((network or here)[:MAX_ADDRESSES])


def interfaces(addresses: Iterable[Address]) -> list[str] | InterfaceChoice:
    """Where to announce and to ask: on the networks on which this host listens, all of them when it listens on none."""
    hosts = dict.fromkeys(_host(each) for each in addresses if each.text.startswith("/ip4/"))
    return list(hosts) or InterfaceChoice.All


def announcement(own: PeerId, addresses: Iterable[Address]) -> ServiceInfo | None:
    """What is told of this host; None when there is nothing to tell. The name says nothing, and is new each time."""
    listed = [(each, PREFIX + address_text(each, own).encode()) for each in addresses]
    fitting = [(each, text) for each, text in listed if len(text) <= MAX_STRING]
    if not fitting:
        return None
    name = secrets.token_hex(20)
    return ServiceInfo(
        SERVICE,
        f"{name}.{SERVICE}",
        port=_PORT,
        properties=b"".join(bytes([len(text)]) + text for _, text in fitting),
        server=f"{name}.local.",
        parsed_addresses=list(dict.fromkeys(_host(each) for each, _ in fitting)),
    )


def read(text: bytes) -> PeerInfo | None:
    """The peer that a TXT record announces, with those of its addresses that are `near`; None when it announces none.

    An announcement speaks for one peer, the first that it names: what it says of others is not believed.
    """
    peer: PeerId | None = None
    addresses: list[Address] = []
    for string in list(_strings(text))[:MAX_ADDRESSES]:
        if string.startswith(PREFIX):
            with suppress(ConfigError, UnicodeDecodeError):
                info = parse_peer(string.removeprefix(PREFIX).decode("ascii"))
                if peer in (None, info.id):
                    peer = info.id
                    addresses += info.addresses
    believed = near(dict.fromkeys(addresses))
    return None if peer is None or not believed else PeerInfo(peer, believed)


def _strings(text: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(text):
        end = at + 1 + text[at]
        yield text[at + 1 : end]
        at = end


def _host(address: Address) -> str:
    return address.text.split("/")[2]
