"""The settings of TCP keepalive that detect a silent peer within a time limit."""

import math
from typing import NamedTuple

_LONGEST = 32_767.0  # seconds; the most that Linux takes for a probe


class Keepalive(NamedTuple):
    """How TCP looks whether a peer that says nothing is there.

    What was sent and is not acknowledged within ``limit`` loses the connection (Linux). Where an
    answer is awaited nothing is under way: after half the limit without a word TCP probes the
    peer, and again until the limit is over. A peer that is merely slow acknowledges both.

    Attributes:
        idle: Seconds without a word before the first probe; half of the limit.
        interval: Seconds between two; a tenth of the limit, as whole seconds are the finest.
        number: Of probes; what fills the limit.
        limit: Milliseconds; Linux goes by it and not by ``number``.
    """

    idle: int
    interval: int
    number: int
    limit: int

    @classmethod
    def within(cls, seconds: float) -> "Keepalive":
        """Return the probes that find a silent peer out in so many seconds, one at least."""
        seconds = min(seconds, _LONGEST)
        idle = max(1, int(seconds / 2))
        interval = max(1, int(seconds / 10))
        number = max(1, math.ceil((seconds - idle) / interval))
        return cls(idle, interval, number, math.ceil(1000 * seconds))
