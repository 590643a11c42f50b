"""How long nodes stay: sessions with a heavy tail, and what that means for what they hold.

Sessions follow a Weibull distribution. That fits those of Kademlia networks: Steiner, En-Najjary and Biersack, "Long Term
Study of Peer Behavior in the KAD DHT" (2009), who crawled KAD every five minutes for six months. Its shape is from the
libp2p network: of those who join the IPFS DHT as servers half are gone after 2 hours and four fifths after 8 (ProbeLab,
"RFM 2, Uptime and Churn", 2022), so that 4**shape = ln 5 / ln 2. Its scale is whatever gives the median that is wanted.
Other measurements found heavier tails, down to a shape of 0.34 for a BitTorrent swarm, and that sessions in KAD look much
the same (Stutzbach and Rejaie, "Understanding Churn in Peer-to-Peer Networks", 2006): then fewer come and go.

Who is alive at a moment is not who has just joined: short sessions are many, but long ones last. So holders of a record
survive longer than the median says, and a network that has been up for long begins with sessions that are under way.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, gamma, log
from random import Random

SHAPE = log(log(5) / log(2)) / log(4)
"""0.61. 1 would be an exponential distribution, without a memory; the lower, the heavier the tail."""

_STEPS = 4000
_FAR = 120.0


@dataclass(frozen=True, slots=True)
class Sessions:
    """Session lengths. median: in whatever unit the answers should have; shape: of the Weibull distribution."""

    median: float
    shape: float = SHAPE

    @property
    def scale(self) -> float:
        """The other parameter of the distribution: 63 % of all sessions are shorter."""
        return self.median / log(2) ** (1 / self.shape)

    @property
    def mean(self) -> float:
        """The average, which long sessions pull up."""
        return self.scale * gamma(1 + 1 / self.shape)

    def whole(self, random: Random) -> float:
        """The session of somebody who joins."""
        return random.weibullvariate(self.scale, self.shape)

    def rest(self, random: Random) -> float:
        """What is left of the session of somebody who is up: of one that was met with a chance in proportion to its length."""
        length = self.scale * random.gammavariate(1 + 1 / self.shape, 1.0) ** (1 / self.shape)
        return length * random.random()

    def still_up(self, after: float) -> float:
        """The share of those who are up now that are up all the time until `after`: 0 to 1."""
        # The integral of exp(-(t/scale)**shape) from `after` on, by the mean; with x = (t/scale)**shape it is smooth.
        power, begin = 1 / self.shape, (after / self.scale) ** self.shape
        step = _FAR / _STEPS
        points = (begin + (number + 0.5) * step for number in range(_STEPS))
        return self.scale * power * step * sum(x ** (power - 1) * exp(-x) for x in points) / self.mean

    def all_gone(self, holders: int, after: float) -> float:
        """The probability that of so many who hold a record now nobody is up all the time until `after`."""
        return (1 - self.still_up(after)) ** holders
