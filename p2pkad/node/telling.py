"""Who listens to a node, and to what.

Events of single steps are many and are made only for listeners that want them: a node that nobody watches pays for a look.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from inspect import iscoroutinefunction
from types import UnionType
from typing import TypeVar, Union, get_args, get_origin

from p2pkad.errors import ConfigError
from p2pkad.events import NodeEvent

log = logging.getLogger(__name__)

E = TypeVar("E", bound=NodeEvent)

Listener = Callable[[E], None]
Kinds = type[E] | UnionType


class Telling:
    """The listeners of one node. Called with an event, it tells those that want such events, in the order they came in."""

    def __init__(self) -> None:
        self._listeners: tuple[tuple[Callable[[NodeEvent], None], Kinds[NodeEvent]], ...] = ()
        self._wanted: dict[type[NodeEvent], bool] = {}  # as far as it was asked since somebody came or went

    def subscribe(self, listener: Callable[[NodeEvent], None], kinds: Kinds[NodeEvent]) -> Callable[[], None]:
        """Tell `listener` events of these kinds from now on, until what is returned is called. Raises ConfigError."""
        if not callable(listener) or iscoroutinefunction(listener) or iscoroutinefunction(type(listener).__call__):
            raise ConfigError(f"subscribe: {listener!r} cannot be called with an event; give a plain function, no async one")
        parts = get_args(kinds) if get_origin(kinds) in (Union, UnionType) else (kinds,)
        if not all(isinstance(kind, type) and issubclass(kind, NodeEvent) for kind in parts):
            raise ConfigError(f"subscribe: {kinds!r} is no class of events, nor several with | in between")
        entry = (listener, kinds)
        self._listeners += (entry,)
        self._wanted.clear()

        def unsubscribe() -> None:
            self._listeners = tuple(each for each in self._listeners if each is not entry)
            self._wanted.clear()

        return unsubscribe

    def wanted(self, kind: type[NodeEvent]) -> bool:
        """Whether anybody listens to events of this kind."""
        wanted = self._wanted.get(kind)
        if wanted is None:
            wanted = self._wanted[kind] = any(issubclass(kind, kinds) for _, kinds in self._listeners)
        return wanted

    def __call__(self, event: NodeEvent) -> None:
        # Over the listeners of this moment: one that ends its subscription while it is called disturbs nobody's turn.
        for listener, kinds in self._listeners:
            if isinstance(event, kinds):
                try:
                    listener(event)
                except Exception:
                    # By its name alone: some events have keys and values in them.
                    log.exception("a listener failed on %s", type(event).__name__)
