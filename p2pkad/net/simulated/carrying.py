"""One exchange in a simulated world, from the task that asks to the other end's handler and back.

    sent     lost, cut off, crashed, hung     silence: the asker waits until its deadline
             the other end was started anew   the connection turns out to be dead after one round trip
             no server, another protocol      refused after one round trip, as is one stream more than a peer may have
    handled  the handler raises               reset after one round trip
    replied  as sent: it can get lost, or come too late

Messages travel as values. Those of hosts that are made by hand, or lie, go through the codec, as all do on a real wire.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

import trio

from p2pkad.core.messages import AnyReply, AnyRequest
from p2pkad.errors import P2pkadError, RemoteProtocolError, RequestFailed, without_content
from p2pkad.net.base import Request
from p2pkad.net.simulated.line import Exchange
from p2pkad.net.simulated.parking import LineLost
from p2pkad.net.simulated.trace import gist
from p2pkad.net.simulated.world import Errand
from p2pkad.wire.codec import decode_reply, decode_request, encode_reply, encode_request

if TYPE_CHECKING:
    from p2pkad.net.simulated.host import SimulatedHost
    from p2pkad.net.simulated.network import SimulatedNetwork

log = logging.getLogger(__name__)

IDLE_STREAM = 60.0
"""Seconds after which a handler that does not come to an end is cancelled, and the stream reset. As on a real host."""

Outcome = AnyReply | Exception | None
"""What comes back: a reply, why there is none, or None where none is due."""


class Unanswered(Exception):
    """The handler left the stream open: nothing comes back."""


async def carry(exchange: Exchange) -> AnyReply | None:
    """The reply; None where none is due. Raises RequestFailed, RemoteProtocolError, LineLost, Late."""
    line, world = exchange.line, exchange.asker.world
    line.exchanges[exchange] = None
    try:
        if world.links.loses(line.dialler.number, line.listener.number):
            world.at(exchange.deadline, exchange.too_late)
        else:
            world.at(world.now() + line.latency, _arrive, exchange)
        reply: AnyReply | None = await exchange.wait()
        return reply
    finally:
        del line.exchanges[exchange]


def _arrive(exchange: Exchange) -> Errand | None:
    line, asker = exchange.line, exchange.asker
    there, world = line.other(asker), asker.world
    if line.broken and world.started_anew(there, seen_by=asker):
        world.at(world.now() + line.latency, _dead_line, exchange)
        return None
    held = there.held(line)
    if line.silent or there.hangs or held is None:
        # Where the other end has closed the line, the news of that is on its way.
        world.at(exchange.deadline, exchange.too_late)
        return None
    held.used = world.now()
    world.arrived(asker, there, exchange.message)
    network = there.servers.get(exchange.protocol)
    if exchange.message is None:
        _reply(exchange, None)
    elif network is None:
        _reply(exchange, RequestFailed(there.id, "the protocol is not supported"))
    elif network.crowded(asker.id):
        _reply(exchange, RequestFailed(there.id, "the stream was reset"))
    else:
        scope = trio.CancelScope()
        return Errand(_handle(exchange, network, there, scope), partial(_keeps_waiting, exchange, scope))
    return None


def _dead_line(exchange: Exchange) -> None:
    exchange.asker.lost(exchange.line)
    exchange.wake(LineLost())


def _keeps_waiting(exchange: Exchange, scope: trio.CancelScope) -> None:
    scope.deadline = exchange.asker.world.now() + IDLE_STREAM
    exchange.asker.world.at(exchange.deadline, exchange.too_late)


async def _handle(exchange: Exchange, network: SimulatedNetwork, there: SimulatedHost, scope: trio.CancelScope) -> None:
    outcome: Outcome = None
    network.serving.open(scope, exchange.asker.id)
    try:
        with scope, there.connections.using(exchange.asker.id):
            outcome = await _answer(exchange, network, there)
    except P2pkadError as error:
        log.debug("%s: reset: %s", exchange.asker.id, without_content(error))
    except Exception:
        log.exception("a handler failed")
    finally:
        network.serving.close(scope)
    _reply(exchange, outcome or RequestFailed(there.id, "the stream was reset"), there.answers_late)


async def _answer(exchange: Exchange, network: SimulatedNetwork, there: SimulatedHost) -> Outcome:
    asker, message = exchange.asker, exchange.message
    assert message is not None
    assert network.handler is not None
    if exchange.size > network.max_message:
        raise RemoteProtocolError("a message is too large")
    held = there.held(exchange.line)
    remote = None if held is None else held.remote_address
    if exchange.before is not None:
        await network.handler(Request(asker.id, remote, exchange.before))
    if asker.by_hand:
        message = decode_request(encode_request(message))
    request = Request(asker.id, remote, message)
    reply = await network.handler(request)
    if there.lie is not None:
        reply = there.lie(request, reply)
    if reply is None:
        return Unanswered()
    return _off_the_wire(message, reply) if there.by_hand or there.lie is not None else reply


def _off_the_wire(message: AnyRequest, reply: AnyReply) -> Outcome:
    """What the asker reads: nonsense is its RemoteProtocolError, not the server's."""
    try:
        return decode_reply(message, encode_reply(reply))
    except RemoteProtocolError as error:
        return error


def _reply(exchange: Exchange, outcome: Outcome, late: float = 0.0) -> None:
    line, world = exchange.line, exchange.asker.world
    if isinstance(outcome, Unanswered) or world.links.loses(line.dialler.number, line.listener.number):
        arrives = float("inf")
    else:
        arrives = world.now() + line.latency + late
    if arrives <= exchange.deadline:
        world.at(arrives, _finish, exchange, outcome)
    else:
        world.at(exchange.deadline, exchange.too_late)


def _finish(exchange: Exchange, outcome: Outcome) -> None:
    if exchange.over:
        return
    line, asker = exchange.line, exchange.asker
    if line.silent:
        asker.world.at(exchange.deadline, exchange.too_late)
        return
    there = line.other(asker).number
    asker.world.trace.add(f"{asker.world.now():.6f} {asker.number} < {there} {type(outcome).__name__} {gist(outcome)}")
    exchange.wake(outcome)
