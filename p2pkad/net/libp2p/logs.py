"""What py-libp2p writes to the terminal of the program that imports it: nothing.

Two things would:
- `network.connection.swarm_connection` calls `logging.debug(...)`: the functions of that module install a handler for
  standard error on the *root* logger when it has none, and from then on every library's lines appear there.
- the "libp2p" logger has no handler and does not propagate, so that Python's last resort prints its warnings.

`LIBP2P_DEBUG` still turns py-libp2p's own log files on, as its manual says.
"""

from __future__ import annotations

import logging

from libp2p.network.connection import swarm_connection


def keep_quiet() -> None:
    """Send what py-libp2p logs through loggers of its own name. Calling it again changes nothing."""
    # A Logger has the same debug(), warning(), ... as the module. The alternative, a handler on the root logger, would
    # turn the application's own logging.basicConfig() into a no-op.
    swarm_connection.logging = logging.getLogger(swarm_connection.__name__)  # type: ignore[attr-defined, assignment]
    library = logging.getLogger("libp2p")
    if not library.handlers:
        library.addHandler(logging.NullHandler())
