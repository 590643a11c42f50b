"""Whom a command asks: the node that runs, or one that lives as long as the command.

--bootstrap typed              one that lives as long as the command, and asks the network of those peers
a node runs here               that one, through the control socket in its state directory
--data-dir typed, or the       a line that says that none runs: nobody answers in its stead
node is what is looked at
bootstrap peers from the       as if they had been typed, and a remark that no node runs
environment or the file
none of them                   a line that says what to do
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import trio

import p2pkad
from p2pkad.cli.control.client import running_node
from p2pkad.cli.exits import UsageError
from p2pkad.cli.options import Asking, AskOptions, Namespaces, TypedHere, settings
from p2pkad.cli.output import progress, remark
from p2pkad.cli.process import execute
from p2pkad.cli.requests import GRACE, Asked

if TYPE_CHECKING:
    from p2pkad import KademliaService

Work = Callable[[Asked], Awaitable[int]]
"""What a command does with a node; gives the exit code."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """config: of a node that is opened for the command. here: bootstrap peers were typed, so that the running one is not asked.

    as_somebody: such a node has the key of the state directory: it is to be found. alone: it may be that nobody but the peer
    that was named is asked. stays: only a node that stays can do it. looks: at the node itself, which another is not.
    leaves: what it does that a node that stays would renew ("stores"); empty for nothing. doing: for whoever waits.
    """

    config: p2pkad.Config
    here: bool
    as_somebody: bool
    asking: Asking
    namespaces: tuple[str, ...]
    doing: str
    alone: bool
    stays: bool
    looks: bool
    leaves: str

    @property
    def in_its_stead(self) -> bool:
        """Whether one that lives as long as the command may be asked where no node runs."""
        if self.here:
            return True
        return not (self.asking.named or self.looks) and (self.alone or bool(self.config.bootstrap))


def ask(
    work: Work,
    *,
    options: AskOptions,
    asking: Asking,
    doing: str,
    namespaces: Namespaces | None = None,
    alone: bool = False,
    stays: bool = False,
    looks: bool = False,
    leaves: str = "",
) -> int:
    """Let a node `work`; returns the exit code. options: `AskOptions` or `OfferOptions`, the others as in `Plan`."""
    chosen = {"listen": (), **settings(options), "mode": "client"}
    if namespaces is not None:
        chosen |= namespaces.settings()
    plan = Plan(
        config=p2pkad.Config(**chosen),
        here=isinstance(chosen["bootstrap"], TypedHere),
        as_somebody="announce" in chosen,
        asking=asking,
        namespaces=() if namespaces is None else namespaces.validator,
        doing=doing,
        alone=alone,
        stays=stays,
        looks=looks,
        leaves=leaves,
    )
    return execute(partial(_ask, work, plan))


async def _ask(work: Work, plan: Plan) -> int:
    with trio.move_on_after(plan.asking.timeout + GRACE):
        async with progress(plan.doing):
            node = None if plan.here or not plan.asking.state else await running_node(plan.asking.state)
            if node is not None:
                return await work(node)
            if not plan.in_its_stead:
                raise UsageError(_nobody(plan))
            if not plan.here and plan.asking.state:
                lost = f", and nobody renews what it {plan.leaves}" if plan.leaves else ""
                remark(f"p2pkad: warning: no node runs with {plan.asking.state}: a client of this command asks{lost}")
            return await _ask_with_a_client(work, plan)
    raise TimeoutError(f"{plan.doing}: no result within {plan.asking.timeout:g} s")


def _nobody(plan: Plan) -> str:
    where = f"no node runs with {plan.asking.state}" if plan.asking.state else "no state directory is named"
    if plan.stays:
        return f"{where}. Start one with `p2pkad run`, or name its --data-dir"
    return f"{where}. Start one with `p2pkad run`, name its --data-dir, or ask a peer with --bootstrap ADDRESS"


async def _ask_with_a_client(work: Work, plan: Plan) -> int:
    # A third of what it takes to ask the node that runs, which needs neither.
    from p2pkad.cli.local import LocalNode  # noqa: PLC0415
    from p2pkad.cli.logs import configure  # noqa: PLC0415

    configure("warning", "text")
    config = plan.config
    if plan.as_somebody and plan.asking.data_dir:
        # The key and nothing else: what else is there belongs to the node that stays, which may be running.
        config = replace(config, identity=p2pkad.Identity.in_directory(plan.asking.data_dir))
    async with p2pkad.open_node(config) as node:
        try:
            code = await work(LocalNode(node, config, plan.namespaces, stays=False, directory=plan.asking.state or None))
        except p2pkad.NoPeers as nobody:
            raise await _why(nobody, node, plan.config) from nobody
    if plan.as_somebody and not config.announce and not any(map(_lasts, config.listen)):
        remark(
            "p2pkad: warning: the addresses that were announced end with this command; name lasting ones with --announce, "
            "or a port that stays with --listen"
        )
    return code


def _lasts(address: str) -> bool:
    """Whether whoever listens there again, another time, is at the same address."""
    return not any(part in f"{address}/" for part in ("/tcp/0/", "/udp/0/"))


async def _why(nobody: p2pkad.NoPeers, node: KademliaService, config: p2pkad.Config) -> p2pkad.P2pkadError:
    """Why nobody answered, as far as dialling the first bootstrap peer tells."""
    if not config.bootstrap or nobody.asked:
        return nobody
    try:
        peer = await node.connect(config.bootstrap[0], timeout=config.dial_timeout)
    except p2pkad.NetworkError as error:
        return error
    return p2pkad.RequestFailed(peer, f"is there, but answers nothing on {config.protocol}. Is --protocol right?")
