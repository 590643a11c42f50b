"""`p2pkad doctor`: what is wrong with a node, on one screen."""

from __future__ import annotations

from p2pkad.cli import output
from p2pkad.cli.client import ask
from p2pkad.cli.exits import DONE, FAILED
from p2pkad.cli.options import Asking, AskOptions
from p2pkad.cli.requests import Answer, Asked, Doctor


def doctor(
    *,
    asking: Asking = Asking(),
    options: AskOptions = AskOptions(),
) -> int:
    """Look for what is wrong with the node and its surroundings; exit code 1 when something is.

    Its disk, its bootstrap peers one by one, its routing table, its clock beside that of peers (five are sent its public key as
    a record, and say when they received it), its mode, where peers see it, and whether a dial to its addresses leads to it.
    With --bootstrap a client of the command is looked at.
    """

    request = Doctor(timeout=asking.timeout)

    async def work(node: Asked) -> int:
        bad = 0

        async def show(finding: Answer) -> None:
            nonlocal bad
            bad += finding["state"] == "bad"
            if asking.json:
                output.record(finding)
            else:
                for text in lines(finding):
                    output.line(text)

        await node.ask(request, show)
        if bad:
            output.remark(f"p2pkad: {bad} {'thing is' if bad == 1 else 'things are'} wrong")
        return FAILED if bad else DONE

    return ask(work, options=options, asking=asking, doing="looking at the node", looks=True)


def lines(finding: Answer) -> list[str]:
    """A finding for a person, and under it what to do."""
    shown = [f"{finding['state']:<5} {finding['check']:<13} {finding['sentence']}"]
    if finding["remedy"] is not None:
        shown.append(f"{'':<19} -> {finding['remedy']}")
    return shown
