"""What can go wrong with peers, alone or in the groups of the nurseries that it ended."""

from __future__ import annotations

from driver import NeverHappened, PeerDied, PeerError, PeerSilent

OF_A_PEER = (PeerError, PeerSilent, PeerDied)
"""What asking one raises."""
ANY = (*OF_A_PEER, NeverHappened)


def leaves(group: BaseExceptionGroup) -> list[BaseException]:
    """The errors in a group and in the groups in it."""
    each = ([one] if not isinstance(one, BaseExceptionGroup) else leaves(one) for one in group.exceptions)
    return [error for errors in each for error in errors]
