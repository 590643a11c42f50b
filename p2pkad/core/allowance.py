"""What each of many may take of something: so much at once, and then so much a second. Token buckets, by name.

A name is remembered as the moment at which its bucket is full again: until then it owes what it took. One that owes nothing
is forgotten, so what is kept grows with those who take a lot, not with those who ever came.
"""

from __future__ import annotations


class Allowance:
    """burst: what one name may take at once. per_second: what comes back to it. most: names remembered at a time.

    Whatever is asked for, it is had from a full bucket, and then owed: so nothing is too large for ever, and in the long run
    nobody takes more than `per_second`. Of more than `most` names the one that took nothing for longest is forgotten early.
    Times are seconds of one clock that does not go back. Every call costs the same, however many names there are.
    """

    __slots__ = ("_burst", "_full_at", "_most", "_per_second")

    def __init__(self, burst: float, per_second: float, *, most: int) -> None:
        self._burst = burst
        self._per_second = per_second
        self._most = most
        self._full_at: dict[bytes, float] = {}  # who took something longest ago comes first

    def __len__(self) -> int:
        """How many names are remembered."""
        return len(self._full_at)

    def wait(self, name: bytes, amount: float, now: float) -> float:
        """Seconds until `name` may take so much; 0 when it may at once."""
        full_at = self._full_at.get(name)
        if full_at is None or full_at <= now:
            return 0.0
        lacking = (full_at - now) * self._per_second + min(amount, self._burst) - self._burst
        return max(0.0, lacking / self._per_second)

    def take(self, name: bytes, amount: float, now: float) -> None:
        """`name` takes so much, whether it may or not: what is too much it owes."""
        full_at = max(now, self._full_at.pop(name, now)) + amount / self._per_second
        self._full_at[name] = full_at
        # One came at most, and two may go: so those who owe nothing do not become more and more.
        for _ in range(2):
            first = next(iter(self._full_at))
            if self._full_at[first] > now and len(self._full_at) <= self._most:
                return
            del self._full_at[first]
            if not self._full_at:
                return

    def give_back(self, name: bytes, amount: float, now: float) -> None:
        """What `name` took was not used. Of what is forgotten by now it owes nothing anyway."""
        full_at = self._full_at.get(name, now) - amount / self._per_second
        if full_at > now:
            self._full_at[name] = full_at
        else:
            self._full_at.pop(name, None)
