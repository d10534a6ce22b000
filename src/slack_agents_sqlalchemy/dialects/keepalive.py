"""The settings of TCP keepalive that detect an unresponsive peer within a time limit."""

import math
from typing import NamedTuple

_LONGEST = 32_767.0  # seconds; Linux accepts no longer interval


class Keepalive(NamedTuple):
    """The settings of TCP keepalive.

    They lose a connection after the limit, both where sent data is not acknowledged and where an
    answer is awaited. A peer that is merely slow acknowledges, and keeps its connection.

    Attributes:
        idle: Seconds without traffic before the first probe; half of the limit.
        interval: Seconds between two probes; a tenth of the limit, at least one second.
        number: Number of probes that fill the limit.
        limit: Milliseconds; Linux uses it instead of ``number``.
    """

    idle: int
    interval: int
    number: int
    limit: int

    @classmethod
    def within(cls, seconds: float) -> "Keepalive":
        """Return the settings that detect an unresponsive peer within so many seconds."""
        seconds = min(seconds, _LONGEST)
        idle = max(1, int(seconds / 2))
        interval = max(1, int(seconds / 10))
        number = max(1, math.ceil((seconds - idle) / interval))
        return cls(idle, interval, number, math.ceil(1000 * seconds))
