"""Options from the environment, --dial-timeout as P2PKAD_DIAL_TIMEOUT, and from a file after them; and what came from where."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from importlib import import_module
from inspect import signature
from typing import TYPE_CHECKING, get_origin

from cyclopts import Token
from cyclopts.config import Env

if TYPE_CHECKING:
    from cyclopts import App
    from cyclopts.argument import Argument, ArgumentCollection

PREFIX = "P2PKAD_"
BESIDE = {"P2PKAD_DEBUG", "P2PKAD_CONFIG"}
"""Variables that are no option of every command."""


class Environment(Env):
    """Fills options and nothing else: a P2PKAD_KEY that means something else must not become the key of a `get`.

    A list whose variable is set and empty is an empty list, as one that is set and empty in the file is.
    """

    def __call__(self, app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        options = arguments.copy()
        options[:] = [each for each in arguments if each.field_info.kind is not each.field_info.POSITIONAL_ONLY]
        super().__call__(app, commands, options)
        for each in options:
            variable = _variable(_option(each))
            # Split at its spaces an empty one gives nothing, so that the file would go before it.
            if get_origin(each.hint) is tuple and not each.tokens and variable in os.environ:
                each.append(Token(keyword=variable, source=self.source, implicit_value=()))


class File:
    """Fills what is left from a file of options. What it takes to read one is loaded with the first command that runs."""

    def __call__(self, app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        from p2pkad.cli.settings_file import apply  # noqa: PLC0415 - see above

        apply(app, commands, arguments)


class Origins(dict[str, str]):
    """Notes of each option that was not typed where its value comes from: the variable, or the file. Comes after both."""

    def __call__(self, app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        for each in arguments:
            last = each.tokens[-1] if each.tokens else None
            if last is not None and last.source != "cli":
                self[_option(each)] = last.keyword or "" if last.source == "env" else last.source

    def of(self, options: Sequence[str]) -> str:
        """What a sentence about these options ends in; empty where they were typed, or are what they are by themselves."""
        known = [option for option in options if option in self]
        if len(options) == 1:
            return "".join(f" (from {self[option]})" for option in known)
        return f" ({', '.join(f'{option} from {self[option]}' for option in known)})" if known else ""


def strangers(variables: Iterable[str], places: Iterable[str]) -> Iterator[str]:
    """A sentence about each variable that looks like an option and is none. places: of the commands, as in `COMMANDS`.

    Most options are those of the configuration; commands are looked at only when that does not explain a variable.
    """
    from p2pkad.cli.settings_file import every_key  # noqa: PLC0415 - see above

    known = BESIDE | {_variable(key) for key in every_key()}
    unknown = sorted(each for each in variables if each.startswith(PREFIX) and each not in known)
    if unknown:
        for place in places:
            module, _, function = place.partition(":")
            known |= {_variable(name) for name in signature(getattr(import_module(module), function)).parameters}
    for each in unknown:
        if each not in known:
            close = get_close_matches(each, known, n=1)
            yield f"{each} in the environment is no option." + (f" Did you mean {close[0]}?" if close else "")


def _option(argument: Argument) -> str:
    return argument.name.removeprefix("--").replace("-", "_")


def _variable(option: str) -> str:
    return PREFIX + option.upper()
