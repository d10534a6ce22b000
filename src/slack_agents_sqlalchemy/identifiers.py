"""Time-ordered ids that the client generates, and digests of long keys."""

import hashlib
import secrets
import threading
import time
from collections.abc import Callable

from slack_agents_sqlalchemy.errors import InvalidTypeError

_EPOCH_US = 1_704_067_200_000_000  # 2024-01-01T00:00:00Z, in microseconds since 1970
_RANDOM_BITS = 12
_DIGEST_BYTES = 20

MAX_ID = 2**63 - 1
DIGEST_LENGTH = 2 * _DIGEST_BYTES

_LAST_TICK = (MAX_ID >> _RANDOM_BITS) - 2**40
MAX_CLOCK_ID = (_LAST_TICK + 1 << _RANDOM_BITS) - 1
"""The largest id that the clock follows; the ids above it are enough for 10**12 insertions."""


class IdSequence:
    """A hybrid logical clock; a call returns a new id.

    An id has 51 bits of microseconds since 2024 (until 2095) and 12 random bits. Each id is larger
    than every id that this sequence has generated or observed. If the clock is behind, the id gets
    the next microsecond. Ids and clocks at the end of the range are ignored: one of them would use
    up the range.

    Two processes that use the same microsecond generate the same id with a chance of 1 in 4,096.
    The primary key refuses the second one, and its caller retries with a new id.

    Args:
        clock: Returns the nanoseconds since 1970.
    """

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self._tick = 0  # the microseconds of the newest id
        self._lock = threading.Lock()

    def __call__(self) -> int:  # noqa: D102 - the class says it
        tick = self._clock() // 1_000 - _EPOCH_US
        if tick > _LAST_TICK:
            tick = 0
        low_bits = secrets.randbits(_RANDOM_BITS)
        with self._lock:
            self._tick = max(tick, self._tick + 1)
            return (self._tick << _RANDOM_BITS) | low_bits

    def observe(self, newest: int) -> None:
        """Make every later id larger than this one.

        Args:
            newest: An id that was read from the database, not an argument of a caller.
        """
        tick = newest >> _RANDOM_BITS
        if self._tick < tick <= _LAST_TICK:  # checked without the lock first: it only rises
            with self._lock:
                self._tick = max(tick, self._tick)


next_id = IdSequence()


def digest(**texts: str) -> str:
    """Return the digest of a key: one short text that every database compares exactly.

    Args:
        texts: The parts of the key, by the names of the arguments that give them. Their order and
            number count, their names do not.

    Returns:
        160 bits of BLAKE2b over the length-prefixed UTF-8 of the parts, in lower-case hexadecimal:
        it fits an index of any database and is the same under any collation.

    Raises:
        InvalidTypeError: A part is no ``str``.
    """
    state = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for name, text in texts.items():
        if not isinstance(text, str):
            raise InvalidTypeError(f"{name} must be a str, not {type(text).__name__}")
        encoded = text.encode("utf-8", "surrogatepass")
        state.update(b"%d:" % len(encoded))
        state.update(encoded)
    return state.hexdigest()
