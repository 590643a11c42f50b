"""`p2pkad run`: a node that stays."""

from __future__ import annotations

import gc
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

import p2pkad
from p2pkad.cli import output
from p2pkad.cli.control.lines import socket_path
from p2pkad.cli.control.server import control_socket, refuse_a_second
from p2pkad.cli.exits import DONE
from p2pkad.cli.local import LocalNode
from p2pkad.cli.logs import configure
from p2pkad.cli.options import Logging, Namespaces, NodeOptions, Watching, settings
from p2pkad.cli.process import execute
from p2pkad.ops.logs import EventLog

if TYPE_CHECKING:
    from p2pkad import KademliaService as Node


def run(
    *,
    json: bool = False,
    namespaces: Namespaces = Namespaces(),
    logging: Logging = Logging(),
    watching: Watching = Watching(),
    options: NodeOptions = NodeOptions(),
) -> int:
    """Run a node until Ctrl-C or SIGTERM. SIGHUP is ignored: there is nothing to read again.

    Parameters
    ----------
    json
        Print a line of JSON when the node serves: id, addresses, mode and protocol.
    """
    config = p2pkad.Config(**settings(options), **namespaces.settings())
    if config.data_dir is not None:
        # Whole: whoever asks the node, or reads its log, is somewhere else.
        directory = Path(config.data_dir).absolute()
        config = replace(config, data_dir=str(directory))
        # Refused before there is a key, a database, a node: what lies too deep, and where one is running.
        refuse_a_second(socket_path(directory))
    if watching.http is None and (watching.http_hosts or watching.http_remote):
        output.remark("p2pkad: warning: --http-hosts and --http-remote count with --http alone, and there is none")
    configure(logging.log_level, logging.log_format)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return execute(partial(_serve, config, namespaces.validator, watching, json), stopped=DONE)


async def _serve(config: p2pkad.Config, namespaces: tuple[str, ...], watching: Watching, as_json: bool) -> int:
    async with p2pkad.open_node(config) as node, _controlled(node, config, namespaces), AsyncExitStack() as stack:
        stack.enter_context(EventLog(node))
        url = None if watching.http is None else await stack.enter_async_context(_http(node, watching))
        # All that is loaded stays: whenever garbage is looked for in the months to come, nobody goes through it.
        gc.collect()
        gc.freeze()
        if as_json:
            told = {} if url is None else {"http": url}
            output.record(
                {
                    "event": "ready",
                    "id": str(node.id),
                    "addresses": list(node.addresses),
                    "mode": node.mode,
                    "protocol": node.protocol,
                    **told,
                }
            )
        else:
            for text in introduction(node, namespaces, config.data_dir, url):
                output.line(text)
        await trio.sleep_forever()
    return DONE


def _http(node: Node, watching: Watching) -> AbstractAsyncContextManager[str]:
    from p2pkad.ops.http import serve_http  # noqa: PLC0415 - a web server is loaded by whoever wants one

    assert watching.http is not None
    return serve_http(node, watching.http, hosts=watching.http_hosts, remote=watching.http_remote)


def _controlled(node: Node, config: p2pkad.Config, namespaces: tuple[str, ...]) -> AbstractAsyncContextManager[object]:
    """Commands may ask the node while this is open. Without a state directory they do not know where."""
    if config.data_dir is None:
        return nullcontext()
    return control_socket(config.data_dir, LocalNode(node, config, namespaces, stays=True, directory=config.data_dir))


def introduction(node: Node, namespaces: tuple[str, ...], data_dir: str | None, url: str | None = None) -> list[str]:
    """What a person wants to know of a node that has just begun: who and where it is, and what to type next."""
    return [
        f"id         {node.id}",
        *(f"address    {address}" for address in node.addresses),
        f"protocol   {node.protocol} ({node.mode})",
        f"key        {f'in {Path(data_dir).resolve()}' if data_dir else 'not kept: the id is new each time'}",
        *(() if url is None else (f"http       {url} (/health, /metrics)",)),
        "",
        *_suggestions(node, namespaces, data_dir),
    ]


def _suggestions(node: Node, namespaces: tuple[str, ...], data_dir: str | None) -> list[str]:
    """Commands for a second terminal, complete, so that they can be pasted: they ask this node, the last one joins it."""
    commands = [*_asking(node, namespaces, data_dir), *_joining(node, namespaces)]
    if not commands:
        return ["Ctrl-C ends it."]
    lines = (f"  {program()} {shlex.join(command)}" for command in commands)
    return ["Try, in another terminal:", *lines, "", "Ctrl-C ends it."]


def _asking(node: Node, namespaces: tuple[str, ...], data_dir: str | None) -> Iterator[list[str]]:
    """Through the state directory; where there is none, as a client of the network."""
    network = _network(node)
    opaque = next((each for each in namespaces if each.endswith("=opaque")), None)
    if data_dir is not None:
        rules = ["--data-dir", str(Path(data_dir).resolve())]
        # Alone it has nobody to store a value with, and refuses unless it may keep it to itself.
        stores = node.config.allow_zero_peers or bool(node.config.bootstrap)
    else:
        rules, stores = [*network, "--validator", opaque or ""], bool(network)
    if opaque is not None and stores:
        key = f"/{opaque.partition('=')[0]}/greeting"
        yield from (["put", key, "hello", *rules], ["get", key, *rules])
    if data_dir is not None:
        yield ["status", *rules]


def _joining(node: Node, namespaces: tuple[str, ...]) -> Iterator[list[str]]:
    network = _network(node)
    if network:
        rules = [word for namespace in namespaces for word in ("--validator", namespace)]
        yield ["run", "--listen", "/ip4/0.0.0.0/tcp/0", "--data-dir", "", *rules, *network]


def _network(node: Node) -> list[str]:
    """The options with which somebody on this machine joins the node's network; none where nobody can."""
    if node.mode != "server" or not node.addresses:
        return []
    nearest = min(node.addresses, key=lambda address: "/127.0.0.1/" not in address and "/::1/" not in address)
    network = ["--bootstrap", nearest]
    if node.protocol != p2pkad.KademliaConfig().protocol:
        network += ["--protocol", node.protocol]
    return network


def program() -> str:
    """How this program was called, as it can be typed in any directory."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return shlex.join([sys.executable, "-m", "p2pkad"])
    found = shutil.which(called.name)
    if found is not None and Path(found).resolve() == called.resolve():
        return shlex.quote(called.name)
    return shlex.quote(str(called.resolve()))
