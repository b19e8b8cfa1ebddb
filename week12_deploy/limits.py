"""How often somebody may ask: a token bucket for each key.

A bucket holds `burst` tokens at most and gets `rate` of them a second; a request takes some out, or has to wait. So
somebody who was silent may ask several things at once, and in the long run nobody asks more than `rate` a second.

References
    J. Turner, "New directions in communications (or which way to the information age?)", IEEE Communications 24, 1986
    A. Tanenbaum, D. Wetherall, "Computer networks", 5th edition, section 5.3.2
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

MOST_KEYS = 10_000


class TokenBucket:
    """A bucket; full when it is new.

    Args:
        rate: tokens a second.
        burst: how many it holds.
        clock: seconds, from any beginning, that never go back.
    """

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.burst, self.clock = rate, burst, clock
        self.tokens, self.seen = float(burst), clock()

    def take(self, cost: float = 1.0) -> float:
        """Takes `cost` tokens, if so many are there.

        Returns:
            0.0: taken. Else how many seconds it takes until they are there, and none was taken; inf: never.
        """
        # exercise 3: the token bucket
        # self.tokens: what was in it at the time self.seen (seconds); self.rate: tokens a second; self.burst: what it
        # holds; self.clock(): now. Fills it up for the time since self.seen, parts of a token, too, and no further than
        # to self.burst. Then cost -> 0.0 where so many tokens are there, which leave it; else the seconds until they
        # will be, and none leaves it; math.inf where it never holds so many.
        # hint: ask the clock once. What came in since self.seen is time times rate, up to the rim; from now on it is
        # counted from now. What is missing, over the rate, is the time to wait.
        now = self.clock()
        self.tokens = min(self.burst, self.tokens + (now - self.seen) * self.rate)
        self.seen = now
        if cost <= self.tokens:
            self.tokens -= cost
            return 0.0
        return (cost - self.tokens) / self.rate if cost <= self.burst else math.inf
        # end of exercise 3


class Limiter:
    """A bucket for each key, of the keys that were seen last: whoever comes back after so many others has a full one.

    Args:
        rate, burst: of each bucket. A rate of 0: nobody is held up.
        clock: as TokenBucket has it.
        most: how many keys are remembered.
    """

    def __init__(
        self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic, most: int = MOST_KEYS
    ) -> None:
        self.rate, self.burst, self.clock, self.most = rate, burst, clock, most
        self.buckets: OrderedDict[Hashable, TokenBucket] = OrderedDict()

    def take(self, key: Hashable, cost: float = 1.0) -> float:
        """As TokenBucket.take, from the bucket of this key."""
        if not self.rate:
            return 0.0
        bucket = self.buckets.setdefault(key, TokenBucket(self.rate, self.burst, self.clock))
        self.buckets.move_to_end(key)
        if len(self.buckets) > self.most:
            self.buckets.popitem(last=False)
        return bucket.take(cost)

    def left(self, key: Hashable) -> int:
        """How many whole requests this key may make at once now."""
        bucket = self.buckets.get(key)
        if bucket is None:
            return int(self.burst)
        return int(min(bucket.burst, bucket.tokens + (bucket.clock() - bucket.seen) * bucket.rate))
