"""Options from the environment: --dial-timeout as P2PKAD_DIAL_TIMEOUT."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cyclopts.config import Env

if TYPE_CHECKING:
    from cyclopts import App
    from cyclopts.argument import ArgumentCollection


class Environment(Env):
    """Fills options and nothing else: a P2PKAD_KEY that means something else must not become the key of a `get`."""

    def __call__(self, app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        options = arguments.copy()
        options[:] = [each for each in arguments if each.field_info.kind is not each.field_info.POSITIONAL_ONLY]
        super().__call__(app, commands, options)
