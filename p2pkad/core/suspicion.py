"""Which peers of the table may be dead, and whether this node is in a position to tell.

             it fails     another peer answers   it answers
  trusted    suspected    -                      -
  suspected  -            ripe                   trusted
  ripe       put out      -                      trusted

Suspicion is what keeps the table when the own cable is pulled: then everybody fails, nobody answers, and nobody is put out.
So a failure is followed by a question to a witness, the peer that answered last: its answer shows that the fault is not on
this side. When there is no witness either, the node is *blind*: every now and then (the caller's timer) one suspect after
the other is asked, and the first that answers is a witness again.

What counts is the order of answers and failures, which a clock may not tell. Every call is legal at any time.
"""

from __future__ import annotations

from p2pkad.core.peers import PeerId


class Suspicion:
    """The suspects of one node, and its witness."""

    def __init__(self) -> None:
        self._answers = 0
        self._suspects: dict[PeerId, int] = {}  # and how many answers there had been when each failed
        self._witness: PeerId | None = None

    def answered(self, peer: PeerId) -> None:
        """`peer` answered a request: it is alive, and what others do not answer is their own fault."""
        self._answers += 1
        self._witness = peer
        self._suspects.pop(peer, None)

    def failed(self, peer: PeerId) -> None:
        """`peer` gave no answer: it is no witness any more."""
        if peer == self._witness:
            self._witness = None

    def doubt(self, peer: PeerId) -> None:
        """`peer` may be dead."""
        self._suspects.setdefault(peer, self._answers)

    def trust(self, peer: PeerId) -> None:
        """`peer` is alive, or is of no interest any more."""
        self._suspects.pop(peer, None)

    def is_ripe(self, peer: PeerId) -> bool:
        """Whether `peer` failed, and somebody else has answered since: if it fails once more, it is out."""
        return self._suspects.get(peer, self._answers) < self._answers

    def to_ask(self) -> list[PeerId]:
        """The suspects, once somebody else has answered; before that the witness, so that somebody may."""
        ripe = [peer for peer in self._suspects if self.is_ripe(peer)]
        if ripe or self._witness is None or not self._suspects:
            return ripe
        return [self._witness]

    @property
    def blind(self) -> bool:
        """Whether there are suspects, and nobody whose answer would show that the fault is theirs."""
        return bool(self._suspects) and not self.to_ask()

    def next_suspect(self) -> PeerId | None:
        """A suspect, another one at each call; None when there is none."""
        for peer, answers in self._suspects.items():
            del self._suspects[peer]
            self._suspects[peer] = answers
            return peer
        return None

    def __len__(self) -> int:
        return len(self._suspects)

    def __repr__(self) -> str:
        return f"<Suspicion suspects={len(self)} witness={self._witness!r}{' blind' if self.blind else ''}>"
