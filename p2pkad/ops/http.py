"""A node over HTTP, for those who look after it: is it well, and what did it do. Nothing of it runs unless it is asked for.

/health/live    200 while the node runs
/health/ready   200 while it can be used, else 503
/health         live, ready and the reason in words; 200 or 503, as ready
/metrics        for Prometheus

Whoever reaches the address reads all of it, so the address is one of this machine unless it is said otherwise. A web page that
its browser was led to must not: a request that asks for a name which is not known to be this node's (DNS rebinding) gets 421.
hypercorn speaks HTTP and starlette knows the routes; the bounds around them are in `serving`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING

import trio
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from p2pkad.ops.health import Health
from p2pkad.ops.listening import bound, is_loopback, open_listener
from p2pkad.ops.metrics import CONTENT_TYPE, Metrics
from p2pkad.ops.serving import serve

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from p2pkad import KademliaService

HEADERS = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
"""In every answer: it is true for this moment only, and what it says it is."""


@asynccontextmanager
async def serve_http(
    node: KademliaService,
    bind: str = "127.0.0.1:8080",
    *,
    hosts: Sequence[str] = (),
    remote: bool = False,
    metrics: Metrics | None = None,
    routes: Sequence[BaseRoute] = (),
) -> AsyncIterator[str]:
    """Serve the node's health and metrics inside the block: `async with serve_http(node) as url`, as http://127.0.0.1:8080.

    bind: an IP address and a port, 0 for a free one. remote: it may be an address that other machines reach. hosts: names by
    which it is asked for, beside localhost and the address itself. metrics: those of the node when the application has some
    already; else they begin here. routes: starlette's, to be served as well.
    Leaving the block, or cancelling it, closes every connection at once, whatever they wait for.
    Raises ConfigError, with nothing left behind: no such address, one that other machines reach, a port that is taken.
    """
    listener = open_listener(bind, remote=remote)
    counted = Metrics(node) if metrics is None else metrics
    app = Starlette(routes=[*node_routes(counted), *routes])
    app.router.redirect_slashes = False
    address = bound(listener)
    failure: Exception | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, OnlyFor(app, address, hosts), listener)
            # What the block raises is carried around the nursery, which would wrap it in a group.
            try:
                yield f"http://{address}"
            except Exception as error:
                failure = error
            nursery.cancel_scope.cancel()
    finally:
        listener.socket.close()
        if metrics is None:
            counted.close()
    if failure is not None:
        raise failure


def node_routes(metrics: Metrics) -> list[BaseRoute]:
    """What is served of every node. GET and HEAD; starlette answers 405 to the rest."""

    def status(well: bool) -> int:
        return 200 if well else 503

    async def live(request: Request) -> Response:
        health = metrics.watch.health()
        return PlainTextResponse(_line("live", health.live, health), status(health.live))

    async def ready(request: Request) -> Response:
        health = metrics.watch.health()
        return PlainTextResponse(_line("ready", health.ready, health), status(health.ready))

    async def whole(request: Request) -> Response:
        health = metrics.watch.health()
        told = {"live": health.live, "ready": health.ready, "reason": health.reason}
        return JSONResponse(told, status(health.ready))

    async def measured(request: Request) -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    handlers = {"/health/live": live, "/health/ready": ready, "/health": whole, "/metrics": measured}
    return [Route(path, handler, methods=["GET"]) for path, handler in handlers.items()]


def _line(what: str, is_so: bool, health: Health) -> str:
    return f"{what if is_so else f'not {what}'}: {health.reason}\n"


class OnlyFor:
    """An application behind a check of the Host header. address: as bound, with its port; hosts: further names.

    Ports are not compared: who comes through a tunnel or a proxy names another one.
    """

    def __init__(self, app: ASGIApp, address: str, hosts: Sequence[str]) -> None:
        self._app = app
        own, _ = _split(address)
        self._anywhere = ip_address(own).is_unspecified
        self._known = {"localhost", own, *(each.lower() for each in hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI's call. There is no WebSocket here, and hypercorn is not told to announce a lifespan."""
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
            await send(message)

        asked = [value.decode("latin1") for name, value in scope["headers"] if name == b"host"]
        # No Host at all is HTTP/1.0, as of a load balancer that looks whether the node is well: h11 refuses a later version
        # without one. By rebinding only browsers come, and they always send one.
        if not asked or (len(asked) == 1 and self.is_known(asked[0])):
            await self._app(scope, receive, send_with_headers)
        else:
            refusal = PlainTextResponse("this node is not known by that name; --http-hosts makes it so\n", 421)
            await refusal(scope, receive, send_with_headers)

    def is_known(self, host: str) -> bool:
        """Whether a Host header means this node. Rebinding takes a name, so that an IP address is never it."""
        name, _ = _split(host.lower())
        if name in self._known:
            return True
        try:
            address = ip_address(name)
        except ValueError:
            return False
        return self._anywhere or is_loopback(address)


def _split(authority: str) -> tuple[str, str]:
    """Name and port of `name:port`, `name`, `[v6]:port` or `[v6]`."""
    if authority.startswith("["):
        name, _, rest = authority[1:].partition("]")
        return name, rest.removeprefix(":")
    name, _, port = authority.partition(":")
    return name, port
